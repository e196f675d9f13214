"""docs/reference/events.md says what is so: names, parameters, defaults, options, places, signals, errors, limits."""

import ast
import inspect
import logging
import math
import re
from collections.abc import Callable
from inspect import Parameter
from pathlib import Path
from typing import Any, get_args

import pytest

import hasten
import hasten._core.signals
import hasten.events
import hasten.events.once
import hasten.events.outbox
from hasten import HastenError
from hasten.cache.backplanes.bus import BusBackplane
from hasten.events import Batch, Broadcast, Bus, Check, Envelope, Inspection, Message, Requests, RetryPolicy, answers
from hasten.events import _consumer as consumer
from hasten.events._broker import Subscription
from hasten.events._bus import MOST_UNDER_WAY
from hasten.events._names import checked_headers, checked_id, checked_name
from hasten.events.brokers import (
    _amqp_connection,
    _amqp_envelope,
    _amqp_intake,
    _amqp_publisher,
    _amqp_topology,
    _amqp_url,
    _kafka_commits,
    _kafka_consumer,
    _kafka_hold,
    _kafka_settings,
    _memory_group,
    _memory_journal,
    kafka,
    memory,
)
from hasten.events.brokers._kafka_names import Names
from hasten.events.once import MemoryOnce, SqlOnce, sql
from hasten.events.once.redis import RedisOnce
from hasten.events.outbox import Outbox, PostgresDatabase, Relay, SqliteDatabase, _relay
from hasten.events.outbox._outbox import Waiting

ROOT = Path(__file__).parents[2]
PAGE = ROOT.joinpath("docs/reference/events.md").read_text()
WORDS = " ".join(PAGE.split())
CODE = re.compile(r"`([^`]+)`")


def section(heading: str) -> str:
    """Return what stands under a heading, up to the next one."""
    after = re.split(rf"^##+ {re.escape(heading)}$", PAGE, flags=re.MULTILINE)[1]
    return re.split(r"^##+ ", after, flags=re.MULTILINE)[0]


def tables(heading: str, title: str) -> list[list[list[str]]]:
    """Return the rows of each table under a heading whose first column has this title."""
    found = []
    for below in re.split(rf"^\| {re.escape(title)} \|.*\n[|-]+\n", section(heading), flags=re.MULTILINE)[1:]:
        lines = re.match(r"(\|.*\n)+", below)
        assert lines is not None
        found.append([re.split(r"\s*\|\s*", line)[1:-1] for line in lines[0].splitlines()])
    return found


def names(heading: str, title: str, number: int = 0) -> list[str]:
    """Return the names in the first column of a table, without `await` and arguments."""
    found = [code for row in tables(heading, title)[number] for code in CODE.findall(row[0])]
    return [code.removeprefix("await ").partition("(")[0] for code in found]


def signature(name: str, of: Callable[..., Any]) -> str:
    """Return a signature as the page writes it."""
    bare = []
    for parameter in inspect.signature(of).parameters.values():
        if parameter.name != "self":
            default = parameter.default
            default = Source(f"time.{default.__name__}") if inspect.isbuiltin(default) else default
            bare.append(parameter.replace(annotation=Parameter.empty, default=default))
    return name + str(inspect.Signature(bare)).replace("'", '"')


class Source:
    """A default whose repr is source."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def parameters(of: Callable[..., Any]) -> list[str]:
    return [name for name in inspect.signature(of).parameters if name != "self"]


# ---- names, parameters, defaults


def test_every_export_is_named() -> None:
    """The first table and that of the signals have what the package exports, and nothing else that is exported."""
    cells = re.findall(r"^\|([^|]+)\|", PAGE.split("\n## ")[0], re.MULTILINE)
    named = CODE.findall(" ".join(cells))
    assert len(named) == len(set(named))
    assert set(named) <= set(hasten.events.__all__)
    assert set(hasten.events.__all__) - set(named) <= set(names("Signals", "signal"))


@pytest.mark.parametrize(
    "function",
    [
        Bus,
        Bus.forward,
        Bus.asyncapi,
        Bus.subscribe,
        Bus.publish,
        RetryPolicy,
        Batch,
        MemoryOnce,
        RedisOnce,
        SqlOnce,
        SqlOnce.mark,
        SqlOnce.clean,
        Outbox,
        Outbox.add,
        Outbox.refused,
        Outbox.discard,
        SqliteDatabase,
        PostgresDatabase,
        Relay,
        Requests,
        Requests.ask,
        answers,
        Broadcast,
        Broadcast.listen,
        Broadcast.send,
        BusBackplane,
        memory.MemoryBroker,
        Inspection.backlog,
        Inspection.groups_of,
        Inspection.dead_letters,
        Inspection.replay,
    ],
    ids=lambda function: function.__qualname__,
)
def test_signatures(function: Callable[..., Any]) -> None:
    """Parameters, their order and their defaults are those of the code."""
    written = signature(function.__name__, function)
    assert re.search(rf"[`.]{re.escape(written)}`", re.sub(r"`(await |requests\.)+", "`", WORDS)), written


@pytest.mark.parametrize(
    ("heading", "title", "number", "function"),
    [
        ("Bus", "parameter", 0, Bus),
        ("Bus.subscribe", "parameter", 0, Bus.subscribe),
        ("Bus.publish", "parameter", 0, Bus.publish),
        ("RetryPolicy", "field", 0, RetryPolicy),
        ("Batch", "field", 0, Batch),
        ("Message", "field", 0, Message),
        ("Check", "field", 0, Check),
        ("Outbox", "parameter", 0, Outbox),
        ("Outbox", "parameter", 1, Relay),
        ("Requests", "parameter", 0, Requests),
    ],
)
def test_parameters(heading: str, title: str, number: int, function: Callable[..., Any]) -> None:
    """Each parameter and field is explained, and no other."""
    explained = [code for row in tables(heading, title)[number] for code in CODE.findall(row[0])]
    assert sorted(explained) == sorted(parameters(function))


def test_parameters_of_once() -> None:
    """Each parameter of a place that remembers is explained, and no other."""
    wanted = {name for place in (MemoryOnce, RedisOnce, SqlOnce) for name in parameters(place)}
    assert set(names("Once", "parameter")) == wanted


@pytest.mark.parametrize(
    ("heading", "title", "number", "of", "left_out"),
    [
        ("Bus", "member", 0, Bus, set()),
        ("Once", "member of `SqlOnce`", 0, SqlOnce, {"claim", "done", "release", "aclose"}),
        ("Outbox", "member", 0, Outbox, {"add_sync", "give_up", "lease", "refuse", "remove", "unsent"}),
        ("Outbox", "member", 1, Relay, set()),
    ],
)
def test_members(heading: str, title: str, number: int, of: type, left_out: set[str]) -> None:
    """Each public member is explained, but for those that the page says are not for users; and there is no other."""
    members = {name for name in vars(of) if not name.startswith("_")} - left_out
    named = {name for name in names(heading, title, number) if not name.startswith("async with")}
    assert named - {"broker"} == members


def test_envelope() -> None:
    """An envelope has what a message has but the group, and a reason."""
    assert set(Envelope.__struct_fields__) ^ set(Message.__struct_fields__) == {"group", "reason"}


def test_what_waits_in_an_outbox() -> None:
    """Each figure is named."""
    row = next(row for row in tables("Outbox", "member")[0] if "waiting()" in row[0])
    assert CODE.findall(row[1]) == ["Waiting", *Waiting.__struct_fields__]
    row = next(row for row in tables("Outbox", "member")[1] if "statistics()" in row[0])
    assert CODE.findall(row[1]) == ["RelayStatistics", *_relay.RelayStatistics.__struct_fields__]


# ---- signals and errors


def test_signals() -> None:
    """Each record that a hook gets is there, with all of its fields in their order, and its causes."""
    records = {each.__name__: each for each in get_args(hasten._core.signals.EventSignal)}
    records["OutboxLag"] = hasten.events.outbox.OutboxLag
    rows = {CODE.findall(row[0])[0]: row for row in tables("Signals", "signal")[0]}
    assert rows.keys() == records.keys()
    for name, record in records.items():
        assert CODE.findall(rows[name][1]) == list(record.__struct_fields__)


@pytest.mark.parametrize("name", ["EventRetried", "EventBuried"])
def test_causes(name: str) -> None:
    """Each cause is named."""
    (row,) = [row for row in tables("Signals", "signal")[0] if row[0] == f"`{name}`"]
    record = getattr(hasten._core.signals, name)
    assert set(get_args(record.__annotations__["cause"])) <= set(CODE.findall(row[2]))


def test_errors() -> None:
    """Each error that the package exports is there with its exit code and its attributes, and is a HastenError."""
    exported = {name: getattr(hasten.events, name) for name in hasten.events.__all__}
    wanted = {name: each for name, each in exported.items() if isinstance(each, type) and issubclass(each, Exception)}
    wanted |= {name: getattr(hasten, name) for name in ("ConfigurationError", "MissingDependency")}
    rows = {CODE.findall(row[0])[0]: row for row in tables("Errors", "error")[0]}
    assert rows.keys() == wanted.keys()
    for name, error in wanted.items():
        assert issubclass(error, HastenError)
        assert int(rows[name][1]) == error.exit_code
        assert ("`TimeoutError`" in rows[name][2]) == issubclass(error, TimeoutError)
        if "; has " in rows[name][2]:
            attributes = CODE.findall(rows[name][2].split("; has ")[1])
            assert set(attributes) <= set(parameters(error)), name


# ---- brokers


def test_options_of_rabbitmq() -> None:
    """Each option of a URL is there, with its default."""
    assert sorted(names("RabbitMQ", "option")) == sorted(_amqp_url._OPTIONS)
    place = _amqp_url.place_of("amqp://localhost")
    rows = {row[0]: row[1] for row in tables("RabbitMQ", "option")[0]}
    assert rows["`heartbeat`"] == f"{place.heartbeat:g}"
    assert rows["`exchange`"] == f"`{place.exchange}`"
    assert (place.user, place.password, place.vhost) == ("guest", "guest", "/")


def test_places_in_rabbitmq() -> None:
    """The names in the broker are those that the adapter makes."""
    exchange, topic, group = "hasten", "TOPIC", "GROUP"
    waiting = [_amqp_topology.retries_of(exchange, topic, group), _amqp_topology.delayed_of(exchange, topic)]
    made = {
        exchange,
        _amqp_topology.group_queue(exchange, topic, group),
        _amqp_topology.dead_queue(exchange, topic, group),
        *(re.sub(r":\d+ms:\d+$", ":MILLISECONDSms:WEEK", each.queue(1000, 1e9)[0]) for each in waiting),
        f"{exchange}:{topic}:listening:TOKEN",  # its own test: rabbitmq/test_listening.py
    }
    assert set(names("RabbitMQ", "name")) == made
    arguments = _amqp_topology.group_arguments(exchange, Subscription(topic=topic, group=group, prefetch=1))
    assert arguments["x-queue-type"] == "quorum"


def test_options_of_kafka() -> None:
    """Our options are there with their defaults, and how those of librdkafka begin; what is set without them is so."""
    assert names("Kafka", "option") == ["partitions", "replication"]
    assert tables("Kafka", "option")[0][0][1] == str(_kafka_settings.PARTITIONS)
    begin = re.split(r"They may begin with:\n\n", section("Kafka"))[1].split("\n\n")[0]
    assert tuple(CODE.findall(begin)) == _kafka_settings._PASSED
    defaults = {**_kafka_settings._PRODUCER, **_kafka_settings._CONSUMER}
    said = re.split(r"What\s+is\s+set\s+without\s+options:", section("Kafka"))[1].split("\n\n")[0]
    for name, value in (code.split("=") for code in CODE.findall(said) if "=" in code):
        assert str(defaults[name]) == value, name
    assert defaults["partitioner"] in CODE.findall(said)
    assert defaults["enable.idempotence"] is True
    assert defaults["auto.offset.reset"] == "earliest"


def test_places_in_kafka() -> None:
    """The names in the cluster are those that the adapter makes."""
    made = Names("TOPIC", "GROUP")
    assert names("Kafka", "name in the cluster") == [made.topic, made.retry, made.dead, made.id]


# ---- limits


LIMITS: dict[str, tuple[str, float]] = {
    "messages of one subscription under way in a process": ("65,535", MOST_UNDER_WAY),
    "deliveries without an answer": ("20", consumer.MOST_RETURNED),
    "deliveries without an answer from which on messages are handled one by one": ("3", consumer.SUSPECT_RETURNED),
    "messages that wait in a group, memory": ("100,000", _memory_group.MOST_WAITING),
    "a message, memory with a file": ("134,217,728", _memory_journal.MOST_BYTES),
    "all headers of a message, RabbitMQ": ("131,072", _amqp_connection.FRAME_MAX),
    "a dead letter's reason, RabbitMQ": ("4,000", _amqp_envelope.MOST_REASON),
    "a delay, RabbitMQ": ("2,419,200", _amqp_topology.LONGEST_DELAY),
    "delayed messages read ahead by a consumer, Kafka": ("1,000", _kafka_hold.MOST_HELD),
    "messages that are settled and not committed yet, Kafka": ("256", _kafka_commits.MOST_UNCOMMITTED),
    "how long a message that is retried or buried may take to its new place": ("10", _kafka_consumer.COPY_SECONDS),
}


@pytest.mark.parametrize("what", LIMITS)
def test_limits(what: str) -> None:
    """Each bound is that of the code."""
    (row,) = [row for row in tables("Limits", "what")[0] if row[0] == what]
    written, bound = LIMITS[what]
    assert re.search(rf"\b{written}\b", row[1])
    assert float(written.replace(",", "")) == bound


@pytest.mark.parametrize(
    ("check", "longest", "refused"),
    [
        (checked_name, "a" + "._-9" * 24 + "zzz", ["", "-a", "a" * 101, "a b", "a:b"]),
        (checked_id, "!" * 128, ["", "a b", "!" * 129, "ä"]),
        (lambda name: checked_headers({name: ""}), "a" + "_-9" * 21, ["", "A", "a" * 65, "a.b"]),
    ],
)
def test_names(check: Callable[..., Any], longest: str, refused: list[str]) -> None:
    """Names, ids and headers may be as long as the page says, and have the characters that it names."""
    arguments = ("here",) if check is checked_name else ()
    check(longest, *arguments)
    for each in refused:
        with pytest.raises(hasten.ConfigurationError):
            check(each, *arguments)


def test_cleaned_at_once() -> None:
    """What is read and removed at once is as much as the page says."""
    assert f"forget what was noted longer ago, {sql.CLEANED_AT_ONCE:,} at most" in WORDS
    assert f"It reads {_relay.MOST_AT_ONCE} messages at once, and has {_relay._KEYS_AT_ONCE} keys under way" in WORDS


def test_infinite_is_for_ever() -> None:
    """`lag_every` and `stuck_after` may be infinite, and nothing that is not above 0."""
    Bus("memory://", lag_every=math.inf, stuck_after=math.inf)
    for name in ("lag_every", "stuck_after", "timeout"):
        with pytest.raises(hasten.ConfigurationError):
            Bus("memory://", **{name: 0.0})  # type: ignore[arg-type]


# ---- costs


COSTS: dict[str, Any] = {
    "RabbitMQ: publish, confirmed, 100 in flight": _amqp_publisher,
    "RabbitMQ: from the bytes to the acknowledgement": _amqp_intake,
    "Kafka: publish, confirmed, 100 in flight": kafka,
    "Kafka: consume": kafka,
    "`memory://`: published, handled, settled, 64 publishers": memory,
    "`memory:///file`: the same": memory,
    "`MemoryOnce`: a claim and its note": MemoryOnce,
    "`RedisOnce`: the same, 64 under way": RedisOnce,
    "a relay, from SQLite to `memory://`, handling included": Relay,
}


def test_costs() -> None:
    """Each figure of what it costs stands in a docstring of the code that it is about."""
    text = ROOT.joinpath("docs/explanation/events.md").read_text().split("## What it costs")[1]
    rows = [re.split(r"\s*\|\s*", line)[1:-1] for line in text.splitlines() if line.startswith("|")][2:]
    assert [row[0] for row in rows] == list(COSTS)
    for what, *cells in rows:
        measured = set(re.findall(r"[\d.,]*\d", COSTS[what].__doc__))
        assert set(re.findall(r"[\d.,]*\d", " ".join(cells))) <= measured, what


# ---- log


def logged() -> list[tuple[int, str]]:
    """Return the levels and formats of all that the package logs as a warning or worse."""
    found = []
    for file in sorted(Path(hasten.events.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
            ):
                level = getattr(logging, node.func.attr.upper(), 0)
                if node.func.value.id in {"logger", "_logger"} and isinstance(level, int) and level >= logging.WARNING:
                    found.append((level, str(ast.literal_eval(node.args[0]))))
    return found


def test_messages_of_the_log() -> None:
    """Each message of the table is one that is logged, as a warning, but for readiness; what varies is in capitals."""
    formats = [(level, re.sub("%[sd]", "[A-Z: ]+", re.escape(text))) for level, text in logged()]
    for message in (code for row in tables("Log", "message")[0] for code in CODE.findall(row[0])):
        levels = {level for level, pattern in formats if re.fullmatch(pattern, message)}
        assert levels == {logging.ERROR if "not ready" in message else logging.WARNING}, message
