"""The client of a subject: calls as fast as replies come (closed model), a fixed number at once.

`python -m benchmarks.rpc._client STACK TRANSPORT FOLDER ADDRESS SERVER_PID` is the child: it connects, warms up, then
carries out orders.
"""

import asyncio
import itertools
import sys
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import uvloop

from benchmarks._child import announce, die_with_parent
from benchmarks._driven import Driven, OrderedProcess, carry_out, measured
from benchmarks._processes import PinnedProcess
from benchmarks.rpc._orders import SIZES_BYTES, check, requests
from benchmarks.rpc._stack import Caller, Place, Say, Transport, find_stack

IN_FLIGHT = (1, 64)


class Drive(msgspec.Struct, frozen=True):
    """Order: make calls.

    Attributes:
      in_time: With deadline and traceparent.
      in_flight: How many at once, one of IN_FLIGHT; each makes at least one call.
      seconds: How long, after `warm_up` seconds that are not measured.
    """

    size_bytes: int
    in_time: bool
    in_flight: int
    seconds: float
    warm_up: float = 0.0


class RpcClient(OrderedProcess):
    """The client's process, seen from the benchmark."""

    def __init__(self, stack: str, place: Place, server: PinnedProcess, core: int) -> None:
        arguments = [stack, place.transport, str(place.folder), server.address, str(server.pid)]
        command = [sys.executable, "-m", "benchmarks.rpc._client", *arguments]
        super().__init__(f"client of {stack} over {place.transport}", command, core)


class _Driver:
    """The child's side."""

    def __init__(self, callers: Mapping[int, Caller], server_pid: int) -> None:
        self._callers = callers
        self._server_pid = server_pid

    async def warm_up(self) -> None:
        """Open all connections and run all code."""
        for size_bytes, in_time, in_flight in itertools.product(SIZES_BYTES, (False, True), self._callers):
            await self._run(Drive(size_bytes, in_time, in_flight, seconds=0.0), 0.0)

    async def drive(self, order: Drive) -> Driven:
        """Make calls for a while, then once more, measured."""
        if order.warm_up:
            await self._run(order, order.warm_up)
        return await measured(self._run(order, order.seconds), self._server_pid)

    async def _run(self, order: Drive, seconds: float) -> list[float]:
        """Return the latency of each call."""
        caller = self._callers[order.in_flight]
        say = caller.say_in_time if order.in_time else caller.say
        latencies: list[float] = []
        stop = time.perf_counter() + seconds
        await asyncio.gather(*(_call(say, order.size_bytes, stop, latencies) for _ in range(order.in_flight)))
        return latencies


async def _call(say: Say, size_bytes: int, stop: float, latencies: list[float]) -> None:
    """Make calls, one after the other, until `stop`; a call's time includes making and checking its messages."""
    build = requests(size_bytes)
    clock = time.perf_counter
    started = clock()
    while True:
        request = build()
        check(request, await say(request))
        ended = clock()
        latencies.append(ended - started)
        if ended >= stop:
            return
        started = ended


async def _main(stack: str, transport: str, folder: str, address: str, server_pid: str) -> None:
    place = Place(Transport(transport), Path(folder))
    async with AsyncExitStack() as connected:
        callers = {
            in_flight: await connected.enter_async_context(find_stack(stack).calling(address, place, in_flight))
            for in_flight in IN_FLIGHT
        }
        driver = _Driver(callers, int(server_pid))
        await driver.warm_up()
        announce("on stdin")
        await carry_out(Drive, driver.drive, Driven)


if __name__ == "__main__":
    die_with_parent()
    uvloop.run(_main(*sys.argv[1:]))
