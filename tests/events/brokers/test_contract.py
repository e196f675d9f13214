"""What a bus promises, whatever broker is behind it."""

import asyncio
import time
from collections import Counter
from functools import partial
from typing import Any

import pytest

from hasten._core.ambient import AMBIENT, Carried
from hasten.events import Bus, Message, Reject, RetryPolicy, Unroutable
from hasten.events._broker import Inspection
from hasten.resilience import deadline, remaining
from tests.events.brokers.adapter import QUICKLY, Adapter, OrderPaid, Seen, eventually, new_topic, run

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def noting(bus: Bus, topic: str, group: str, **options: Any) -> Seen:
    """Have a group's messages noted."""
    seen = Seen()

    @bus.subscribe(topic, group=group, **options)
    async def note(order: OrderPaid, message: Message) -> None:
        await seen.note(order, message)

    return seen


async def dead_of(bus: Bus, topic: str, group: str) -> list[Any]:
    assert isinstance(bus.broker, Inspection)
    return await bus.broker.dead_letters(topic, group, 100)


def test_each_group_gets_each_message(adapter: Adapter) -> None:
    """What is published reaches every group once, and one consumer of each, with all that travels with it."""

    async def scenario() -> None:
        topic, bus, other = new_topic(), adapter.bus(origin="shop"), adapter.bus()
        billing, mail = noting(bus, topic, "billing"), noting(bus, topic, "mail")
        more_mail = noting(other, topic, "mail")
        async with adapter.joined(bus, other):
            began = time.time()
            for number in range(100):
                await bus.publish(topic, OrderPaid(number), key=f"k{number % 7}", headers={"tenant": "mück"})
            await billing.count(100)
            await eventually(lambda: _all_of(100, mail, more_mail))
            assert sorted(order.number for order in billing.payloads) == list(range(100))
            numbers = Counter(order.number for order in [*mail.payloads, *more_mail.payloads])
            assert numbers == dict.fromkeys(range(100), 1)
        message = billing.messages[0]
        assert (message.topic, message.group, message.origin, message.attempt) == (topic, "billing", "shop", 1)
        assert message.headers == {"tenant": "mück"}
        assert message.key == f"k{billing.payloads[0].number % 7}"
        assert began - 1.0 <= message.time <= time.time()
        assert len({each.id for each in billing.messages}) == 100

    run(scenario())


async def _all_of(count: int, *seen: Seen) -> bool:
    return sum(len(each.payloads) for each in seen) >= count


def test_nobody_has_subscribed(adapter: Adapter) -> None:
    """A message that nobody would ever get is refused where the broker knows, unless it does not matter."""
    if not adapter.knows_groups:
        pytest.skip(f"{adapter.name} keeps messages of a topic for groups to come")

    async def scenario() -> None:
        topic, bus = new_topic(), adapter.bus()
        async with adapter.joined(bus):
            with pytest.raises(Unroutable, match=topic):
                await bus.publish(topic, OrderPaid(1))
            await bus.publish(topic, OrderPaid(1), mandatory=False)

    run(scenario())


def test_a_group_keeps_its_messages(adapter: Adapter) -> None:
    """A group that has subscribed once gets what is published while none of its consumers is there."""

    async def scenario() -> None:
        topic, publisher, first, second = new_topic(), adapter.bus(), adapter.bus(), adapter.bus()
        noting(first, topic, "billing")
        seen = noting(second, topic, "billing")
        async with adapter.joined(publisher):
            async with adapter.joined(first):
                pass
            for number in range(10):
                await publisher.publish(topic, OrderPaid(number))
            async with adapter.joined(second):
                await seen.count(10)
        assert sorted(order.number for order in seen.payloads) == list(range(10))

    run(scenario())


# ---- order


@pytest.mark.parametrize("consumers", [1, 3])
def test_one_key_in_order(consumers: int, adapter: Adapter) -> None:
    """An ordered group handles messages of one key one by one, as published, also if some fail and are retried."""

    async def scenario() -> None:
        topic, publisher = new_topic(), adapter.bus()
        buses = [adapter.bus() for _ in range(consumers)]
        handled: dict[str, list[int]] = {}
        seen, at_work = Seen(), Counter[str]()

        async def handle(order: OrderPaid, message: Message) -> None:
            at_work[message.key] += 1
            assert at_work[message.key] == 1
            await asyncio.sleep(0)
            at_work[message.key] -= 1
            if order.number % 10 == 3 and message.attempt == 1:
                raise ValueError("not at first")
            handled.setdefault(message.key, []).append(order.number)
            await seen.note(order, message)

        for bus in buses:
            bus.subscribe(topic, group="billing", ordered=True, retry=QUICKLY)(handle)
        async with adapter.joined(publisher, *buses):
            for number in range(200):
                await publisher.publish(topic, OrderPaid(number), key=f"customer-{number % 5}")
            await seen.count(200)
        assert handled == {f"customer-{key}": list(range(key, 200, 5)) for key in range(5)}

    run(scenario())


def test_keys_do_not_wait_for_each_other(adapter: Adapter) -> None:
    """While the first message of one key is handled, others are."""

    async def scenario() -> None:
        topic, bus, gate, seen = new_topic(), adapter.bus(), asyncio.Event(), Seen()

        @bus.subscribe(topic, group="billing", ordered=True)
        async def handle(order: OrderPaid, message: Message) -> None:
            if message.key == "slow":
                await gate.wait()
            await seen.note(order, message)

        async with adapter.joined(bus):
            await bus.publish(topic, OrderPaid(0), key="slow")
            for number in range(1, 6):
                await bus.publish(topic, OrderPaid(number), key="quick")
            await seen.count(5)
            gate.set()
            await seen.count(6)
        assert [order.number for order in seen.payloads] == [1, 2, 3, 4, 5, 0]

    run(scenario())


def test_concurrency_is_bounded(adapter: Adapter) -> None:
    """No more messages are handled at once than the subscription says, and so many are."""

    async def scenario() -> None:
        topic, bus, gate, seen = new_topic(), adapter.bus(), asyncio.Event(), Seen()
        at_once = 0

        @bus.subscribe(topic, group="billing", concurrency=4)
        async def handle(order: OrderPaid, message: Message) -> None:
            nonlocal at_once
            at_once += 1
            assert at_once <= 4
            if at_once == 4:
                gate.set()
            await gate.wait()
            at_once -= 1
            await seen.note(order, message)

        async with adapter.joined(bus):
            for number in range(20):
                await bus.publish(topic, OrderPaid(number))
            await seen.count(20)

    run(scenario())


# ---- what fails


@pytest.mark.parametrize("ordered", [False, True])
def test_a_poison_message(ordered: bool, adapter: Adapter) -> None:  # noqa: FBT001  a case, not a switch
    """It is delivered once and five times more, and then a dead letter with reason and trace; others go on."""

    async def scenario() -> None:
        topic, bus, attempts, seen = new_topic(), adapter.bus(), list[int](), Seen()

        @bus.subscribe(topic, group="billing", retry=QUICKLY, ordered=ordered)
        async def handle(order: OrderPaid, message: Message) -> None:
            if order.number == 13:
                attempts.append(message.attempt)
                raise ValueError("thirteen")
            await seen.note(order, message)

        async with adapter.joined(bus):
            AMBIENT.set(Carried(float("inf"), TRACE))
            for number in (13, *range(10)):
                await bus.publish(topic, OrderPaid(number), key=f"k{number}")
            await seen.count(10)
            await eventually(lambda: _has_dead(bus, topic, "billing", 1))
            (dead,) = await dead_of(bus, topic, "billing")
        assert attempts == [1, 2, 3, 4, 5, 6]
        assert dead.reason == "failed: ValueError: thirteen"
        assert dead.traceparent == TRACE
        assert dead.key == "k13"

    run(scenario())


async def _has_dead(bus: Bus, topic: str, group: str, count: int) -> bool:
    return len(await dead_of(bus, topic, group)) >= count


def test_no_retries(adapter: Adapter) -> None:
    """With no retries a failure is a dead letter at once, and so is what is rejected whatever retries there are."""

    async def scenario() -> None:
        topic, bus, calls = new_topic(), adapter.bus(), Counter[str]()

        @bus.subscribe(topic, group="never", retry=RetryPolicy(0))
        async def fail(order: OrderPaid) -> None:
            calls["never"] += 1
            raise ValueError("no")

        @bus.subscribe(topic, group="rejecting")
        async def reject(order: OrderPaid) -> None:
            calls["rejecting"] += 1
            raise Reject("not ours")

        async with adapter.joined(bus):
            await bus.publish(topic, OrderPaid(1))
            for group, reason in (("never", "failed: ValueError: no"), ("rejecting", "rejected: not ours")):
                await eventually(partial(_has_dead, bus, topic, group, 1))
                assert [dead.reason for dead in await dead_of(bus, topic, group)] == [reason]
        assert calls == {"never": 1, "rejecting": 1}

    run(scenario())


def test_a_malformed_payload(adapter: Adapter) -> None:
    """It is a dead letter that says what is wrong, and the consumer goes on."""

    async def scenario() -> None:
        topic, bus = new_topic(), adapter.bus()
        seen = noting(bus, topic, "billing")
        async with adapter.joined(bus):
            for payload in ({"number": "one"}, [1, 2], b"\x00\xff", "text"):
                await bus.publish(topic, payload)
            await bus.publish(topic, {"number": 2, "customer": "ada", "added": "by a newer version"})
            await seen.count(1)
            await eventually(lambda: _has_dead(bus, topic, "billing", 4))
            reasons = [dead.reason for dead in await dead_of(bus, topic, "billing")]
        assert seen.payloads == [OrderPaid(2, "ada")]
        assert all(reason.startswith("malformed: ") for reason in reasons)
        assert any("Expected `int`, got `str`" in reason for reason in reasons)

    run(scenario())


def test_expired(adapter: Adapter) -> None:
    """A message whose time was over before it could be handled is a dead letter, and no handler sees it."""

    async def scenario() -> None:
        topic, bus, later = new_topic(), adapter.bus(), adapter.bus()
        noting(bus, topic, "billing")
        seen = noting(later, topic, "billing")
        async with adapter.joined(bus):
            pass
        async with adapter.joined(later):
            await later.publish(topic, OrderPaid(1), expires=0.0)
            await later.publish(topic, OrderPaid(2), expires=60.0)
            await seen.count(1)
            await eventually(lambda: _has_dead(later, topic, "billing", 1))
            (dead,) = await dead_of(later, topic, "billing")
        assert dead.reason.startswith("expired: ")
        assert [order.number for order in seen.payloads] == [2]

    run(scenario())


def test_deadline_and_trace_are_ambient(adapter: Adapter) -> None:
    """What a handler calls has the message's deadline and goes on with its trace; messages do not see each other's."""

    async def scenario() -> None:
        topic, bus, ambients, seen = new_topic(), adapter.bus(), dict[int, tuple[float, str]](), Seen()

        @bus.subscribe(topic, group="billing")
        async def handle(order: OrderPaid, message: Message) -> None:
            ambient = AMBIENT.get()
            assert ambient is not None
            ambients[order.number] = (remaining(), ambient.traceparent)
            await seen.note(order, message)

        async with adapter.joined(bus):
            AMBIENT.set(Carried(float("inf"), TRACE))
            await bus.publish(topic, OrderPaid(1), expires=50.0)
            AMBIENT.set(None)
            await bus.publish(topic, OrderPaid(2))
            await seen.count(2)
        assert 0.0 < ambients[1][0] <= 50.0
        assert ambients[1][1] == TRACE
        assert ambients[2] == (float("inf"), "")

    run(scenario())


def test_publishing_ends_at_the_deadline(adapter: Adapter) -> None:
    """The caller's deadline is over: nothing is published."""

    async def scenario() -> None:
        topic, bus = new_topic(), adapter.bus()
        seen = noting(bus, topic, "billing")
        async with adapter.joined(bus):
            with pytest.raises(TimeoutError):
                async with deadline(0.0):
                    await bus.publish(topic, OrderPaid(1))
            await bus.publish(topic, OrderPaid(2))
            await seen.count(1)
        assert [order.number for order in seen.payloads] == [2]

    run(scenario())


# ---- time


def test_delayed(adapter: Adapter) -> None:
    """A message with a delay comes after it, and holds up none."""

    async def scenario() -> None:
        topic, bus = new_topic(), adapter.bus()
        seen = noting(bus, topic, "billing")
        async with adapter.joined(bus):
            await bus.publish(topic, OrderPaid(0))
            await seen.count(1)  # a consumer that is still joining its group would get both when both are due
            began = time.monotonic()
            await bus.publish(topic, OrderPaid(1), delay=0.5)
            await bus.publish(topic, OrderPaid(2))
            await seen.count(2)
            assert [order.number for order in seen.payloads] == [0, 2]
            await seen.count(3)
            assert time.monotonic() - began >= 0.5
        assert seen.messages[2].attempt == 1

    run(scenario())


# ---- leaving


def test_leaving_under_load(adapter: Adapter) -> None:
    """A consumer that leaves finishes what it has begun; what it has not comes to the next one: each message once."""

    async def scenario() -> None:
        topic, publisher, first, second = new_topic(), adapter.bus(), adapter.bus(), adapter.bus()
        begun = asyncio.Event()
        early, late = Seen(), noting(second, topic, "billing")

        @first.subscribe(topic, group="billing", concurrency=8)
        async def handle(order: OrderPaid, message: Message) -> None:
            if len(early.payloads) >= 20:
                begun.set()
            await asyncio.sleep(0.001)
            await early.note(order, message)

        async with adapter.joined(publisher):
            async with adapter.joined(first):
                for number in range(200):
                    await publisher.publish(topic, OrderPaid(number))
                await begun.wait()
            async with adapter.joined(second):
                await late.count(200 - len(early.payloads))
        numbers = Counter(order.number for order in [*early.payloads, *late.payloads])
        assert numbers == dict.fromkeys(range(200), 1)

    run(scenario())


def test_what_does_not_end_in_time(adapter: Adapter) -> None:
    """A handler that is still at work when the drain is over is cancelled, and its message comes to the next one."""

    async def scenario() -> None:
        topic, first, second = new_topic(), adapter.bus(drain=0.05), adapter.bus()
        started, cancelled = asyncio.Event(), asyncio.Event()
        seen = noting(second, topic, "billing")

        @first.subscribe(topic, group="billing")
        async def handle(order: OrderPaid) -> None:
            started.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.set()
                raise

        async with adapter.joined(first):
            await first.publish(topic, OrderPaid(1))
            await started.wait()
        assert cancelled.is_set()
        async with adapter.joined(second):
            await seen.count(1)
        assert seen.messages[0].attempt == 1

    run(scenario())


# ---- operators


def test_dead_letters_are_replayed(adapter: Adapter) -> None:
    """Dead letters stay where they are when they are looked at; those that are chosen come to their group anew."""

    async def scenario() -> None:
        topic, bus = new_topic(), adapter.bus()
        broken, seen = True, Seen()

        @bus.subscribe(topic, group="billing", retry=RetryPolicy(0))
        async def handle(order: OrderPaid, message: Message) -> None:
            if broken:
                raise ValueError("broken")
            await seen.note(order, message)

        unharmed = noting(bus, topic, "mail")
        async with adapter.joined(bus):
            for number in range(6):
                await bus.publish(topic, OrderPaid(number), key=str(number))
            await unharmed.count(6)
            await eventually(lambda: _has_dead(bus, topic, "billing", 6))
            assert isinstance(bus.broker, Inspection)
            assert (await bus.broker.backlog(topic, "billing")).dead == 6
            broken = False
            assert await bus.broker.replay(topic, "billing", lambda each: int(each.key) % 2 == 0, 100) == 3
            await seen.count(3)
            assert sorted(order.number for order in seen.payloads) == [0, 2, 4]
            assert {message.attempt for message in seen.messages} == {1}
            left = await dead_of(bus, topic, "billing")
            assert sorted(each.key for each in left) == ["1", "3", "5"]
            assert len(unharmed.payloads) == 6

    run(scenario())
