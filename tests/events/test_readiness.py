"""When a bus is ready: it runs, its broker is there, and none of its consumers is stuck."""

import asyncio
import logging
import math
import threading
import time

import pytest

from hasten._core.errors import ConfigurationError
from hasten.events import Batch, Bus, Delivery, Envelope, Message, RetryPolicy
from hasten.events._progress import Progress
from hasten.events._readiness import Check, Watch
from hasten.events.brokers.memory import MemoryBroker
from tests.events.brokers.adapter import LONGEST, OrderPaid, Seen, eventually, run

TOPIC = "orders.paid"
SOON = 0.05
"""Seconds after which a consumer of these tests is stuck."""
NAMES = ["bus", "broker", f"consumer {TOPIC} billing"]


def a_delivery(message_id: str) -> Delivery:
    return Delivery(Envelope(topic=TOPIC, body=b"", content_type="", id=message_id), 0, None)


def check_of(bus: Bus, name: str) -> Check:
    (found,) = [check for check in bus.checks() if check.name == name]
    return found


async def stuck(bus: Bus) -> Check:
    """Wait until a bus is not ready; return the check of its consumer."""

    await eventually(lambda: _not_ready(bus))
    return check_of(bus, NAMES[2])


# ---- consumers


def test_progress() -> None:
    """A consumer is stuck when it has been at work for so long since something ended, or since it had nothing to do."""
    progress, first, second = Progress(60.0), a_delivery("first"), a_delivery("second")
    assert progress.stuck(time.monotonic() + 1e9) is None
    before = time.monotonic()
    progress.begin(first)
    after = time.monotonic()
    assert progress.stuck(before + 59.9) is None
    found = progress.stuck(after + 60.0)
    assert found is not None
    assert found[0] >= 60.0
    assert found[1] == (first,)
    progress.begin(second)  # more work is no progress
    found = progress.stuck(after + 60.0)
    assert found is not None
    assert found[1] == (first, second)
    ended = time.monotonic()
    progress.end(second)
    assert progress.stuck(ended + 59.9) is None
    found = progress.stuck(time.monotonic() + 60.0)
    assert found is not None
    assert found[1] == (first,)
    progress.end(first)
    assert progress.stuck(time.monotonic() + 1e9) is None


def test_one_that_never_ends() -> None:
    """A handler that hangs makes the bus not ready, and names topic, group, seconds and message; its end ends that."""

    async def scenario() -> None:
        bus, gate = Bus(MemoryBroker(), stuck_after=SOON), asyncio.Event()

        @bus.subscribe(TOPIC, group="billing")
        async def hang(order: OrderPaid) -> None:
            await gate.wait()

        async with bus:
            assert [check.name for check in bus.checks()] == NAMES
            assert bus.ready
            await bus.publish(TOPIC, OrderPaid(1), message_id="order-1")
            check = await stuck(bus)
            assert (check.topic, check.group, check.message_id) == (TOPIC, "billing", "order-1")
            assert check.seconds >= SOON
            assert check.reason == "at work on 1, and none has ended for 0 s; the oldest is order-1"
            assert [each.ok for each in bus.checks()] == [True, True, False]
            gate.set()
            await eventually(lambda: _ready(bus))
            assert check_of(bus, NAMES[2]) == Check(name=NAMES[2], topic=TOPIC, group="billing")

    run(scenario())


async def _ready(bus: Bus) -> bool:
    return bus.ready


async def _not_ready(bus: Bus) -> bool:
    return not bus.ready


def test_others_go_on() -> None:
    """A consumer is not stuck while other messages than the one that hangs are handled; when none is, it is."""

    async def scenario() -> None:
        bus, gate, begun = Bus(MemoryBroker(), stuck_after=3600.0), asyncio.Event(), Seen()

        @bus.subscribe(TOPIC, group="billing", concurrency=2)
        async def handle(order: OrderPaid, message: Message) -> None:
            await begun.note(order, message)
            if order.number == 0:
                await gate.wait()

        async with bus:
            await bus.publish(TOPIC, OrderPaid(0), message_id="hangs")
            await begun.count(1)
            for number in range(1, 4):
                before = time.monotonic()
                assert not bus._watch.checks(before + 3600.0)[2].ok
                await bus.publish(TOPIC, OrderPaid(number))
                await eventually(lambda since=before: _is_well(bus, since + 3600.0))  # type: ignore[misc]
            assert bus._watch.checks(time.monotonic() + 3600.0)[2].message_id == "hangs"
            gate.set()

    run(scenario())


async def _is_well(bus: Bus, now: float) -> bool:
    return bus._watch.checks(now)[2].ok


@pytest.mark.parametrize("ordered", [False, True])
def test_a_pause_before_a_retry(ordered: bool) -> None:  # noqa: FBT001  a case, not a switch
    """A message that waits for its retry, and those behind it, make no consumer stuck, however long the pause is."""

    async def scenario() -> None:
        bus, failed = Bus(MemoryBroker(), stuck_after=SOON, drain=0.0), asyncio.Event()
        retry = RetryPolicy(1, first=3600.0, longest=3600.0)

        @bus.subscribe(TOPIC, group="billing", ordered=ordered, retry=retry)
        async def fail(order: OrderPaid) -> None:
            failed.set()
            raise ValueError("no")

        async with bus:
            for number in range(3):
                await bus.publish(TOPIC, OrderPaid(number), key="k")
            await failed.wait()
            await eventually(lambda: _is_quiet(bus))
            assert bus._watch.checks(time.monotonic() + 1e6)[2].ok

    run(scenario())


async def _is_quiet(bus: Bus) -> bool:
    return not bus._consumers[TOPIC, "billing"].progress._at_work


def test_a_batch_that_waits() -> None:
    """Messages that wait for others to make a batch make no consumer stuck; a batch that hangs does."""

    async def scenario() -> None:
        bus, gate, begun = Bus(MemoryBroker(), stuck_after=SOON), asyncio.Event(), asyncio.Event()

        @bus.subscribe(TOPIC, group="billing", batch=Batch(2, 3600.0))
        async def handle(orders: list[OrderPaid]) -> None:
            begun.set()
            await gate.wait()

        async def is_here() -> bool:
            return bus._consumers[TOPIC, "billing"].under_way == 1

        async with bus:
            await bus.publish(TOPIC, OrderPaid(1), message_id="order-1")
            await eventually(is_here)
            assert bus._watch.checks(time.monotonic() + 1e6)[2].ok
            await bus.publish(TOPIC, OrderPaid(2))
            await begun.wait()
            assert (await stuck(bus)).message_id == "order-1"
            gate.set()
            await eventually(lambda: _ready(bus))

    run(scenario())


@pytest.mark.parametrize("seconds", [3600.0, math.inf])
def test_one_that_may_take_long(seconds: float) -> None:
    """A subscription has seconds of its own; with infinite ones its handler may take for ever."""

    async def scenario() -> None:
        bus, gate, begun = Bus(MemoryBroker(), stuck_after=SOON), asyncio.Event(), Seen()

        async def hang(order: OrderPaid, message: Message) -> None:
            await begun.note(order, message)
            await gate.wait()

        bus.subscribe(TOPIC, group="reports", stuck_after=seconds)(hang)
        bus.subscribe(TOPIC, group="billing")(hang)
        async with bus:
            await bus.publish(TOPIC, OrderPaid(1))
            await begun.count(2)
            await stuck(bus)
            assert check_of(bus, f"consumer {TOPIC} reports").ok
            later = bus._watch.checks(time.monotonic() + 3600.0)
            assert [each.ok for each in later if each.group == "reports"] == [seconds == math.inf]
            gate.set()

    run(scenario())


def test_a_loop_that_stands_still() -> None:
    """Another thread sees that a consumer is stuck while its handler blocks the event loop."""

    async def scenario() -> None:
        bus, seen, gave_up = Bus(MemoryBroker(), stuck_after=SOON), threading.Event(), time.monotonic() + LONGEST

        def look() -> None:
            while time.monotonic() < gave_up and bus.ready:
                threading.Event().wait(0.005)
            if check_of(bus, NAMES[2]).message_id == "order-1":
                seen.set()

        @bus.subscribe(TOPIC, group="billing")
        async def block(order: OrderPaid) -> None:
            seen.wait(LONGEST)

        async with bus:
            thread = threading.Thread(target=look)
            thread.start()
            await bus.publish(TOPIC, OrderPaid(1), message_id="order-1")
            await asyncio.to_thread(thread.join)
            assert seen.is_set()
            await eventually(lambda: _ready(bus))

    run(scenario())


# ---- the bus and its broker


def test_before_and_after() -> None:
    """A bus is ready from when its consumers are there until it is left: a drain takes no more work."""

    async def scenario() -> None:
        bus, seen, gate = Bus(MemoryBroker()), Seen(), asyncio.Event()

        @bus.subscribe(TOPIC, group="billing")
        async def handle(order: OrderPaid, message: Message) -> None:
            await seen.note(order, message)
            await gate.wait()

        assert await _not_ready(bus)
        await bus.start()
        assert await _ready(bus)
        await bus.publish(TOPIC, OrderPaid(1))
        await seen.count(1)
        leaving = asyncio.create_task(bus.aclose())
        await asyncio.sleep(0)
        assert await _not_ready(bus)
        assert check_of(bus, "bus") == Check(name="bus", ok=False, reason="it does not run")
        gate.set()
        await leaving
        assert await _not_ready(bus)

    run(scenario())


class Leaving(MemoryBroker):
    """Is away when a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.name = "amqp far.example:5672"
        self.is_there = True

    @property
    def connected(self) -> bool:  # type: ignore[override]
        return self.is_there


async def _away_for(bus: Bus, seconds: float) -> bool:
    return check_of(bus, "broker").seconds >= seconds


def test_a_broker_that_is_away(caplog: pytest.LogCaptureFixture) -> None:
    """A broker may be away for `stuck_after` seconds; after that the bus is not ready, and the log says so once."""

    async def scenario() -> None:
        broker = Leaving()
        bus = Bus(broker, stuck_after=SOON)
        async with bus:
            broker.is_there = False
            await eventually(lambda: _not_ready(bus))
            check = check_of(bus, "broker")
            assert check.seconds >= SOON
            assert check.reason == "amqp far.example:5672 has been away for 0 s"
            await eventually(lambda: _away_for(bus, 4 * SOON))  # looked at many times since
            broker.is_there = True
            await eventually(lambda: _ready(bus))

    with caplog.at_level(logging.WARNING, "hasten.events"):
        run(scenario())
    lines = [each.getMessage() for each in caplog.records]
    assert lines == ["broker: not ready: amqp far.example:5672 has been away for 0 s", "broker: ready again"]


def test_how_long_it_is_away() -> None:
    """The time counts from when it was seen to be away, and anew when it was there in between."""
    broker = Leaving()
    watch = Watch(broker, 60.0)
    for now, connected, ok in [(0.0, True, True), (10.0, False, True), (69.9, False, True), (70.0, False, False)]:
        broker.is_there = connected
        watch.note_connection(now)
        assert watch.checks(now)[1].ok is ok
    assert watch.checks(75.0)[1].seconds == 65.0
    broker.is_there = True
    watch.note_connection(80.0)
    broker.is_there = False
    watch.note_connection(81.0)
    assert watch.checks(140.9)[1].ok
    assert not watch.checks(141.0)[1].ok


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan])
def test_wrong_seconds(seconds: float) -> None:
    """Seconds that are none are refused, of a bus and of a subscription."""
    with pytest.raises(ConfigurationError, match="stuck_after"):
        Bus("memory://", stuck_after=seconds)
    with pytest.raises(ConfigurationError, match=r"stuck_after=.* must be greater than 0"):
        Bus("memory://").subscribe(TOPIC, group="billing", stuck_after=seconds)


def test_a_consumer_of_its_own() -> None:
    """Each subscription is a check, in the order in which they were subscribed."""

    async def scenario() -> None:
        bus = Bus("memory://")

        async def handle(order: OrderPaid) -> None: ...

        for topic, group in (("orders", "billing"), ("orders", "mail"), ("stock", "mail")):
            bus.subscribe(topic, group=group)(handle)
        async with bus:
            names = [(check.topic, check.group, check.name) for check in bus.checks()[2:]]
        assert names == [
            ("orders", "billing", "consumer orders billing"),
            ("orders", "mail", "consumer orders mail"),
            ("stock", "mail", "consumer stock mail"),
        ]

    run(scenario())
