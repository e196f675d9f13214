"""Places for messages that wait: whoever publishes gets one in turn, and gives back what it does not use."""

import asyncio
import math
import time
from pathlib import Path

import pytest

from hasten.events import BrokerError, Delivery, Envelope, PublishTimeout, Subscription
from hasten.events.brokers._memory_journal import Journal
from hasten.events.brokers.memory import MemoryBroker
from tests.events.brokers.adapter import run

TOPIC = "orders"


def message(name: str) -> Envelope:
    return Envelope(topic=TOPIC, body=b"{}", content_type="application/json", id=name)


async def with_groups(broker: MemoryBroker, *names: str) -> MemoryBroker:
    """Start a broker that has groups without consumers."""
    await broker.start()
    for name in names:
        intake = await broker.subscribe(Subscription(topic=TOPIC, group=name, prefetch=1), lambda _: None)
        await intake.aclose()
    return broker


@pytest.fixture(params=["memory", "file"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> MemoryBroker:
    """A broker in which three messages may wait."""
    return MemoryBroker(tmp_path / "events.db" if request.param == "file" else None, most_waiting=3)


def test_in_turn(broker: MemoryBroker) -> None:
    """Publishers that never pause leave places to each other: none gets far ahead, and messages come in turn."""

    async def scenario() -> None:
        published = dict.fromkeys("abcdef", 0)
        await with_groups(broker, "billing")

        async def publish(name: str) -> None:
            for _ in range(50):
                await broker.publish(message(name), deadline=math.inf)
                published[name] += 1
                assert published[name] - min(published.values()) <= 4

        publishers = [asyncio.create_task(publish(name)) for name in published]
        await asyncio.sleep(0)

        def receive(delivery: Delivery) -> None:
            asyncio.get_running_loop().call_soon(intake.accept, delivery)

        intake = await broker.subscribe(Subscription(topic=TOPIC, group="billing", prefetch=1), receive)
        await asyncio.gather(*publishers)
        await intake.aclose()
        await broker.aclose()

    run(scenario())


def test_given_back(broker: MemoryBroker) -> None:
    """Who waits in vain for a place, or is cancelled, takes none, in this group or another."""

    async def scenario() -> None:
        await with_groups(broker, "mail", "billing")
        slow, quick = broker.groups[TOPIC]["billing"], broker.groups[TOPIC]["mail"]
        for name in "abc":
            await broker.publish(message(name), deadline=math.inf)
        slow.waiting.popleft()
        quick.waiting.clear()
        waits = asyncio.create_task(broker.publish(message("d"), deadline=math.inf))
        await waits
        with pytest.raises(PublishTimeout, match="3 messages wait in orders billing"):
            await broker.publish(message("e"), deadline=time.monotonic() + 0.01)
        cancelled = asyncio.create_task(broker.publish(message("f"), deadline=math.inf))
        await asyncio.sleep(0)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        given = asyncio.create_task(broker.publish(message("g"), deadline=math.inf))
        await asyncio.sleep(0)
        slow.waiting.clear()
        slow._admit()
        given.cancel()  # just when it has got a place
        with pytest.raises(asyncio.CancelledError):
            await given
        assert (slow.reserved, quick.reserved) == (0, 0)
        for name in "hij"[: 3 - len(quick.waiting)]:
            await broker.publish(message(name), deadline=time.monotonic() + 5.0)
        await broker.aclose()

    run(scenario())


def test_what_is_delayed_takes_no_place(broker: MemoryBroker) -> None:
    """A delayed message gives its place to who waits, since it does not wait to be delivered yet."""

    async def scenario() -> None:
        await with_groups(broker, "billing")
        for name in "ab":
            await broker.publish(message(name), deadline=time.monotonic() + 5.0)
        later = asyncio.create_task(broker.publish(message("c"), deadline=time.monotonic() + 5.0, delay=3600.0))
        waits = asyncio.create_task(broker.publish(message("d"), deadline=time.monotonic() + 5.0))
        await asyncio.gather(later, waits)
        assert (await broker.backlog(TOPIC, "billing")).waiting == 4
        await broker.aclose()

    run(scenario())


def test_what_is_refused_takes_no_place(tmp_path: Path) -> None:
    """Messages that cannot be kept, or for which the disk has no room, leave their places to others."""

    async def scenario() -> None:
        broker = await with_groups(MemoryBroker(tmp_path / "events.db", most_waiting=3), "billing")
        journal = broker._keeping
        assert isinstance(journal, Journal)
        connection = journal._file._connection
        assert connection is not None
        wrong, large = message("\ud800"), message("large")
        large.body = bytes(200_000)
        connection.execute("PRAGMA max_page_count = 20")
        for _ in range(5):
            with pytest.raises(BrokerError, match="cannot be kept"):
                await broker.publish(wrong, deadline=time.monotonic() + 5.0)
            with pytest.raises(BrokerError, match="database or disk is full"):
                await broker.publish(large, deadline=time.monotonic() + 5.0)
        for _ in range(3):
            await broker.publish(message("small"), deadline=time.monotonic() + 5.0)
        assert broker.groups[TOPIC]["billing"].reserved == 0
        await broker.aclose()

    run(scenario())
