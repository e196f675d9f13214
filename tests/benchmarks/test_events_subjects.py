"""The subjects of the `events` benchmark move every message once; how long it takes is not asserted."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import aio_pika
import msgspec
import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient
from hypothesis import given
from hypothesis import strategies as st

from benchmarks._driven import OrderedProcess, WrongValueError
from benchmarks._harness import Effort
from benchmarks._processes import Cores
from benchmarks.events import _client
from benchmarks.events._backend import Backend
from benchmarks.events._benchmark import EventsBenchmark
from benchmarks.events._orders import Drive, Moved, Work
from benchmarks.events._stack import PARTITIONS, Kind, modules
from benchmarks.events._trials import EventTrial
from benchmarks.events._work import BODY_BYTES, IN_FLIGHT, Billing, OrderPaid, Orders, check, decode, encode
from benchmarks.events.stacks._settled import Settled
from hasten._core.errors import ConfigurationError, InvalidMeasurement
from servers import KAFKA, RABBITMQ
from tests.own_servers import place_of

pytestmark = pytest.mark.timeout(180)  # a broker may take half a minute to start on a busy machine
_CORES = Cores.available()
_SERVERS = {Kind.RABBITMQ: RABBITMQ, Kind.KAFKA: KAFKA}
_WORK: tuple[Work, ...] = ("publish", "consume", "latency")
_MESSAGES = 200
_SUBJECTS = [(kind, subject) for kind in Kind for subject in modules(kind)]
_QUEUES = {"hasten": "bus:orders.paid:billing", "hasten-broker": "broker:orders.paid:billing"}
_GROUPS = {"hasten": ("bus", "bus:billing"), "hasten-broker": ("broker", "broker:billing")}
_LONGEST = 30.0


@pytest.fixture(scope="module")
def started() -> Iterator[Callable[[Kind], Backend]]:
    """Return a function that gives a broker of the benchmark's own, started when it is asked for first."""
    backends: dict[Kind, Backend] = {}

    def start(kind: Kind) -> Backend:
        place_of(_SERVERS[kind])
        if kind not in backends:
            backends[kind] = Backend(kind, _CORES.server).__enter__()
        return backends[kind]

    yield start
    for backend in backends.values():
        backend.__exit__(None, None, None)


def _subject(subject: str, kind: Kind, backend: Backend) -> OrderedProcess:
    command = [sys.executable, "-m", *modules(kind)[subject], backend.place, str(backend.broker_pid)]
    return OrderedProcess(f"{subject} over {kind}", command, _CORES.client)


@pytest.mark.parametrize(("kind", "subject"), _SUBJECTS)
def test_every_subject_moves_and_settles(kind: Kind, subject: str, started: Callable[[Kind], Backend]) -> None:
    """Each subject has every message confirmed and handled once, and then the broker knows that all are handled."""
    backend = started(kind)
    with _subject(subject, kind, backend) as process:
        process.suspend()
        for work in _WORK:
            trial = EventTrial(subject, work, process, Drive(work, _MESSAGES), turns=1)
            trial.turn(seed=0)
            figures = dict(trial.figures())
            assert figures.pop("server") >= 0.0  # so few messages a broker may have sent before they were asked for
            assert min(figures.values()) > 0.0
            assert ("both" in figures) is (work == "consume")
            assert ("p50" in figures) is (work != "consume")
        process.resume()
        process.ask(Drive("latency", 0), 1.0, Moved)  # when it answers, the last acknowledgements are sent
        if kind is Kind.KAFKA:
            topic, group = _GROUPS.get(subject, (subject, subject))
            _eventually(lambda: _lag(backend.place, topic, group) == 0)
    if kind is Kind.RABBITMQ:
        assert asyncio.run(_left_in(backend.place, _QUEUES.get(subject, subject))) == 0


def _eventually(holds: Callable[[], bool]) -> None:
    give_up = time.monotonic() + _LONGEST
    while not holds():
        assert time.monotonic() < give_up, "it never came to be"


async def _left_in(place: str, queue: str) -> int:
    """Return how many messages a queue has, when its consumer is gone and has given back what it had."""
    async with await aio_pika.connect(f"amqp://guest:guest@{place}/") as connection:
        while True:
            channel = await connection.channel()
            found = (await channel.declare_queue(queue, passive=True)).declaration_result
            await channel.close()
            if found.consumer_count == 0:
                assert found.message_count is not None
                return found.message_count


def _lag(place: str, topic: str, group: str) -> int:
    """Return how many records of a topic a group has not committed."""
    admin = AdminClient({"bootstrap.servers": place})
    partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group, partitions)])
    committed = {each.partition: each.offset for each in asked[group].result(_LONGEST).topic_partitions}
    consumer = Consumer({"bootstrap.servers": place, "group.id": "nobody"})
    try:
        ends = [consumer.get_watermark_offsets(each, timeout=_LONGEST)[1] for each in partitions]
    finally:
        consumer.close()
    assert sum(ends) >= _MESSAGES * len(_WORK)
    return sum(end - max(0, committed[number]) for number, end in enumerate(ends))


# ---- what must not be measured


def test_a_broker_that_is_killed_ends_the_run() -> None:
    """Messages that a dead broker does not confirm have no figures."""
    place_of(RABBITMQ)
    with (
        Backend(Kind.RABBITMQ, _CORES.server) as backend,
        _subject("raw", Kind.RABBITMQ, backend) as process,
    ):
        process.suspend()
        os.kill(backend.broker_pid, signal.SIGKILL)
        with pytest.raises(InvalidMeasurement, match="raw over rabbitmq"):
            process.measure(Drive("publish", _MESSAGES), 0.0, Moved)


@pytest.mark.parametrize("numbers", [[1, 1, 3], [1, 2, 4], [1, 2], [1, 2, 3, 3]])
def test_lost_and_doubled_messages_are_found(numbers: Sequence[int]) -> None:
    """An order that is handled twice, another one in its place, or none at all makes the measurement invalid."""
    orders = [OrderPaid(number) for number in (1, 2, 3)]
    check(orders, [3, 1, 2])
    with pytest.raises(WrongValueError):
        check(orders, numbers)


@pytest.mark.parametrize("work", _WORK)
def test_a_subject_that_mixes_messages_up_has_no_figures(work: Work) -> None:
    """What is handled is compared with what was published."""

    async def measure() -> None:
        billing = Billing()

        async def publish(order: OrderPaid) -> None:
            wrong = msgspec.structs.replace(order, number=order.number + 1)
            tasks.append(asyncio.create_task(billing.bill(wrong)))

        tasks: list[asyncio.Task[None]] = []
        await _client._Driver(publish, billing, os.getpid()).drive(Drive(work, 10))

    with pytest.raises(WrongValueError, match="1 of 10 messages lost, 10 handled"):
        asyncio.run(measure())


def test_a_missing_broker_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that is not installed is a matter of configuration, in one line."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigurationError, match="no epmd on PATH"), Backend(Kind.RABBITMQ, _CORES.server):
        pass


# ---- the parts


def test_orders_wait_while_billing_is_shut() -> None:
    """While it is shut no order is handled; opened, all are, and who waits for them goes on."""

    async def use() -> None:
        billing = Billing()
        orders = billing.orders(3)
        billing.shut()
        tasks = [asyncio.create_task(billing.bill(order)) for order in orders]
        await asyncio.gather(*(asyncio.wait_for(asyncio.shield(task), 0) for task in tasks), return_exceptions=True)
        assert billing.numbers == []
        billing.open()
        await billing.complete()
        check(orders, billing.numbers)

    asyncio.run(use())


@given(st.permutations(range(1, 20)), st.sets(st.integers(0, 18)))
def test_acknowledged_is_what_has_no_gap_before_it(order: Sequence[int], pauses: set[int]) -> None:
    """A tag is told when all up to it are handled, whatever the order, and each one once at most."""

    async def use() -> None:
        told: list[int] = []
        settled = Settled(told.append)
        for at, tag in enumerate(order):
            settled.add(tag)
            if at in pauses:
                await asyncio.sleep(0)
                handled = set(order[: at + 1])
                assert (told[-1] if told else 0) == next(number - 1 for number in range(1, 21) if number not in handled)
        await asyncio.sleep(0)
        assert told == sorted(set(told))
        assert told[-1] == 19

    asyncio.run(use())


def test_payloads_have_their_size() -> None:
    """Orders have the documented size, each a number of its own, and come back as they were."""
    make = Orders()
    orders = [*make(IN_FLIGHT), *make(1)]
    assert BODY_BYTES == 200
    assert {len(encode(order)) for order in orders} == {BODY_BYTES}
    assert len({order.number for order in orders}) == IN_FLIGHT + 1
    assert [decode(encode(order)) for order in orders] == orders


def test_subjects_are_complete() -> None:
    """There is a setup for every subject, and a subject for every setup."""
    assert {subject for _, subject in _SUBJECTS} == {subject.name for subject in EventsBenchmark.subjects}


def test_events_benchmark_starts_what_was_chosen() -> None:
    """Cases of one broker start no other; the run says which broker it was, and a broker ends with it."""
    place_of(RABBITMQ)
    effort = Effort(1, quick=True, only=("raw",), cases=("rabbitmq-publish",))
    with EventsBenchmark().prepare(effort) as prepared:
        assert [(trial.subject, trial.case) for trial in prepared.trials] == [
            ("raw", "rabbitmq-publish"),
            ("raw", "rabbitmq-consume"),
            ("raw", "rabbitmq-latency"),
        ]
        trial = prepared.trials[0]
        trial.turn(seed=0)
        assert trial.figures().keys() <= EventsBenchmark.units.keys()
        assert prepared.conditions["rabbitmq"].startswith("RabbitMQ 3.")
        assert "kafka" not in prepared.conditions


def test_a_broker_ends_with_its_minder() -> None:
    """When its minder is ended, the broker is gone."""
    place_of(RABBITMQ)
    with Backend(Kind.RABBITMQ, _CORES.server) as backend:
        os.kill(backend.broker_pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(backend.broker_pid, 0)
