"""A bus is left at once when the drain is cancelled, and may be started again."""

import asyncio
from contextlib import suppress

from hasten.events import Bus
from hasten.events.brokers.memory import MemoryBroker
from tests.events.brokers.adapter import Adapter, OrderPaid, new_topic, run

GROUPS = ("billing", "mail", "stock")


def test_a_cancelled_drain() -> None:
    """What is under way is cancelled now and handed back, and nothing of it goes on."""

    async def scenario() -> None:
        broker, cancelled, at_work = MemoryBroker(), list[int](), asyncio.Semaphore(0)
        bus = Bus(broker, drain=3600.0)

        async def never(number: int) -> None:
            at_work.release()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await asyncio.sleep(0)
                cancelled.append(number)
                raise

        for group in GROUPS:
            bus.subscribe("orders.paid", group=group)(never)
        await bus.start()
        await bus.publish("orders.paid", 7)
        for _ in GROUPS:
            await at_work.acquire()
        leaving = asyncio.ensure_future(bus.aclose())
        await asyncio.sleep(0)
        leaving.cancel()
        with suppress(asyncio.CancelledError):
            await leaving
        assert cancelled == [7, 7, 7]
        assert [(await broker.backlog("orders.paid", group)).waiting for group in GROUPS] == [1, 1, 1]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(scenario())


def test_again(adapter: Adapter) -> None:
    """A bus that was left is started again, in a loop of its own each time, as apps in tests do."""
    topic, bus, seen = new_topic(), adapter.bus(), list[int]()
    came = asyncio.Event()

    @bus.subscribe(topic, group="billing")
    async def note(order: OrderPaid) -> None:
        seen.append(order.number)
        came.set()

    async def scenario(number: int) -> None:
        nonlocal came
        came = asyncio.Event()
        async with bus:
            await bus.publish(topic, OrderPaid(number))
            await came.wait()

    for number in range(3):
        run(scenario(number))
    assert seen == [0, 1, 2]
