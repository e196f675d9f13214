"""What a bus promises about batches, whatever broker is behind it."""

import asyncio
from collections import Counter
from time import monotonic

import pytest

from hasten._core.ambient import AMBIENT
from hasten._core.errors import ConfigurationError
from hasten.events import Batch, Bus, Message, Reject, RetryPolicy
from hasten.events.once import MemoryOnce
from tests.events.brokers.adapter import LONGEST, QUICKLY, Adapter, OrderPaid, Seen, eventually, new_topic, run
from tests.events.brokers.test_contract import _has_dead, dead_of

LONG = 60.0
"""Seconds that no test waits: what comes before was not waited for."""


def test_a_batch_is_full(adapter: Adapter) -> None:
    """A call gets as many messages as it wants at most, each with its own message, and does not wait when it has."""

    async def scenario() -> None:
        topic, bus, sizes, seen = new_topic(), adapter.bus(), list[int](), Seen()

        @bus.subscribe(topic, group="billing", batch=Batch(most=10, wait=LONG))
        async def bill(orders: list[OrderPaid], messages: list[Message]) -> None:
            sizes.append(len(orders))
            for order, message in zip(orders, messages, strict=True):
                await seen.note(order, message)

        async with adapter.joined(bus):
            for number in range(50):
                await bus.publish(topic, OrderPaid(number), key=f"k{number}")
            await seen.count(50)
        assert sizes == [10] * 5
        assert all(
            message.key == f"k{order.number}" for order, message in zip(seen.payloads, seen.messages, strict=True)
        )
        assert sorted(order.number for order in seen.payloads) == list(range(50))
        assert {(message.topic, message.group, message.attempt) for message in seen.messages} == {(topic, "billing", 1)}

    run(scenario())


@pytest.mark.parametrize("wait", [0.0, 0.05])
def test_a_batch_is_not_full(wait: float, adapter: Adapter) -> None:
    """Messages that are too few for a batch are handled when the first has waited; the handler may take no messages."""

    async def scenario() -> None:
        topic, bus, done, numbers = new_topic(), adapter.bus(), asyncio.Event(), list[int]()

        @bus.subscribe(topic, group="billing", batch=Batch(most=100, wait=wait))
        async def bill(orders: list[OrderPaid]) -> None:
            numbers.extend(order.number for order in orders)
            if len(numbers) == 3:
                done.set()

        async with adapter.joined(bus):
            for number in range(3):
                await bus.publish(topic, OrderPaid(number))
            async with asyncio.timeout(LONGEST):
                await done.wait()
        assert sorted(numbers) == [0, 1, 2]

    run(scenario())


def test_leaving_does_not_wait(adapter: Adapter) -> None:
    """A bus that is left handles what waits for others at once."""

    async def scenario() -> None:
        topic, bus, numbers, arrived = new_topic(), adapter.bus(), list[int](), asyncio.Event()

        @bus.subscribe(topic, group="billing", batch=Batch(most=100, wait=LONG))
        async def bill(orders: list[OrderPaid]) -> None:
            numbers.extend(order.number for order in orders)

        async with asyncio.timeout(LONGEST), adapter.joined(bus):
            for number in range(3):
                await bus.publish(topic, OrderPaid(number))
            await eventually(lambda: _under_way(bus, topic, 3))
            assert numbers == []
            arrived.set()
        assert sorted(numbers) == [0, 1, 2]
        assert bus._consumers[topic, "billing"].under_way == 0

    run(scenario())


async def _under_way(bus: Bus, topic: str, count: int) -> bool:
    return bus._consumers[topic, "billing"].under_way == count


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("retries", [0, 5])
def test_one_poison_message(ordered: bool, retries: int, adapter: Adapter) -> None:  # noqa: FBT001  a case, no switch
    """It is buried alone, after its own 1 + retries attempts; those beside it are handled at their first."""

    async def scenario() -> None:
        topic, bus, attempts, seen = new_topic(), adapter.bus(), list[int](), Seen()
        retry = RetryPolicy(retries, first=0.01, longest=0.02)

        @bus.subscribe(topic, group="billing", batch=Batch(most=20, wait=LONG), retry=retry, ordered=ordered)
        async def bill(orders: list[OrderPaid], messages: list[Message]) -> None:
            if any(order.number == 13 for order in orders):
                if len(orders) == 1:
                    attempts.append(messages[0].attempt)
                raise ValueError("thirteen")
            for order, message in zip(orders, messages, strict=True):
                await seen.note(order, message)

        async with adapter.joined(bus):
            for number in range(20):
                await bus.publish(topic, OrderPaid(number), key=f"k{number % 7}")
            await seen.count(19)
            await eventually(lambda: _has_dead(bus, topic, "billing", 1))
            (dead,) = await dead_of(bus, topic, "billing")
        assert attempts == list(range(1, retries + 2))
        assert dead.reason == "failed: ValueError: thirteen"
        assert {message.attempt for message in seen.messages} == {1}
        assert sorted(order.number for order in seen.payloads) == [*range(13), *range(14, 20)]

    run(scenario())


def test_what_failed_comes_back_alone(adapter: Adapter) -> None:
    """A message that is retried does not spoil the batch of others: it is handled alone."""

    async def scenario() -> None:
        topic, bus, sizes, seen = new_topic(), adapter.bus(), list[int](), Seen()

        @bus.subscribe(topic, group="billing", batch=Batch(most=2, wait=0.01), retry=QUICKLY)
        async def bill(orders: list[OrderPaid], messages: list[Message]) -> None:
            if any(order.number == 0 and message.attempt < 3 for order, message in zip(orders, messages, strict=True)):
                raise ValueError("not yet")
            if any(message.attempt > 1 for message in messages):
                sizes.append(len(orders))
            for order, message in zip(orders, messages, strict=True):
                await seen.note(order, message)

        async with adapter.joined(bus):
            for number in range(40):
                await bus.publish(topic, OrderPaid(number))
            await seen.count(40)
        assert sizes == [1]

    run(scenario())


def test_what_cannot_be_handled_is_left_out(adapter: Adapter) -> None:
    """Malformed and expired messages are dead letters, and the rest of their batch is handled together."""

    async def scenario() -> None:
        topic, bus, sizes, seen = new_topic(), adapter.bus(), list[int](), Seen()

        @bus.subscribe(topic, group="billing", batch=Batch(most=10, wait=LONG))
        async def bill(orders: list[OrderPaid], messages: list[Message]) -> None:
            sizes.append(len(orders))
            for order, message in zip(orders, messages, strict=True):
                await seen.note(order, message)

        async with adapter.joined(bus):
            for number in range(7):
                await bus.publish(topic, OrderPaid(number))
            await bus.publish(topic, {"number": "one"})
            await bus.publish(topic, b"\xff")
            await bus.publish(topic, OrderPaid(7), expires=0.0)
            await seen.count(7)
            await eventually(lambda: _has_dead(bus, topic, "billing", 3))
            reasons = sorted(dead.reason.partition(":")[0] for dead in await dead_of(bus, topic, "billing"))
        assert reasons == ["expired", "malformed", "malformed"]
        assert sizes == [7]

    run(scenario())


def test_rejected(adapter: Adapter) -> None:
    """What is rejected out of a batch is found alone, and buried at once; the others are handled."""

    async def scenario() -> None:
        topic, bus, seen = new_topic(), adapter.bus(), Seen()

        @bus.subscribe(topic, group="billing", batch=Batch(most=5, wait=LONG))
        async def bill(orders: list[OrderPaid], messages: list[Message]) -> None:
            if any(order.number == 3 for order in orders):
                raise Reject("three")
            for order, message in zip(orders, messages, strict=True):
                await seen.note(order, message)

        async with adapter.joined(bus):
            for number in range(5):
                await bus.publish(topic, OrderPaid(number))
            await seen.count(4)
            await eventually(lambda: _has_dead(bus, topic, "billing", 1))
            assert [dead.reason for dead in await dead_of(bus, topic, "billing")] == ["rejected: three"]

    run(scenario())


@pytest.mark.parametrize("consumers", [1, 2])
def test_one_key_in_order(consumers: int, adapter: Adapter) -> None:
    """In an ordered group messages of one key are handled as published, in one call at a time, also after failures."""

    async def scenario() -> None:
        topic, publisher = new_topic(), adapter.bus()
        buses = [adapter.bus() for _ in range(consumers)]
        handled: dict[str, list[int]] = {}
        failed: set[int] = set()
        seen, at_work = Seen(), Counter[str]()

        async def bill(orders: list[OrderPaid], messages: list[Message]) -> None:
            keys = {message.key for message in messages}
            at_work.update(keys)
            assert all(at_work[key] == 1 for key in keys)
            await asyncio.sleep(0)
            at_work.subtract(keys)
            if len(orders) == 1 and orders[0].number % 50 == 3 and messages[0].attempt == 1:
                raise ValueError("not at first")
            for order in orders:
                if order.number % 20 == 7 and order.number not in failed:
                    failed.add(order.number)
                    raise ValueError("not together")
            for order, message in zip(orders, messages, strict=True):
                handled.setdefault(message.key, []).append(order.number)
                await seen.note(order, message)

        for bus in buses:
            bus.subscribe(topic, group="billing", ordered=True, batch=Batch(8, wait=0.001), retry=QUICKLY)(bill)
        async with adapter.joined(publisher, *buses):
            for number in range(200):
                await publisher.publish(topic, OrderPaid(number), key=f"customer-{number % 5}")
            await seen.count(200)
        assert handled == {f"customer-{key}": list(range(key, 200, 5)) for key in range(5)}

    run(scenario())


def test_calls_are_bounded(adapter: Adapter) -> None:
    """No more calls are under way than the subscription says; batches grow meanwhile."""

    async def scenario() -> None:
        topic, bus, gate, seen, sizes = new_topic(), adapter.bus(), asyncio.Event(), Seen(), list[int]()
        at_once = 0

        @bus.subscribe(topic, group="billing", batch=Batch(most=5, wait=0.0), concurrency=2)
        async def bill(orders: list[OrderPaid], messages: list[Message]) -> None:
            nonlocal at_once
            at_once += 1
            assert at_once <= 2
            sizes.append(len(orders))
            await gate.wait()
            at_once -= 1
            for order, message in zip(orders, messages, strict=True):
                await seen.note(order, message)

        async with adapter.joined(bus):
            for number in range(2):
                await bus.publish(topic, OrderPaid(number))
                await eventually(lambda number=number: _has(sizes, number + 1))  # type: ignore[misc]
            for number in range(2, 10):
                await bus.publish(topic, OrderPaid(number))
            await eventually(lambda: _under_way(bus, topic, 10))
            gate.set()
            await seen.count(10)
        assert sizes == [1, 1, 5, 3]

    run(scenario())


async def _has(sizes: list[int], count: int) -> bool:
    return len(sizes) >= count


def test_once(adapter: Adapter) -> None:
    """What was handled before, or stands twice in a batch, has its effect once; the others beside it have theirs."""

    async def scenario() -> None:
        topic, bus, effects, once = new_topic(), adapter.bus(), Counter[int](), MemoryOnce()
        told = asyncio.Event()

        @bus.subscribe(topic, group="billing", batch=Batch(most=10, wait=0.02), once=once)
        async def bill(orders: list[OrderPaid]) -> None:
            effects.update(order.number for order in orders)
            if len(effects) == 10:
                told.set()

        async with adapter.joined(bus):
            for number in [0, 0, *range(5), *range(8), 0, *range(5, 10)]:
                await bus.publish(topic, OrderPaid(number), message_id=f"{topic}-{number}")
            async with asyncio.timeout(LONGEST):
                await told.wait()
        assert effects == dict.fromkeys(range(10), 1)

    run(scenario())


def test_what_a_batch_carries_on(adapter: Adapter) -> None:
    """A call has the latest deadline of its messages: it is worth doing as long as one of them is."""

    async def scenario() -> None:
        topic, bus, ambients, seen = new_topic(), adapter.bus(), list[float](), Seen()

        @bus.subscribe(topic, group="billing", batch=Batch(most=2, wait=LONG))
        async def bill(orders: list[OrderPaid], messages: list[Message]) -> None:
            ambient = AMBIENT.get()
            assert ambient is not None
            ambients.append(ambient.deadline - monotonic())
            for order, message in zip(orders, messages, strict=True):
                await seen.note(order, message)

        async with adapter.joined(bus):
            await bus.publish(topic, OrderPaid(1), expires=30.0)
            await bus.publish(topic, OrderPaid(2), expires=600.0)
            await seen.count(2)
        assert len(ambients) == 1
        assert 30.0 < ambients[0] <= 600.0

    run(scenario())


def test_a_function_for_a_batch() -> None:
    """A function that takes no list, or more messages than AMQP counts, is refused where it is subscribed."""

    async def bill(order: OrderPaid) -> None: ...

    async def many(orders: list[OrderPaid]) -> None: ...

    bus = Bus("memory://")
    with pytest.raises(ConfigurationError, match="where a batch is a list"):
        bus.subscribe("orders", group="billing", batch=Batch())(bill)
    with pytest.raises(ConfigurationError, match="65535 at most"):
        bus.subscribe("orders", group="billing", batch=Batch(most=10_000))(many)
