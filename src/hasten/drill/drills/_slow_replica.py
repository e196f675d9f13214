"""One replica of three becomes ten times slower, and well again: how many of the calls it gets."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import Any

from hasten.drill._calling import Call, Called, asked, backend_options, by_grpc_aio, by_http, by_rpc, drive
from hasten.drill._drill import Drill
from hasten.drill._result import Measure
from hasten.drill._stage import Stage
from hasten.testing import FaultProxy, Faults

_BACKEND = "hasten.drill.subjects.backend:app"
_NAMES = ("ill", "well", "also-well")
_SLOWER = Faults(latency=0.05, direction="down")  # answers take 5.5 ms else, in the mean
_RATE = 150.0  # calls a second
_WITHIN, _BACK = 2.0, 5.0  # seconds
_LEAST, _SHARE = 5.0, 20.0  # % of the calls
_WINDOW, _STEP = 1.0, 0.25  # seconds
_PEER = "grpc.aio round_robin"


@dataclass(slots=True)
class Course:
    """When things happened, by `time.monotonic()`, and the calls of each client."""

    slow_at: float
    well_at: float
    ended_at: float
    called: Mapping[str, Sequence[Called]]

    def while_slow(self, client: str) -> float:
        """Return the share that the slow replica had once clients had 2 s to see it, in %."""
        since = min(self.slow_at + _WITHIN, (self.slow_at + self.well_at) / 2)
        return share(self.called[client], since, self.well_at)

    def until_back(self, client: str) -> float:
        """Return the seconds from its repair until it had its share for a second; infinite if it never had."""
        end = self.well_at + _WINDOW
        while end <= self.ended_at:
            if share(self.called[client], end - _WINDOW, end) >= _SHARE:
                return end - self.well_at
            end += _STEP
        return inf


def share(called: Sequence[Called], since: float, until: float) -> float:
    """Return the share of the calls made meanwhile that the ill replica has answered, in %."""
    by = [one.by for one in called if since <= one.at < until]
    return 100.0 * by.count(_NAMES[0]) / len(by) if by else 0.0


async def _run(stage: Stage) -> Sequence[Measure]:
    well, slow, after = (1.0, 1.0, 3.0) if stage.quick else (3.0, 6.0, 20.0)
    async with _replicas(stage) as (http, grpc), AsyncExitStack() as entered:
        clients = {name: await entered.enter_async_context(one) for name, one in _clients(http, grpc).items()}
        course = await _course(stage, clients, http + grpc, (well, slow, after))
    measures = _measures(course, "HTTP", "http")
    if grpc:
        measures += _measures(course, "gRPC", "rpc")
    return measures


@asynccontextmanager
async def _replicas(stage: Stage) -> AsyncIterator[tuple[list[FaultProxy], list[FaultProxy]]]:
    """Start the replicas, and return what stands before them: for HTTP, and for gRPC if it is there; the ill first."""
    http, grpc = [], []
    async with AsyncExitStack() as started:
        for name in _NAMES:
            environment = backend_options(HASTEN_DRILL_NAME=name)
            served = await started.enter_async_context(stage.hasten(_BACKEND, "--admin", "off", **environment))
            proxy = FaultProxy(served.url.removeprefix("http://"))
            http.append(await started.enter_async_context(proxy))
            if address := await asked(served, "/grpc", str):
                grpc.append(await started.enter_async_context(FaultProxy(address)))
        yield http, grpc


def _clients(http: Sequence[FaultProxy], grpc: Sequence[FaultProxy]) -> dict[str, AbstractAsyncContextManager[Call]]:
    """Return the clients by their names; each knows all replicas."""
    clients: dict[str, AbstractAsyncContextManager[Call]] = {
        "http": by_http([f"http://{proxy.address}" for proxy in http], "/work")
    }
    if grpc:
        addresses = [proxy.address for proxy in grpc]
        clients["rpc"] = by_rpc(addresses, "rpc", balancing="p2c")
        config: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
        clients["grpc.aio"] = by_grpc_aio(addresses, "grpc.aio", service_config=config)
    return clients


async def _course(
    stage: Stage, clients: Mapping[str, Call], proxies: Sequence[FaultProxy], seconds: tuple[float, float, float]
) -> Course:
    """Have all clients call at once, and one replica be slow meanwhile."""
    ill = [proxy for number, proxy in enumerate(proxies) if number % len(_NAMES) == 0]
    well, slow, _ = seconds
    async with asyncio.TaskGroup() as group:
        driven = {name: group.create_task(drive(call, _RATE, sum(seconds))) for name, call in clients.items()}
        stage.say("three replicas that are well")
        await asyncio.sleep(well)
        stage.say("one of them is ten times slower")
        slow_at = monotonic()
        for proxy in ill:
            await proxy.inject(_SLOWER)
        await asyncio.sleep(slow)
        stage.say("it is well again")
        well_at = monotonic()
        for proxy in ill:
            await proxy.inject()
    return Course(slow_at, well_at, monotonic(), {name: task.result() for name, task in driven.items()})


def _measures(course: Course, kind: str, client: str) -> list[Measure]:
    peer = "grpc.aio" if "grpc.aio" in course.called else ""
    return [
        Measure(
            promise=f"calls of {kind} that the slow replica of three gets from {_WITHIN:g} s on",
            asked=_LEAST,
            measured=course.while_slow(client),
            unit="%",
            beside=_PEER if peer else "",
            beside_measured=course.while_slow(peer) if peer else None,
        ),
        Measure(
            promise=f"until it gets {_SHARE:g} % of the calls of {kind} again when it is well",
            asked=_BACK,
            measured=course.until_back(client),
            unit="s",
        ),
    ]


SLOW_REPLICA = Drill(
    name="slow-replica",
    about="three replicas, of which one becomes ten times slower, and well again",
    run=_run,
)
