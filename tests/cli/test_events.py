"""`hasten events`: lag, dead letters and the AsyncAPI document, by the real command against real brokers."""

import asyncio
import json
import os
import pty
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from hasten.cli import app, main
from hasten.events import Bus, Message, Reject, RetryPolicy
from hasten.events._broker import Inspection
from tests.events.brokers.adapter import OrderPaid, eventually, new_topic

VERBS = ("lag", "peek", "replay", "asyncapi")
SHOP = """
import msgspec
from hasten.events import Bus

class OrderPaid(msgspec.Struct):
    number: int

bus = Bus("amqp://mia:s3cret@127.0.0.1:1")
number = 7

class inner:
    bus = bus

@bus.subscribe("orders.paid", group="billing")
async def bill(order: OrderPaid) -> None: ...
"""


def hasten(*arguments: str, folder: Path | None = None, **environment: str) -> tuple[int, str, str]:
    """Run `hasten events`; return exit code, stdout and stderr."""
    command = [sys.executable, "-m", "hasten", "events", *arguments]
    environment = {**os.environ, **environment}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=50, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def here(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run `hasten events` in this process, where it takes no second to start; return exit code, stdout and stderr."""
    with pytest.raises(SystemExit) as caught:
        main(["events", *arguments])
    code = caught.value.code or 0
    assert isinstance(code, int)
    return code, *capsys.readouterr()


def refused(*arguments: str, folder: Path | None = None) -> tuple[int, str]:
    """Return exit code and message of a command that cannot be carried out."""
    code, said, message = hasten(*arguments, folder=folder)
    assert said == ""
    assert message.count("\n") == 1
    assert message.startswith("error: ")
    return code, message.removeprefix("error: ").rstrip("\n")


async def has(bus: Bus, topic: str, group: str, dead: int) -> bool:
    assert isinstance(bus.broker, Inspection)
    return (await bus.broker.backlog(topic, group)).dead == dead


def with_dead_letters(url: str) -> str:
    """Return a topic whose group `billing` has six dead letters, `order-0` to `order-5`, and whose `mail` has none.

    The odd ones were rejected at once, the even ones have failed twice.
    """
    topic = new_topic()

    async def scenario() -> None:
        bus = Bus(url, origin="shop")

        @bus.subscribe(topic, group="billing", retry=RetryPolicy(1, first=0.01), concurrency=1)
        async def bill(order: OrderPaid) -> None:
            if order.number % 2:
                raise Reject("customer \x1b[31mmia\nis not known")
            raise ValueError(f"no such product {'x' * 300}")

        @bus.subscribe(topic, group="mail")
        async def mail(order: OrderPaid) -> None: ...

        async with bus:
            for number in range(6):
                key, message_id = f"customer-{number}", f"order-{number}"
                await bus.publish(topic, OrderPaid(number), key=key, message_id=message_id, headers={"tenant": "mück"})
            await eventually(lambda: has(bus, topic, "billing", 6))
            await eventually(lambda: has(bus, topic, "mail", 0))

    asyncio.run(scenario())
    return topic


def handled_by(url: str, topic: str, count: int) -> list[tuple[str, int]]:
    """Return ids and attempts of messages that the group `billing` gets, when it has got so many."""
    got: list[tuple[str, int]] = []

    async def scenario() -> None:
        bus = Bus(url)

        @bus.subscribe(topic, group="billing")
        async def bill(order: OrderPaid, message: Message) -> None:
            got.append((message.id, message.attempt))

        async def enough() -> bool:
            return len(got) >= count

        async with bus:
            await eventually(enough)

    asyncio.run(scenario())
    return sorted(got)


def lag_of(*billing: str) -> dict[str, Any]:
    (group,) = json.loads(hasten("lag", *billing, "--json")[1])["groups"]
    found: dict[str, Any] = group
    return found


@pytest.fixture
def file_url(tmp_path: Path) -> str:
    """Return the URL of a broker in a file, which needs no server."""
    return f"memory:///{tmp_path / 'events.db'}"


@pytest.fixture
def rabbitmq_url(amqp_url: str) -> str:
    return amqp_url


@pytest.fixture
def kafka_url(kafka_place: str) -> str:
    return f"kafka://{kafka_place}"


@pytest.fixture(params=["file", "rabbitmq", "kafka"])
def url(request: pytest.FixtureRequest) -> str:
    """The URL of each broker whose messages outlive a process."""
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


# ---- every broker


def test_from_lag_to_replay(url: str) -> None:
    """Lag counts the dead, peek shows them, a dry run changes nothing, a replay has those that are meant handled."""
    topic = with_dead_letters(url)
    billing = (url, topic, "--group", "billing")
    code, said, _ = hasten("lag", *billing, "--group", "mail", "--json")
    assert code == 0
    found = json.loads(said)
    assert found["topic"] == topic
    assert [(each["group"], each["dead"]) for each in found["groups"]] == [("billing", 6), ("mail", 0)]
    assert found["groups"][0]["waiting"] == 0

    code, said, _ = hasten("peek", *billing, "--json")
    assert code == 0
    letters = {each["id"]: each for each in map(json.loads, said.splitlines())}
    assert sorted(letters) == [f"order-{number}" for number in range(6)]
    failed = letters["order-4"]
    assert (failed["key"], failed["origin"], failed["topic"], failed["group"]) == (
        "customer-4",
        "shop",
        topic,
        "billing",
    )
    assert failed["payload"] == {"number": 4, "customer": "mia"}
    assert failed["headers"] == {"tenant": "mück"}
    assert failed["reason"] == f"failed: ValueError: no such product {'x' * 300}"
    assert letters["order-3"]["reason"] == "rejected: customer \x1b[31mmia\nis not known"
    assert [letters[f"order-{number}"]["attempt"] for number in (3, 4)] == [1, 2]

    code, said, _ = hasten("replay", *billing, "--reason", "NOT KNOWN", "--dry-run", "--json")
    assert code == 0
    dry = json.loads(said)
    assert (dry["looked_at"], dry["replayed"], dry["dry_run"]) == (6, 0, True)
    assert sorted(dry["ids"]) == ["order-1", "order-3", "order-5"]
    assert json.loads(hasten("lag", *billing, "--json")[1])["groups"][0] == {
        "group": "billing",
        "waiting": 0,
        "dead": 6,
    }

    code, said, _ = hasten("replay", *billing, "--reason", "not known", "--json")
    assert code == 0
    assert json.loads(said)["replayed"] == 3
    assert json.loads(hasten("lag", *billing, "--json")[1])["groups"][0] == {
        "group": "billing",
        "waiting": 3,
        "dead": 3,
    }
    assert handled_by(url, topic, 3) == [("order-1", 1), ("order-3", 1), ("order-5", 1)]


def test_a_group_that_is_not_there(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A group that nobody has subscribed for is one line that says so, and exit 3."""
    topic = new_topic()
    for verb in ("lag", "peek", "replay"):
        code, said, message = here(capsys, verb, url, topic, "--group", "billing")
        assert (code, said, message.count("\n")) == (3, "", 1)
        assert "there is no" in message or "has no group billing" in message
        assert message.endswith("; see whether the names are right: a group is there once it has subscribed\n")


def test_rabbitmq_cannot_list_groups(rabbitmq_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --group RabbitMQ has no answer: one line says which option is wanted, and exit 2."""
    for verb in ("lag", "peek", "replay"):
        code, said, message = here(capsys, verb, rabbitmq_url, "orders.paid")
        assert (code, said) == (2, "")
        assert message.startswith("error: --group: amqp 127.0.0.1:")
        assert message.endswith(" cannot list the groups of a topic; name one\n")


# ---- what is printed


def test_groups_are_found(file_url: str) -> None:
    """Without --group lag shows all groups where the broker knows them; a question about one group asks which."""
    topic = with_dead_letters(file_url)
    code, said, _ = hasten("lag", file_url, topic)
    assert code == 0
    rows = [line.split() for line in said.splitlines()]
    assert ["group", "waiting", "dead"] in rows
    assert ["billing", "0", "6"] in rows
    assert ["mail", "0", "0"] in rows
    assert said.splitlines()[-1].startswith(f"next: hasten events peek URL {topic} --group billing ")
    assert refused("peek", file_url, topic) == (2, f"--group: {topic} has the groups billing, mail; name one")
    code, message = refused("lag", file_url, "nobody.wants.it")
    assert code == 3
    assert "no group has subscribed to nobody.wants.it; " in message


def test_peek(file_url: str) -> None:
    """Each dead letter is three lines: id, time and key; attempt and reason; payload. No terminal obeys any of it."""
    topic = with_dead_letters(file_url)
    began = time.gmtime(time.time() - 3600)
    code, said, _ = hasten("peek", file_url, topic, "--group", "billing", "--most", "5")
    assert code == 0
    lines = said.splitlines()
    assert lines[0].endswith(f": 5 of 6 dead letters of billing on {topic}")
    letters = {line.partition(" ")[0]: lines[at : at + 3] for at, line in enumerate(lines) if line.startswith("order-")}
    assert len(letters) == 5
    head, why, payload = letters["order-3"]
    published = time.strptime(head.removeprefix("order-3  ").removesuffix("  key customer-3"), "%Y-%m-%d %H:%M:%SZ")
    assert began < published <= time.gmtime()
    assert why == "  attempt 1, rejected: customer \\x1b[31mmia\\nis not known"
    assert payload == '  {"number":3,"customer":"mia"}'
    assert letters["order-2"][1].startswith("  attempt 2, failed: ValueError: no such product xxx")
    assert lines[-1].startswith(f"next: hasten events replay URL {topic} --group billing --dry-run ")
    assert "\x1b" not in said
    assert max(map(len, lines)) == 160
    code, said, _ = hasten("peek", file_url, topic, "--group", "mail")
    assert (code, said.splitlines()[0].partition(": ")[2]) == (0, f"0 dead letters of mail on {topic}")


def test_peek_on_a_terminal(file_url: str) -> None:
    """On a terminal no line is wider than that is, and what is in a message does not colour it."""
    topic = with_dead_letters(file_url)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "hasten", "events", "peek", file_url, topic, "--group", "billing"]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "70"}
    subprocess.run(command, stdout=theirs, stderr=theirs, stdin=theirs, env=environment, timeout=50, check=True)
    os.close(theirs)
    printed = ""
    while part := _read(ours):
        printed += part
    os.close(ours)
    assert "\x1b[31mmia" not in printed
    assert "no such product xxx" in printed
    letters = [line for line in _plain(printed).splitlines()[1:-1] if line]
    assert len(letters) == 18
    assert max(map(len, letters)) == 70


def _read(terminal: int) -> str:
    try:
        return os.read(terminal, 65536).decode()
    except OSError:  # nobody has the other end any more
        return ""


def _plain(text: str) -> str:
    for code in ("\x1b[1m", "\x1b[2m", "\x1b[0m"):
        text = text.replace(code, "")
    return text


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        (("--id", "order-2", "--id", "order-5"), ["order-2", "order-5"]),
        (("--reason", "no such"), ["order-0", "order-2", "order-4"]),
        (("--reason", "no such", "--id", "order-2", "--id", "order-5"), ["order-2"]),
        (("--newer-than", "1h"), [f"order-{number}" for number in range(6)]),
        (("--older-than", "1h"), []),
        (("--id", "order-9"), []),
    ],
)
def test_filters(
    options: tuple[str, ...], chosen: list[str], file_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """All filters must hold; what they leave out stays. None to replay is exit 1."""
    topic = with_dead_letters(file_url)
    billing = (file_url, topic, "--group", "billing")
    code, said, _ = here(capsys, "replay", *billing, *options, "--dry-run")
    assert code == (0 if chosen else 1)
    lines = said.splitlines()
    assert lines[0].endswith(f": {len(chosen)} of 6 dead letters of billing on {topic} would be replayed")
    assert sorted(line.strip() for line in lines[1:-1]) == chosen
    assert lines[-1].startswith("next: ")
    assert here(capsys, "replay", *billing, *options)[0] == code
    left = [json.loads(line)["id"] for line in here(capsys, "peek", *billing, "--json")[1].splitlines()]
    assert sorted(left) == [f"order-{number}" for number in range(6) if f"order-{number}" not in chosen]


def test_most(file_url: str) -> None:
    """A replay looks at so many dead letters at most, the oldest ones."""
    topic = with_dead_letters(file_url)
    billing = (file_url, topic, "--group", "billing")
    oldest = [json.loads(line)["id"] for line in hasten("peek", *billing, "--json")[1].splitlines()][:2]
    outcome = json.loads(hasten("replay", *billing, "--most", "2", "--json")[1])
    assert (outcome["looked_at"], outcome["replayed"], outcome["ids"]) == (2, 2, oldest)


# ---- what cannot be done


@pytest.mark.parametrize("scheme", ["amqp", "kafka"])
def test_nobody_answers(scheme: str) -> None:
    """A broker that does not answer is one line without a password, and exit 3."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and never listens
        url = f"{scheme}://mia:s3cret@127.0.0.1:{closed.getsockname()[1]}"
        code, message = refused("lag", url, "orders.paid", "--group", "billing")
    assert code == 3
    assert message.startswith(f"{scheme} 127.0.0.1:")
    assert message.endswith("; start it, or mend the URL")
    assert "s3cret" not in message


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("lag", "rabbit://mia:s3cret@h", "orders"), "bus rabbit://: there is no such broker; "),
        (("lag", "amqp://mia:s3cret@h:port", "orders"), "bus amqp://: is no URL of a broker; "),
        (("lag", "memory://", "orders paid"), "TOPIC: 'orders paid' is no name; "),
        (("peek", "memory://", "orders", "--group", "a/b"), "--group: 'a/b' is no name; "),
        (("replay", "memory://", "orders", "--older-than", "3"), "Invalid value for '--older-than'"),
        (("peek", "memory://", "orders", "--most", "0"), "Invalid value for '--most'"),
        (("lag", "memory://"), "Missing argument 'TOPIC'; see hasten events lag --help"),
        (("lgg",), "No such command 'lgg'"),
    ],
)
def test_wrong_words(arguments: tuple[str, ...], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is written wrong is one line that says where and what to do, without a password, and exit 2."""
    code, said, message = here(capsys, *arguments)
    assert (code, said, message.count("\n")) == (2, "", 1)
    assert message.startswith(f"error: {problem}")
    assert "s3cret" not in message


def test_no_verb() -> None:
    """`hasten events` alone prints its help and exits 2."""
    code, said, message = hasten()
    assert (code, message) == (2, "")
    assert "Usage: hasten events" in said
    for verb in VERBS:
        assert verb in said


def options_of(verb: str) -> list[Any]:
    command: Any = get_command(app)
    parameters = command.commands["events"].commands[verb].params
    return [each for each in parameters if each.param_type_name == "option" and each.name != "help"]


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_has_its_variable_and_help(verb: str) -> None:
    """Every option can be set by a HASTEN_* variable, which its help shows, and says what it does."""
    for option in options_of(verb):
        assert str(option.envvar).startswith("HASTEN_"), option.opts
        assert option.show_envvar, option.opts
        assert option.help, option.opts


def test_the_reference_is_complete() -> None:
    """The reference of the command line names each verb's options with their variables."""
    page = (Path(__file__).parents[2] / "docs" / "reference" / "cli.md").read_text()
    section = page.split("## hasten events\n")[1].split("\n## ")[0]
    for verb in VERBS:
        part = section.split(f"\n**{verb}** ")[1].split("\n**")[0]
        for option in options_of(verb):
            rows = [row for row in part.splitlines() if f"| `{option.envvar}` |" in row]
            assert len(rows) == 1, option.opts
            assert all(re.search(rf"`{name}[ `]", rows[0]) for name in option.opts), rows


# ---- AsyncAPI


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "broken.py").write_text("import nowhere_to_be_found\n")
    return tmp_path


def test_asyncapi(folder: Path) -> None:
    """The document of a bus is printed, or written to a file; the broker is not asked, no password is in it."""
    code, said, message = hasten("asyncapi", "shop:bus", folder=folder)
    assert (code, message) == (0, "")
    document = json.loads(said)
    assert (document["asyncapi"], document["info"]) == ("3.0.0", {"title": "shop", "version": "0.0.0"})
    assert list(document["operations"]) == ["orders.paid:billing"]
    assert document["servers"]["amqp"]["host"] == "127.0.0.1:1"
    assert "s3cret" not in said
    options = ("--title", "The shop", "--app-version", "1.2", "-o", "made.json")
    assert hasten("asyncapi", "shop:inner.bus", *options, folder=folder) == (0, "", "")
    written = json.loads((folder / "made.json").read_text())
    assert written.pop("info") == {"title": "The shop", "version": "1.2"}
    del document["info"]
    assert written == document


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("shop", "not of the form module:app; for example main:app"),
        ("nowhere:bus", "no module named 'nowhere'; run hasten in the folder that holds it"),
        ("broken:bus", "does not import: ModuleNotFoundError: No module named 'nowhere_to_be_found' ("),
        ("shop:bus.nothing", "module 'shop' has no attribute 'bus.nothing'"),
        ("shop:number", "'number' is no hasten.events.Bus; name the bus itself"),
    ],
)
def test_no_bus(target: str, problem: str, folder: Path) -> None:
    """A target that is no bus is one line that says why, and exit 2."""
    code, message = refused("asyncapi", target, folder=folder)
    assert code == 2
    assert message.startswith(f"target '{target}': {problem}")


def test_a_file_that_cannot_be_written(folder: Path) -> None:
    """A file that cannot be written is one line, and exit 2."""
    code, message = refused("asyncapi", "shop:bus", "-o", "no/such/folder.json", folder=folder)
    assert (code, message) == (2, "--output: cannot write no/such/folder.json: No such file or directory")
