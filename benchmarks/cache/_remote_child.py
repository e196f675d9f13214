"""A cache over a server: `python -m benchmarks.cache._remote_child SUBJECT TIER ADDRESS SERVER_PID`.

It reads as fast as answers come, and verifies each value. Every reader has keys of its own, so that no two of them ask
for the same at once.
"""

import asyncio
import sys
import time

import uvloop

from benchmarks._child import announce, die_with_parent
from benchmarks._driven import Driven, RecomputedError, WrongValueError, carry_out, measured
from benchmarks.cache._orders import Drive
from benchmarks.cache._stack import Tier, remote_setup
from benchmarks.cache._work import KEYS, LARGE, Item, Load, Source

IN_FLIGHT = (1, 64)


class _Driver:
    def __init__(self, call: Load, source: Source, server_pid: int) -> None:
        self._call = call
        self._source = source
        self._server_pid = server_pid
        self._items = [source.item(key) for key in range(KEYS)]

    async def warm_up(self) -> None:
        """Fill the server, open all connections, run all code."""
        for key in (*range(KEYS), *range(KEYS)):  # what a cache did not keep while it started is there the second time
            await self._call(key)
        for in_flight in IN_FLIGHT:
            await self.drive(Drive(in_flight, 0.01))

    async def drive(self, order: Drive) -> Driven:
        """Read for a while, then once more, measured."""
        if order.warm_up:
            await self._run(order.in_flight, order.warm_up)
        loads = self._source.loads
        driven = await measured(self._run(order.in_flight, order.seconds), self._server_pid)
        if self._source.loads != loads:
            raise RecomputedError(f"{self._source.loads - loads} of {driven.calls} hits were loaded again")
        return driven

    async def _run(self, in_flight: int, seconds: float) -> list[float]:
        """Return the latency of each read."""
        latencies: list[float] = []
        stop = time.perf_counter() + seconds
        share = KEYS // in_flight
        await asyncio.gather(
            *(self._read(range(reader * share, (reader + 1) * share), stop, latencies) for reader in range(in_flight))
        )
        return latencies

    async def _read(self, keys: range, stop: float, latencies: list[float]) -> None:
        call, items, clock, note = self._call, self._items, time.perf_counter, latencies.append
        started = clock()
        while True:
            for key in keys:
                _check(await call(key), items[key])
                ended = clock()
                note(ended - started)
                if ended >= stop:
                    return
                started = ended


def _check(found: Item, item: Item) -> None:
    if found != item:
        raise WrongValueError(f"{found} instead of {item}")


async def _main(subject: str, tier: str, address: str, server_pid: str) -> None:
    source = Source(LARGE)
    async with remote_setup(Tier(tier), subject)(source.function(), address) as call:
        driver = _Driver(call, source, int(server_pid))
        await driver.warm_up()
        announce("on stdin")
        await carry_out(Drive, driver.drive, Driven)


if __name__ == "__main__":
    die_with_parent()
    uvloop.run(_main(*sys.argv[1:]))
