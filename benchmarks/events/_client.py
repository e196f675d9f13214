"""A subject's process: `python -m benchmarks.events._client SUBJECT BROKER ADDRESS BROKER_PID`.

It publishes and consumes in one loop, each message is published once, and each is handled: what is lost or comes twice
makes the measurement invalid.
"""

import asyncio
import logging
import sys
import time
from collections.abc import Coroutine
from typing import Any

import uvloop

from benchmarks._child import announce, die_with_parent
from benchmarks._driven import Driven, carry_out, measured
from benchmarks.events._orders import WARM_UP, Drive, Moved, Work
from benchmarks.events._stack import Kind, find_setup
from benchmarks.events._work import IN_FLIGHT, Billing, OrderPaid, Publish, check

_PATIENCE = 40.0
"""Seconds in which all messages of a drive must have been handled; a group of Kafka's may need 10 to begin."""


class _Driver:
    def __init__(self, publish: Publish, billing: Billing, broker_pid: int) -> None:
        self._publish = publish
        self._billing = billing
        self._broker_pid = broker_pid

    async def warm_up(self) -> None:
        """Join the group, and run all code."""
        for order in WARM_UP:
            await self.drive(order)

    async def drive(self, order: Drive) -> Moved:
        """Publish and handle, and measure what is asked for."""
        orders = self._billing.orders(order.messages)
        before = time.process_time()
        async with asyncio.timeout(_PATIENCE):
            driven = await self._move(order.work, orders)
        whole_cpu = time.process_time() - before
        check(orders, self._billing.numbers)
        return Moved(driven=driven, whole_cpu=whole_cpu)

    async def _move(self, work: Work, orders: list[OrderPaid]) -> Driven:
        if work == "latency":
            return await self._measured(self._one_by_one(orders))
        self._billing.shut()
        try:
            publishing = self._publish_all(orders)
            published = await (self._measured(publishing) if work == "publish" else publishing)
        finally:
            self._billing.open()
        if isinstance(published, Driven):
            await self._billing.complete()
            return published
        return await self._measured(self._handle_all())

    async def _measured(self, work: Coroutine[Any, Any, list[float]]) -> Driven:
        return await measured(work, self._broker_pid)

    # ---- the work

    async def _publish_all(self, orders: list[OrderPaid]) -> list[float]:
        """Publish orders, IN_FLIGHT at once; return the seconds from each one's publishing to its confirm."""
        latencies: list[float] = []
        left = iter(orders)
        await asyncio.gather(*(self._publish_some(left, latencies) for _ in range(IN_FLIGHT)))
        return latencies

    async def _publish_some(self, orders: Any, latencies: list[float]) -> None:
        publish, clock, note = self._publish, time.perf_counter, latencies.append
        for order in orders:
            started = clock()
            await publish(order)
            note(clock() - started)

    async def _handle_all(self) -> list[float]:
        """Have all orders handled that were published."""
        await self._billing.complete()
        return [0.0] * len(self._billing.numbers)

    async def _one_by_one(self, orders: list[OrderPaid]) -> list[float]:
        """Publish an order when the last one was handled; return the seconds from its publishing to its handling."""
        latencies: list[float] = []
        for order in orders:
            handled = self._billing.next_handled()
            started = time.perf_counter()
            await self._publish(order)
            latencies.append(await handled - started)
        return latencies


async def _main(subject: str, kind: str, address: str, broker_pid: str) -> None:
    billing = Billing()
    async with find_setup(Kind(kind), subject)(address, billing.bill) as publish:
        driver = _Driver(publish, billing, int(broker_pid))
        await driver.warm_up()
        announce("on stdin")
        await carry_out(Drive, driver.drive, Moved)


if __name__ == "__main__":
    die_with_parent()
    logging.disable(logging.WARNING)
    uvloop.run(_main(*sys.argv[1:]))
