"""Partitions move while messages are handled: none is lost, none handled twice, and keys keep their order."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

from hasten.events import Bus, Message
from hasten.events.brokers.kafka import KafkaBroker
from tests.events.brokers.adapter import LONGEST, OrderPaid, Seen, new_topic, run
from tests.events.brokers.kafka.conftest import Connect

KEYS = 24


class Load:
    """Publishes numbered messages without a pause, until it is ended."""

    def __init__(self, bus: Bus, topic: str) -> None:
        self.count = 0
        self._bus = bus
        self._topic = topic
        self._task = asyncio.ensure_future(self._publish())

    async def _publish(self) -> None:
        while True:
            number = self.count
            self.count += 1
            await self._bus.publish(self._topic, OrderPaid(number), key=f"k{number % KEYS}")

    async def end(self) -> int:
        """Return how many were confirmed, or may have been."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        return self.count


class Member:
    """A consumer of the group, with what it has handled."""

    def __init__(self, connect: Connect, topic: str, handle: Callable[[OrderPaid, str], Awaitable[None]]) -> None:
        self.bus = Bus(connect())
        self.seen = Seen()

        @self.bus.subscribe(topic, group="billing", concurrency=8, ordered=True)
        async def note(order: OrderPaid, message: Message) -> None:
            await handle(order, message.key)
            await self.seen.note(order, message)

    async def works(self) -> None:
        """Return when it has handled some more."""
        await self.seen.count(len(self.seen.payloads) + 20)


def test_members_come_and_go(connect: Connect) -> None:
    """Three consumers join and leave in turn under load: each message is handled once, each key in order."""

    async def scenario() -> None:
        topic, publisher = new_topic(), Bus(connect())
        handled: dict[str, list[int]] = {}

        async def handle(order: OrderPaid, key: str) -> None:
            await asyncio.sleep(0)
            handled.setdefault(key, []).append(order.number)

        first, second, third, fourth = (Member(connect, topic, handle) for _ in range(4))
        await publisher.start()
        load = Load(publisher, topic)
        await first.bus.start()
        await first.works()
        await second.bus.start()
        await second.works()
        await third.bus.start()
        await third.works()
        await first.bus.aclose()
        await asyncio.gather(second.works(), third.works())
        await fourth.bus.start()
        await fourth.works()
        await second.bus.aclose()
        await third.bus.aclose()
        await fourth.works()
        count = await load.end()
        async with asyncio.timeout(LONGEST):
            while sum(map(len, handled.values())) < count - 1:  # the last one may not have been sent
                await fourth.seen.count(len(fourth.seen.payloads) + 1)
        await fourth.bus.aclose()
        await publisher.aclose()
        numbers = Counter(number for each in handled.values() for number in each)
        assert set(numbers.values()) == {1}
        assert set(numbers) >= set(range(count - 1))
        assert all(each == sorted(each) for each in handled.values())

    run(scenario())


def test_what_is_handled_when_its_partition_goes(connect: Connect) -> None:
    """A partition is given up when the messages of it that are under way are handled: no other handles them again."""

    async def scenario() -> None:
        topic = new_topic()
        first, second = Bus(connect()), Bus(connect())
        at_work, gate, calls = asyncio.Event(), asyncio.Event(), Counter[int]()
        seen = Seen()

        @first.subscribe(topic, group="billing", concurrency=64)
        async def hold(order: OrderPaid, message: Message) -> None:
            calls[order.number] += 1
            if sum(calls.values()) >= 50:
                at_work.set()
            await gate.wait()
            await seen.note(order, message)

        @second.subscribe(topic, group="billing")
        async def note(order: OrderPaid, message: Message) -> None:
            calls[order.number] += 1
            await seen.note(order, message)

        async with first:
            for number in range(50):
                await first.publish(topic, OrderPaid(number), key=f"k{number}")
            await at_work.wait()
            async with second:
                assert isinstance(first.broker, KafkaBroker)
                intake = first.broker._intakes[0]
                async with asyncio.timeout(LONGEST):
                    while intake._leaving is None:
                        await asyncio.sleep(0.01)
                gate.set()
                await seen.count(50)
                for number in range(50, 100):
                    await first.publish(topic, OrderPaid(number), key=f"k{number}")
                await seen.count(100)
        assert calls == dict.fromkeys(range(100), 1)

    run(scenario())
