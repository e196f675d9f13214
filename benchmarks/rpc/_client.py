"""The client of a subject: calls as fast as replies come (closed model), a fixed number at once.

`python -m benchmarks.rpc._client STACK TRANSPORT FOLDER ADDRESS SERVER_PID` is the child: it connects, warms up, then
reads one order a line and answers each with one line. It reads both sides' CPU itself, so that neither the orders nor
the sorting of latencies is in them.
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
from benchmarks._processes import PinnedProcess, process_cpu_seconds
from benchmarks.rpc._orders import SIZES_BYTES, check, requests
from benchmarks.rpc._stack import Caller, Place, Say, Transport, find_stack
from hasten._core.errors import InvalidMeasurement

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


class Driven(msgspec.Struct, frozen=True):
    """What a drive gave; times in seconds, CPU of all calls together.

    Attributes:
      problem: Why it does not count; empty when it does.
    """

    calls: int = 0
    seconds: float = 0.0
    client_cpu: float = 0.0
    server_cpu: float = 0.0
    p50: float = 0.0
    p99: float = 0.0
    problem: str = ""


class RpcClient(PinnedProcess):
    """The client's process, seen from the benchmark."""

    def __init__(self, stack: str, place: Place, server: PinnedProcess, core: int) -> None:
        arguments = [stack, place.transport, str(place.folder), server.address, str(server.pid)]
        command = [sys.executable, "-m", "benchmarks.rpc._client", *arguments]
        super().__init__(f"client of {stack} over {place.transport}", command, core)

    def drive(self, order: Drive) -> Driven:
        """Drive once.

        Raises:
          InvalidMeasurement: a call failed, or its reply was wrong.
        """
        driven = self.ask(order, order.seconds + order.warm_up, Driven)
        if driven.problem:
            raise InvalidMeasurement(self.name, driven.problem)
        return driven


class _Driver:
    """The child's side."""

    def __init__(self, callers: Mapping[int, Caller], server_pid: int) -> None:
        self._callers = callers
        self._server_pid = server_pid

    async def warm_up(self) -> None:
        """Open all connections and run all code."""
        for size_bytes, in_time, in_flight in itertools.product(SIZES_BYTES, (False, True), self._callers):
            await self._run(Drive(size_bytes, in_time, in_flight, seconds=0.0), 0.0)

    async def serve(self) -> None:
        """Answer orders until the parent closes stdin; the loop runs on meanwhile."""
        orders = msgspec.json.Decoder(Drive)
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(msgspec.json.encode(await self._drive(orders.decode(line))).decode(), flush=True)

    async def _drive(self, order: Drive) -> Driven:
        try:
            if order.warm_up:
                await self._run(order, order.warm_up)
            return await self._measure(order)
        except Exception as error:
            return Driven(problem=" ".join(f"{type(error).__name__}: {error}".split()))

    async def _measure(self, order: Drive) -> Driven:
        server, client, started = process_cpu_seconds(self._server_pid), time.process_time(), time.perf_counter()
        latencies = await self._run(order, order.seconds)
        seconds, client = time.perf_counter() - started, time.process_time() - client
        server = process_cpu_seconds(self._server_pid) - server
        latencies.sort()
        p50, p99 = (latencies[int(len(latencies) * share)] for share in (0.5, 0.99))
        return Driven(len(latencies), seconds, client, server, p50, p99)

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
        await driver.serve()


if __name__ == "__main__":
    die_with_parent()
    uvloop.run(_main(*sys.argv[1:]))
