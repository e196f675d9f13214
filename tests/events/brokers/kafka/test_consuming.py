"""Consumers of a real Kafka: how far they read, what they commit, and what they leave behind."""

import asyncio
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from hasten.events import Bus, Message, Reject
from hasten.events.brokers import _kafka_consumer, _kafka_hold, _kafka_puller
from hasten.events.brokers._kafka_settings import PARTITIONS
from hasten.events.brokers.kafka import KafkaBroker
from tests.events.brokers.adapter import QUICKLY, OrderPaid, Seen, eventually, new_topic, run
from tests.events.brokers.kafka.conftest import Connect


async def publish_many(bus: Bus, topic: str, numbers: range) -> None:
    await asyncio.gather(*(bus.publish(topic, OrderPaid(number)) for number in numbers))


def noting(bus: Bus, topic: str, concurrency: int = 16) -> Seen:
    """Have a group's messages noted."""
    seen = Seen()

    @bus.subscribe(topic, group="billing", concurrency=concurrency)
    async def note(order: OrderPaid, message: Message) -> None:
        await seen.note(order, message)

    return seen


def puller_of(bus: Bus) -> "_kafka_puller.Puller":
    assert isinstance(bus.broker, KafkaBroker)
    return bus.broker._intakes[0]._puller


def test_reading_ahead_is_bounded(connect: Connect) -> None:
    """While handlers are slow the partitions are paused, few messages are in memory, and all come later."""

    async def scenario() -> None:
        topic, bus, gate, seen = new_topic(), Bus(connect()), asyncio.Event(), Seen()

        @bus.subscribe(topic, group="billing")
        async def handle(order: OrderPaid, message: Message) -> None:
            await gate.wait()
            await seen.note(order, message)

        count = 3 * _kafka_puller.READ_AHEAD
        async with bus:
            await publish_many(bus, topic, range(count))
            puller = puller_of(bus)

            async def paused() -> bool:
                return bool(puller._paused)

            await eventually(paused)
            assert puller._handed - puller._taken <= _kafka_puller.READ_AHEAD + _kafka_puller._BATCH
            gate.set()
            await seen.count(count)
        assert Counter(order.number for order in seen.payloads) == dict.fromkeys(range(count), 1)

    run(scenario())


def test_a_handler_slower_than_the_poll_interval(connect: Connect) -> None:
    """A message that is handled for longer than Kafka lets a consumer be silent stays with it."""

    async def scenario() -> None:
        topic, seen, gate = new_topic(), Seen(), asyncio.Event()
        limits = {"session_timeout_ms": 1000, "heartbeat_interval_ms": 200, "max_poll_interval_ms": 1500}
        first, second = Bus(connect(**limits)), Bus(connect(**limits))

        async def handle(order: OrderPaid, message: Message) -> None:
            await seen.note(order, message)
            await gate.wait()

        for bus in (first, second):
            bus.subscribe(topic, group="billing", concurrency=1)(handle)
        async with first, second:
            await first.publish(topic, OrderPaid(1))
            await seen.count(1)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(4.0):
                    await seen.count(2)
            gate.set()

    run(scenario())


def test_out_of_order_and_gone(connect: Connect) -> None:
    """What was handled behind a message that was not is not handled again by who comes next."""

    async def scenario() -> None:
        topic, first, second = new_topic(), Bus(connect(), drain=0.0), Bus(connect())
        early, late = Seen(), noting(second, topic, 64)

        @first.subscribe(topic, group="billing")
        async def handle(order: OrderPaid, message: Message) -> None:
            if order.number % 5 == 0:
                await asyncio.Event().wait()
            await early.note(order, message)

        async with first:
            for number in range(40):
                await first.publish(topic, OrderPaid(number), key="one partition")
            await early.count(32)
        async with second:
            await second.publish(topic, OrderPaid(40), key="one partition")
            await late.count(9)
        assert sorted(order.number for order in late.payloads) == list(range(0, 41, 5))

    run(scenario())


def test_backlog_counts_what_is_not_handled(connect: Connect) -> None:
    """The backlog is what a group has to do, whatever was handled out of order; a group that is not there is none."""

    async def scenario() -> None:
        topic, bus, gate, seen = new_topic(), Bus(connect()), asyncio.Event(), Seen()

        @bus.subscribe(topic, group="billing")
        async def handle(order: OrderPaid, message: Message) -> None:
            if order.number % 4 == 0:
                await gate.wait()
            await seen.note(order, message)

        async with bus:
            broker = bus.broker
            assert isinstance(broker, KafkaBroker)

            async def waits(count: int) -> bool:
                return (await broker.backlog(topic, "billing")).waiting == count

            for number in range(40):
                await bus.publish(topic, OrderPaid(number), key="one partition")
            await seen.count(30)
            await eventually(lambda: waits(10))
            gate.set()
            await eventually(lambda: waits(0))
            assert await broker.groups_of(topic) == ["billing"]
            assert await broker.groups_of(f"{topic}.paid") == await broker.groups_of(topic[:-1]) == []
            with pytest.raises(Exception, match="has no group mail"):
                await broker.backlog(topic, "mail")

    run(scenario())


def test_names_that_look_alike(connect: Connect) -> None:
    """Topic `a.b` with group `c` and topic `a` with group `b.c` have nothing to do with each other."""

    async def scenario() -> None:
        topic, bus = new_topic(), Bus(connect())
        counts = Counter[str]()

        async def handle(order: OrderPaid, message: Message) -> None:
            counts[f"{message.topic} {order.number}"] += 1
            if order.number == 1 and message.group == "paid.billing":
                raise Reject("not ours")
            if message.attempt == 1:
                raise ValueError("once more")

        bus.subscribe(f"{topic}.paid", group="billing", retry=QUICKLY)(handle)
        bus.subscribe(topic, group="paid.billing", retry=QUICKLY)(handle)
        async with bus:
            broker = bus.broker
            assert isinstance(broker, KafkaBroker)

            async def done() -> bool:
                return len(await broker.dead_letters(topic, "paid.billing", 10)) == 1 and sum(counts.values()) == 7

            for number in range(2):
                await bus.publish(topic, OrderPaid(number))
                await bus.publish(f"{topic}.paid", OrderPaid(number))
            await eventually(done)
            assert await broker.dead_letters(f"{topic}.paid", "billing", 10) == []
            assert (await broker.backlog(f"{topic}.paid", "billing")).dead == 0
        assert counts == {f"{topic} 0": 2, f"{topic} 1": 1, f"{topic}.paid 0": 2, f"{topic}.paid 1": 2}

    run(scenario())


# ---- later


def test_many_delayed(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """More delayed messages than may be held hold up none that is due, and come all, not before their time."""
    monkeypatch.setattr(_kafka_hold, "MOST_HELD", 10)

    async def scenario() -> None:
        topic, bus, seen = new_topic(), Bus(connect()), Seen()
        too_early = []

        @bus.subscribe(topic, group="billing")
        async def note(order: OrderPaid, message: Message) -> None:
            if order.number < 100 and time.time() < message.time + 1.0:
                too_early.append(order.number)
            await seen.note(order, message)

        async with bus:
            for number in range(100):
                await bus.publish(topic, OrderPaid(number), delay=1.0)
            await publish_many(bus, topic, range(100, 200))
            await seen.count(200)
            assert isinstance(bus.broker, KafkaBroker)
            copies = await bus.broker._admin.ends(f"{topic}.billing.retry", range(PARTITIONS))
            assert sum(last for _, last in copies.values()) <= 100  # no message was copied twice
        assert too_early == []
        assert Counter(order.number for order in seen.payloads) == dict.fromkeys(range(200), 1)

    run(scenario())


def test_long_delays_wait_elsewhere(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that is due in a long time waits in the retry topic: what it was published to is committed past it."""
    monkeypatch.setattr(_kafka_consumer, "LONG_DELAY", 0.1)

    async def scenario() -> None:
        topic, bus = new_topic(), Bus(connect(partitions=1))
        seen = noting(bus, topic)

        async with bus:
            broker = bus.broker
            assert isinstance(broker, KafkaBroker)

            async def committed() -> bool:
                return (await broker._admin.committed(f"{topic}:billing", topic, [0])) == {0: (2, "")}

            await bus.publish(topic, OrderPaid(1), delay=2.0)
            await bus.publish(topic, OrderPaid(2))
            await seen.count(1)
            await eventually(committed)
            assert [order.number for order in seen.payloads] == [2]
            await seen.count(2)
        assert (seen.messages[1].attempt, seen.payloads[1].number) == (1, 1)

    run(scenario())


# ---- the end


def test_nothing_is_left(connect: Connect) -> None:
    """A closed bus has no thread and no file or socket open, of Python's or of librdkafka's."""

    async def scenario() -> None:
        topic, bus = new_topic(), Bus(connect())
        seen = noting(bus, topic)

        async with bus:
            await bus.publish(topic, OrderPaid(1))
            await seen.count(1)
            assert isinstance(bus.broker, KafkaBroker)
            await bus.broker.dead_letters(topic, "billing", 1)

    def now() -> tuple[int, int, int]:
        files, threads = (len(list(Path(f"/proc/self/{each}").iterdir())) for each in ("fd", "task"))
        return threading.active_count(), files, threads

    run(scenario())  # what is made once for the process
    before = now()
    run(scenario())
    give_up = time.monotonic() + 5.0
    while any(after > at_first for after, at_first in zip(now(), before, strict=True)):
        assert time.monotonic() < give_up, f"{before} became {now()}: {threading.enumerate()}"


def test_a_foreign_record(connect: Connect) -> None:
    """A record that says nothing but a JSON value is handled, and has an id that is the same each time."""

    async def scenario() -> None:
        topic, bus = new_topic(), Bus(connect())
        seen = noting(bus, topic)

        async with bus:
            assert isinstance(bus.broker, KafkaBroker)
            await bus.broker._producer.send((topic, b'{"number": 7}', None, [], 0), time.monotonic() + 5.0)
            await seen.count(1)
        message = seen.messages[0]
        assert message.id.startswith(f"{topic}-")
        assert (seen.payloads, message.headers) == ([OrderPaid(7)], {})

    run(scenario())


def test_what_was_committed_is_not_known_at_first(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """A consumer that cannot learn how far its group has come asks again, and takes nothing before it knows."""
    ask = _kafka_puller.Puller._committed
    answers: list[None] = [None, None]
    monkeypatch.setattr(
        _kafka_puller.Puller,
        "_committed",
        lambda puller, *asked: answers.pop() if answers else ask(puller, *asked),
    )

    async def scenario() -> None:
        topic, bus = new_topic(), Bus(connect())
        seen = noting(bus, topic)
        async with bus:
            await publish_many(bus, topic, range(50))
            await seen.count(50)
        assert answers == []
        assert Counter(order.number for order in seen.payloads) == dict.fromkeys(range(50), 1)

    run(scenario())
