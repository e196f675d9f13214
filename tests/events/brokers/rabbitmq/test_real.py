"""What RabbitMQ itself does with our queues, channels and acknowledgements."""

import asyncio
import random
import time
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from pamqp import body, commands, frame, header

from hasten.events import BrokerError, Unroutable
from hasten.events._broker import Delivery, Intake, Subscription
from hasten.events.brokers import _amqp_methods as amqp
from hasten.events.brokers._amqp_topology import dead_queue, delayed_of, group_queue, retries_of
from hasten.events.brokers.rabbitmq import RabbitBroker, rabbit_broker
from tests.events.brokers.adapter import LONGEST, new_topic, run
from tests.events.brokers.rabbitmq.peer import message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Inbox:
    """Deliveries as they come."""

    def __init__(self) -> None:
        self.all: list[Delivery] = []
        self._queue: asyncio.Queue[Delivery] = asyncio.Queue()

    def receive(self, delivery: Delivery) -> None:
        self.all.append(delivery)
        self._queue.put_nowait(delivery)

    async def next(self) -> Delivery:
        async with asyncio.timeout(LONGEST):
            return await self._queue.get()

    async def some(self, count: int) -> list[Delivery]:
        return [await self.next() for _ in range(count)]


@asynccontextmanager
async def running(*brokers: RabbitBroker) -> "AsyncIterator[None]":
    """Run brokers for a block."""
    for broker in brokers:
        await broker.start()
    try:
        yield
    finally:
        for broker in brokers:
            await broker.aclose()


def of(topic: str, group: str = "billing", prefetch: int = 10, *, ordered: bool = False) -> Subscription:
    return Subscription(topic=topic, group=group, prefetch=prefetch, ordered=ordered)


async def publish(broker: RabbitBroker, topic: str, *numbers: int, delay: float = 0.0) -> None:
    """Publish messages with these ids, all at once."""
    deadline = time.monotonic() + LONGEST
    envelopes = [message(number, topic=topic, body=b"%d" % number) for number in numbers]
    await asyncio.gather(*(broker.publish(each, deadline=deadline, delay=delay) for each in envelopes))


def numbers_of(deliveries: list[Delivery]) -> list[int]:
    return [int(each.envelope.body) for each in deliveries]


def test_settled_in_any_order(amqp_url: str) -> None:
    """However settlements are put together, each message is delivered once, and no more than prefetch at a time."""

    async def scenario() -> None:
        topic, broker = new_topic(), rabbit_broker(amqp_url)
        held: list[Delivery] = []
        seen: list[int] = []
        done = asyncio.Event()
        chance = random.Random(7)
        intakes: list[Intake] = []

        def settle() -> None:
            chance.shuffle(held)
            for _ in range(chance.randint(1, len(held))):
                intakes[0].accept(held.pop())
            if len(seen) == 500 and not held:
                done.set()
            elif held:
                loop.call_soon(settle)

        def receive(delivery: Delivery) -> None:
            held.append(delivery)
            assert len(held) <= 10
            seen.append(int(delivery.envelope.body))
            if len(held) == 1:
                loop.call_soon(settle)

        loop = asyncio.get_running_loop()
        async with running(broker):
            first = await broker.subscribe(of(topic), lambda _: None)
            await first.aclose()
            await publish(broker, topic, *range(500))
            early: list[Delivery] = []

            def take(delivery: Delivery) -> None:
                receive(delivery) if intakes else early.append(delivery)

            intakes.append(await broker.subscribe(of(topic), take))
            for delivery in early:
                receive(delivery)
            async with asyncio.timeout(LONGEST):
                await done.wait()
            await intakes[0].aclose()
            left = Inbox()
            await broker.subscribe(of(topic), left.receive)
            await publish(broker, topic, 1000)
            assert numbers_of([await left.next()]) == [1000]
        assert Counter(seen) == dict.fromkeys(range(500), 1)

    run(scenario())


def test_what_is_not_settled(amqp_url: str) -> None:
    """It comes again when its consumer has gone, and says how often it did; a late settlement does nothing."""

    async def scenario() -> None:
        topic, broker = new_topic(), rabbit_broker(amqp_url)
        async with running(broker):
            for round_ in range(3):
                inbox = Inbox()
                intake = await broker.subscribe(of(topic), inbox.receive)
                if not round_:
                    await publish(broker, topic, 1)
                delivery = await inbox.next()
                assert delivery.returned == round_
                await intake.aclose()
                intake.accept(delivery)

    run(scenario())


def test_a_lost_connection(amqp_url: str) -> None:
    """What came over it is delivered again over the next one; settling the old delivery does not settle the new one."""

    async def scenario() -> None:
        topic, broker, inbox = new_topic(), rabbit_broker(amqp_url), Inbox()
        async with running(broker):
            intake = await broker.subscribe(of(topic, prefetch=1), inbox.receive)
            await publish(broker, topic, 1, 2)
            old = await inbox.next()
            for link in (broker._consuming, broker._publishing):
                assert link.connection is not None
                link.connection.abort("a test")
            new = await inbox.next()
            assert (new.envelope, new.returned) == (old.envelope, 1)
            intake.accept(old)
            await publish(broker, topic, 3)
            assert len(inbox.all) == 2  # the second one is held back by the first, as prefetch says
            intake.accept(new)
            rest = await inbox.next()
            intake.accept(rest)
            assert sorted(numbers_of([rest, await inbox.next()])) == [2, 3]

    run(scenario())


def test_other_properties(amqp_url: str) -> None:
    """A group that exists cannot become ordered: the error is the broker's, and all else goes on."""

    async def scenario() -> None:
        topic, broker, inbox = new_topic(), rabbit_broker(amqp_url), Inbox()
        async with running(broker):
            await broker.subscribe(of(topic), inbox.receive)
            with pytest.raises(BrokerError, match=r"PRECONDITION_FAILED.*x-single-active-consumer"):
                await broker.subscribe(of(topic, ordered=True), inbox.receive)
            await publish(broker, topic, 1)
            await inbox.next()

    run(scenario())


def test_a_queue_that_is_deleted(amqp_url: str) -> None:
    """Its consumer makes it again, and gets what is published from then on; so are queues that wait, and dead ones."""

    async def scenario() -> None:
        topic, broker, inbox = new_topic(), rabbit_broker(amqp_url), Inbox()
        async with running(broker):
            intake = await broker.subscribe(of(topic), inbox.receive)
            await publish(broker, topic, 1)
            await intake.retry(await inbox.next(), 0.05, attempt=2, reason="")
            await intake.bury(await inbox.next(), "")
            waiting, _ = retries_of("hasten", topic, "billing").queue(50, time.time())
            dead = dead_queue("hasten", topic, "billing")
            for queue in (waiting, dead, group_queue("hasten", topic, "billing")):
                await delete(broker, queue)
            while True:
                try:
                    await publish(broker, topic, 2)
                    break
                except Unroutable:
                    await asyncio.sleep(0.01)
            await intake.retry(await inbox.next(), 0.05, attempt=2, reason="")
            await intake.bury(await inbox.next(), "again")
            assert [each.reason for each in await broker.dead_letters(topic, "billing", 9)] == ["again"]

    run(scenario())


async def delete(broker: RabbitBroker, queue: str) -> None:
    method, answer = amqp.Method((50, 40), "hsbbb"), amqp.Method((50, 41), "l")
    async with (await broker._consuming.get()).temporary() as channel:
        await channel.call(method(0, queue, False, False, False), answer)  # noqa: FBT003


def test_an_ordered_group_changes_hands(amqp_url: str) -> None:
    """The next consumer gets nothing before the first has settled what it began, and then all the rest in order."""

    async def scenario() -> None:
        topic, broker, other = new_topic(), rabbit_broker(amqp_url), rabbit_broker(amqp_url)
        first, second = Inbox(), Inbox()
        async with running(broker, other):
            intake = await broker.subscribe(of(topic, prefetch=5, ordered=True), first.receive)
            await other.subscribe(of(topic, prefetch=5, ordered=True), second.receive)
            await publish(broker, topic, *range(20))
            got = await first.some(5)
            await intake.stop()
            intake.accept(got[0])
            intake.accept(got[2])
            await publish(broker, topic, 20)  # the broker has seen to the settlements before
            assert not second.all
            assert len(first.all) == 5
            await intake.aclose()
            assert numbers_of(await second.some(5)) == [1, 3, 4, 5, 6]

    run(scenario())


def test_no_wait_behind_a_longer_one(amqp_url: str) -> None:
    """A short retry and a short delay come before long ones that were begun earlier."""

    async def scenario() -> None:
        topic, broker, inbox = new_topic(), rabbit_broker(amqp_url), Inbox()
        async with running(broker):
            intake = await broker.subscribe(of(topic), inbox.receive)
            await publish(broker, topic, 1, delay=3600.0)
            await publish(broker, topic, 2, 3)
            deliveries = await inbox.some(2)
            await intake.retry(deliveries[0], 3600.0, attempt=2, reason="")
            began = time.monotonic()
            await intake.retry(deliveries[1], 0.05, attempt=2, reason="")
            await publish(broker, topic, 4, delay=0.05)
            assert {3, 4} == set(numbers_of(await inbox.some(2)))
            assert time.monotonic() - began >= 0.05
            assert {each.envelope.attempt for each in inbox.all} == {1, 2}

    run(scenario())


def test_how_long_it_waits() -> None:
    """A queue for messages that wait is for times up to twice (retries) or a fifth longer (delays) than theirs."""
    for milliseconds in (1, 15, 16, 17, 200, 1000, 1024, 86_400_000, 28 * 86_400_000):
        _, retry = retries_of("hasten", "orders.paid", "billing").queue(milliseconds, 0.0)
        _, delay = delayed_of("hasten", "orders.paid").queue(milliseconds, 0.0)
        longest = max(16, milliseconds)
        assert milliseconds <= retry["x-message-ttl"] <= 2 * longest
        assert milliseconds <= delay["x-message-ttl"] <= 1.2 * longest
        assert retry["x-expires"] - retry["x-message-ttl"] == 21 * 86_400_000
        assert max(retry["x-expires"], delay["x-expires"]) < 2**32


def test_a_week_later() -> None:
    """Each week has its own waiting queues, and those of a week live longer than what the week put into them."""
    waiting = retries_of("hasten", "orders.paid", "billing")
    week = 7 * 86_400
    assert waiting.queue(100, 0.0)[0] == waiting.queue(100, week - 1.0)[0] != waiting.queue(100, float(week))[0]


def test_too_long_a_delay(amqp_url: str) -> None:
    """A delay that no queue can hold is refused."""

    async def scenario() -> None:
        topic, broker = new_topic(), rabbit_broker(amqp_url)
        async with running(broker):
            with pytest.raises(BrokerError, match="at most"):
                await publish(broker, topic, 1, delay=29 * 86_400.0)

    run(scenario())


def test_names_with_dots(amqp_url: str) -> None:
    """Topic and group that are one text with those of others share nothing with them."""

    async def scenario() -> None:
        topic, broker = new_topic(), rabbit_broker(amqp_url)
        one, other, dead = Inbox(), Inbox(), Inbox()
        async with running(broker):
            await broker.subscribe(of(f"{topic}.paid", "eu"), one.receive)
            await broker.subscribe(of(topic, "paid.eu"), other.receive)
            await broker.subscribe(of(f"{topic}.paid.eu", "dead"), dead.receive)
            await publish(broker, topic, 1)
            await publish(broker, f"{topic}.paid", 2)
            assert numbers_of([await other.next(), await one.next()]) == [1, 2]
            assert not dead.all

    run(scenario())


def test_from_another_client(amqp_url: str) -> None:
    """A message without any property, published by another client, is delivered, retried, and then keeps its id."""

    async def scenario() -> None:
        topic, broker, inbox = new_topic(), rabbit_broker(amqp_url), Inbox()
        async with running(broker):
            intake = await broker.subscribe(of(topic), inbox.receive)
            connection = await broker._consuming.get()
            async with connection.temporary() as channel:
                parts: tuple[Any, ...] = (
                    commands.Basic.Publish(0, "hasten", topic),
                    header.ContentHeader(0, 2, None),
                    body.ContentBody(b"42"),
                )
                connection.write(b"".join(frame.marshal(part, channel.number) for part in parts))
            first = await inbox.next()
            assert (first.envelope.body, first.envelope.topic, first.envelope.attempt) == (b"42", topic, 1)
            await intake.retry(first, 0.02, attempt=2, reason="")
            again = await inbox.next()
            assert (again.envelope.id, again.envelope.attempt) == (first.envelope.id, 2)

    run(scenario())


def test_dead_letters_keep_their_order(amqp_url: str) -> None:
    """However often they are looked at, all are there, the oldest first; those that are replayed are taken out."""

    async def scenario() -> None:
        topic, broker, inbox = new_topic(), rabbit_broker(amqp_url), Inbox()
        async with running(broker):
            intake = await broker.subscribe(of(topic, prefetch=50), inbox.receive)
            await publish(broker, topic, *range(30))
            for delivery in await inbox.some(30):
                await intake.bury(delivery, "x" * 9000)
            for _ in range(30):  # more often than RabbitMQ 4 lets a message come back
                found = await broker.dead_letters(topic, "billing", 20)
                assert [int(each.body) for each in found] == list(range(20))
                assert len(found[0].reason) == 4000
            assert await broker.replay(topic, "billing", lambda each: int(each.body) % 3 == 0, 20) == 7
            assert sorted(numbers_of(await inbox.some(7))) == list(range(0, 20, 3))
            left = [int(each.body) for each in await broker.dead_letters(topic, "billing", 100)]
            assert left == [number for number in range(30) if number % 3 or number >= 20]
            with pytest.raises(BrokerError, match="no queue"):
                await broker.dead_letters(topic, "mail", 1)

    run(scenario())


def test_a_large_message(amqp_url: str) -> None:
    """A message of many frames comes as it was sent."""

    async def scenario() -> None:
        topic, broker, inbox = new_topic(), rabbit_broker(amqp_url), Inbox()
        payload = random.Random(1).randbytes(3_000_001)
        async with running(broker):
            await broker.subscribe(of(topic), inbox.receive)
            await broker.publish(message(1, topic=topic, body=payload), deadline=time.monotonic() + LONGEST)
            assert (await inbox.next()).envelope.body == payload

    run(scenario())


def test_callers_that_go(amqp_url: str) -> None:
    """Cancelling who publishes, retries or subscribes harms no other, and leaves no consumer behind."""

    async def scenario() -> None:
        topic, broker, inbox = new_topic(), rabbit_broker(amqp_url), Inbox()
        async with running(broker):
            intake = await broker.subscribe(of(topic), inbox.receive)
            await publish(broker, topic, 0)
            first = await inbox.next()
            for steps in range(40):
                tasks = [
                    asyncio.ensure_future(publish(broker, topic, steps + 1)),
                    asyncio.ensure_future(broker.subscribe(of(topic, f"other{steps}"), lambda _: None)),
                    asyncio.ensure_future(intake.retry(first, 3600.0, attempt=2, reason="")),
                ]
                for _ in range(steps):
                    await asyncio.sleep(0)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            await publish(broker, topic, 1000)
            got: list[int] = []
            while 1000 not in got:
                delivery = await inbox.next()
                intake.accept(delivery)
                got += numbers_of([delivery])
            assert broker.connected

    run(scenario())


def test_nothing_is_left(amqp_url: str) -> None:
    """After the end there is no task, timer or transport of it, and publishing is refused."""

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        topic, broker, inbox = new_topic(), rabbit_broker(amqp_url), Inbox()
        tasks = asyncio.all_tasks()
        async with running(broker):
            await broker.subscribe(of(topic), inbox.receive)
            await publish(broker, topic, *range(50))
            connections = [await link.get() for link in (broker._publishing, broker._consuming)]
        assert asyncio.all_tasks() <= tasks
        assert all(each._transport is not None and each._transport.is_closing() for each in connections)
        timers = [each for each in loop._scheduled if not each.cancelled()]  # type: ignore[attr-defined]
        assert len(timers) == 1  # the test's own
        with pytest.raises(BrokerError):
            await publish(broker, topic, 1)
        await broker.aclose()

    run(scenario())
