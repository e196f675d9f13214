"""What hooks are told of each message, whatever becomes of it."""

import asyncio
import math
from typing import Any

import pytest

from hasten._core.signals import (
    EventBuried,
    EventDelivered,
    EventHandled,
    EventPublished,
    EventRetried,
    EventSignal,
)
from hasten.events import Batch, Bus, Message, Reject, RetryPolicy, Unroutable
from hasten.events.brokers.memory import MemoryBroker
from hasten.events.once import MemoryOnce
from tests.events.brokers.adapter import QUICKLY, OrderPaid, Seen, eventually, run

TOPIC = "orders.paid"


def failing_at_first(seen: Seen) -> Any:
    """Return a handler that raises at each message's first attempt."""

    async def handle(order: OrderPaid, message: Message) -> None:
        if message.attempt == 1:
            raise ValueError("not yet")
        await seen.note(order, message)

    return handle


def _noting(seen: Seen) -> Any:
    async def handle(order: OrderPaid, message: Message) -> None:
        await seen.note(order, message)

    return handle


def of_groups(told: list[EventSignal]) -> list[EventSignal]:
    """Return what was told of deliveries."""
    return [each for each in told if not isinstance(each, EventPublished)]


@pytest.mark.parametrize("ordered", [False, True])
def test_a_message_that_is_retried(ordered: bool) -> None:  # noqa: FBT001  a case, not a switch
    """Its publishing, each delivery, each end of its handler and the retry with its pause are told, in that order."""

    async def scenario() -> None:
        told, seen = list[EventSignal](), Seen()
        bus = Bus(MemoryBroker(), hooks=[told.append], lag_every=math.inf)
        bus.subscribe(TOPIC, group="billing", retry=QUICKLY, ordered=ordered)(failing_at_first(seen))
        async with bus:
            await bus.publish(TOPIC, OrderPaid(1), key="k")
            await seen.count(1)
        published = told[0]
        assert isinstance(published, EventPublished)
        assert (published.topic, published.ok, published.size_bytes) == (TOPIC, True, 29)
        first, failed, retried, *rest = told[1:]
        assert first == EventDelivered(TOPIC, "billing", 1, 0, 29)
        assert isinstance(failed, EventHandled)
        assert (failed.topic, failed.group, failed.attempt, failed.ok) == (TOPIC, "billing", 1, False)
        assert isinstance(retried, EventRetried)
        assert (retried.topic, retried.group, retried.attempt, retried.cause) == (TOPIC, "billing", 1, "failed")
        assert 0.008 <= retried.pause <= 0.012
        again = [] if ordered else [EventDelivered(TOPIC, "billing", 2, 0, 29)]
        assert rest[:-1] == again
        assert isinstance(rest[-1], EventHandled)
        assert (rest[-1].attempt, rest[-1].ok) == (2, True)
        assert rest[-1].waited >= retried.pause

    run(scenario())


def test_a_batch_that_fails() -> None:
    """Each message of it is told as handled without success and as retried at once, and then as handled alone."""

    async def scenario() -> None:
        told, numbers = list[EventSignal](), list[int]()
        bus = Bus(MemoryBroker(), hooks=[told.append], lag_every=math.inf)

        @bus.subscribe(TOPIC, group="billing", batch=Batch(3, 60.0), retry=RetryPolicy(0))
        async def bill(orders: list[OrderPaid]) -> None:
            if any(order.number == 2 for order in orders):
                raise ValueError("two")
            numbers.extend(order.number for order in orders)

        async with bus:
            for number in (1, 2, 3):
                await bus.publish(TOPIC, OrderPaid(number))
            await eventually(lambda: _is_in(told, EventBuried, 1, numbers, 2))
        told_of_groups = of_groups(told)
        assert told_of_groups[:3] == [EventDelivered(TOPIC, "billing", 1, 0, 29)] * 3
        together = [each for each in told_of_groups[3:6] if isinstance(each, EventHandled)]
        assert [(each.attempt, each.ok) for each in together] == [(1, False)] * 3
        assert told_of_groups[6:9] == [EventRetried(TOPIC, "billing", 1, "batch", 0.0)] * 3
        alone = [each for each in told_of_groups[9:] if isinstance(each, EventHandled)]
        assert sorted(each.ok for each in alone) == [False, True, True]
        buried = [each for each in told_of_groups[9:] if not isinstance(each, EventHandled)]
        assert buried == [EventBuried(TOPIC, "billing", "failed")]

    run(scenario())


async def _is_in(told: list[EventSignal], kind: type, most: int, numbers: list[int], handled: int) -> bool:
    return sum(isinstance(each, kind) for each in told) >= most and len(numbers) >= handled


def test_a_message_that_another_consumer_has() -> None:
    """It is told as retried because that one is busy, and the attempt does not count."""

    async def scenario() -> None:
        told, once, seen = list[EventSignal](), MemoryOnce(), Seen()
        claim = await once.claim("billing", "order-1")
        bus = Bus(MemoryBroker(), hooks=[told.append], lag_every=math.inf)
        bus.subscribe(TOPIC, group="billing", once=once)(_noting(seen))
        async with bus:
            await bus.publish(TOPIC, OrderPaid(1), message_id="order-1")
            await eventually(lambda: _is_in(told, EventRetried, 1, [], 0))
            await once.release("billing", "order-1", claim)
            await seen.count(1)
        assert EventRetried(TOPIC, "billing", 1, "busy", 1.0) in told
        (handled,) = [each for each in told if isinstance(each, EventHandled)]
        assert (handled.attempt, handled.ok) == (1, True)

    run(scenario())


@pytest.mark.parametrize(
    ("payload", "expires", "cause"),
    [
        ({"number": 1}, 60.0, "rejected"),
        ({"number": "one"}, 60.0, "malformed"),
        ({"number": 1}, 0.0, "expired"),
        ({"number": 0}, 60.0, "failed"),
    ],
)
def test_a_dead_letter(payload: dict[str, Any], expires: float, cause: str) -> None:
    """It is told once, with its cause."""

    async def scenario() -> None:
        told = list[EventSignal]()
        bus = Bus(MemoryBroker(), hooks=[told.append], lag_every=math.inf)

        @bus.subscribe(TOPIC, group="billing", retry=RetryPolicy(0))
        async def refuse(order: OrderPaid) -> None:
            raise Reject("no") if order.number else ValueError("no")

        async with bus:
            await bus.publish(TOPIC, payload, expires=expires)
            await eventually(lambda: _is_in(told, EventBuried, 1, [], 0))
        buried = [each for each in told if isinstance(each, EventBuried)]
        assert [(each.topic, each.group, each.cause) for each in buried] == [(TOPIC, "billing", cause)]

    run(scenario())


def test_what_was_not_published() -> None:
    """A message that the broker has not taken is told as not published."""

    async def scenario() -> None:
        told = list[EventSignal]()
        async with Bus(MemoryBroker(), hooks=[told.append]) as bus:
            with pytest.raises(Unroutable):
                await bus.publish(TOPIC, OrderPaid(1))
        assert [(each.topic, each.ok) for each in told if isinstance(each, EventPublished)] == [(TOPIC, False)]

    run(scenario())


def test_a_hook_that_raises() -> None:
    """It harms neither who publishes nor who handles; the loop's exception handler hears of each time."""

    async def scenario() -> None:
        complaints, seen = list[dict[str, Any]](), Seen()
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))

        def hook(signal: EventSignal) -> None:
            raise LookupError(type(signal).__name__)

        bus = Bus(MemoryBroker(), hooks=[hook])
        bus.subscribe(TOPIC, group="billing", retry=QUICKLY)(failing_at_first(seen))
        async with bus:
            await bus.publish(TOPIC, OrderPaid(1))
            await seen.count(1)
        kinds = {str(each["exception"]) for each in complaints}
        assert kinds >= {"EventPublished", "EventDelivered", "EventHandled", "EventRetried"}

    run(scenario())
