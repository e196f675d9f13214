"""Rolling restarts: which of the requests that clients go on sending meanwhile are lost."""

import asyncio
import os
import random
import re
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import monotonic

from hasten.drill._calling import Call, by_grpc_aio, by_rpc, has_grpc
from hasten.drill._drill import Drill, Impossible
from hasten.drill._result import Measure
from hasten.drill._stage import Service, Stage, free_port
from hasten.http.client import Client, Limits

_SUBJECT = "hasten.drill.subjects.restarted:app"
_WORKERS = 2
_IN_USE, _PAUSE = 60, 0.02  # loops that send requests on kept connections, and the most seconds between two of each
_IDLE, _SHORTEST, _LONGEST = 20, 0.2, 3.0  # connections that are silent for so many seconds: a lame duck lasts 1
_CHANNELS = 10
_TURN = 15.0  # seconds between two restarts, at most
_PATIENCE, _POLL = 60.0, 0.1  # seconds
_TIMEOUT = 5.0  # seconds, after which a request is lost
_RESTARTED = re.compile(rf"restarted: {_WORKERS} workers")
_FINISHED = re.compile(r"Finished server process")  # uvicorn says it of each worker
PLAIN = "uvicorn"
Connecting = AbstractAsyncContextManager[Call]
Connect = Callable[[], Connecting]


@dataclass(slots=True, kw_only=True)
class Clients:
    """Make calls one after another, in several loops, until they are stopped.

    Attributes:
      name: Of what they call on.
      peer: What is measured beside it.
      shortest, longest: Seconds between two calls of a loop.
      made, lost: Calls; those of them that have failed.
    """

    name: str
    peer: str
    shortest: float
    longest: float
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    made: int = 0
    lost: int = 0

    async def drive(self, call: Call, seed: int) -> None:
        """Make calls, with some seconds between two."""
        chance = random.Random(seed)
        while not self.stopped.is_set():
            self.made += 1
            try:
                async with asyncio.timeout(_TIMEOUT):
                    await call()
            except Exception:  # that it has failed is counted, whatever its client calls that
                self.lost += 1
            with suppress(TimeoutError):
                async with asyncio.timeout(chance.uniform(self.shortest, self.longest)):
                    await self.stopped.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class Restarts:
    """How many there are to be, during how many calls of clients in use, and how it is seen that one is over.

    Attributes:
      said: Is in the service's log so many times a restart.
    """

    count: int
    calls: int
    said: re.Pattern[str]
    times: int = 1


async def _run(stage: Stage) -> Sequence[Measure]:
    count, calls = (1, 2_000) if stage.quick else (10, 100_000)
    workers = ("--workers", str(_WORKERS))
    app = stage.target or _SUBJECT
    port = 0 if stage.target or not has_grpc() else free_port()
    grpc = {"HASTEN_DRILL_GRPC": str(port)} if port else {}
    async with stage.hasten(app, "--admin", "off", *workers, **grpc) as service:
        restarts = Restarts(count=count, calls=calls, said=_RESTARTED)
        ours = await _restarted(stage, service, restarts, _channel(by_rpc, port))
    patient = ("--timeout-worker-healthcheck", "30")  # it gives a new worker 5 s, and a busy machine needs more
    async with stage.uvicorn(app, "--log-level", "info", *patient, *workers, HASTEN_DRILL_PEER="1", **grpc) as service:
        restarts = Restarts(count=count, calls=calls, said=_FINISHED, times=_WORKERS)
        plain = await _restarted(stage, service, restarts, _channel(by_grpc_aio, port))
    return [_lost(mine, theirs, count) for mine, theirs in zip(ours, plain, strict=True)]


def _channel(by: Callable[[Sequence[str], str], Connecting], port: int) -> Connect | None:
    return partial(by, [f"127.0.0.1:{port}"], "restart") if port else None


async def _restarted(stage: Stage, service: Service, restarts: Restarts, channel: Connect | None) -> list[Clients]:
    """Have clients call a service while it is restarted; return them, those of channels only with one.

    Raises:
      Impossible: a restart does not end.
    """
    in_use = Clients(name="connections in use", peer=PLAIN, shortest=0.0, longest=_PAUSE)
    idle = Clients(name="connections that were idle", peer=PLAIN, shortest=_SHORTEST, longest=_LONGEST)
    channels = Clients(name="gRPC channels", peer="grpc.aio in uvicorn", shortest=0.0, longest=_PAUSE)
    async with AsyncExitStack() as opened:
        shared = await opened.enter_async_context(_by_http(stage, service, connections=_IN_USE))
        callers = [(in_use, shared)] * _IN_USE
        for _ in range(_IDLE):
            callers.append((idle, await opened.enter_async_context(_by_http(stage, service, connections=1))))
        if channel:
            for _ in range(_CHANNELS):
                callers.append((channels, await opened.enter_async_context(channel())))
        async with asyncio.TaskGroup() as group:
            for seed, (clients, call) in enumerate(callers):
                group.create_task(clients.drive(call, seed))
            over = await _restart(stage, service, restarts, in_use)
            for clients in (in_use, idle, channels):
                clients.stopped.set()
    if not over:
        raise Impossible(f"a restart has not ended within {_PATIENCE:g} s")
    return [in_use, idle, channels] if channel else [in_use, idle]


@asynccontextmanager
async def _by_http(stage: Stage, service: Service, *, connections: int) -> AsyncIterator[Call]:
    """Call on connections that are kept, and left where the service says so.

    By POST, but for one's own service: a client may send a GET a second time, unasked, when a connection that it has
    kept turns out to be closed, and nobody would hear that the first one was lost.
    """
    method, path = ("GET", stage.path) if stage.target else ("POST", "/work")
    limits = Limits(connections=connections, idle=2 * _LONGEST)
    async with Client(service.url, retry=None, breaker=None, timeout=_TIMEOUT, limits=limits) as client:

        async def call() -> str:
            response = await client.request(method, path)
            return response.raise_for_status().text()

        yield call


async def _restart(stage: Stage, service: Service, restarts: Restarts, clients: Clients) -> bool:
    """Restart a service as often as is asked for, at even distances in the calls of clients; tell whether it did."""
    for number in range(restarts.count):
        await _made(clients, restarts.calls * (number + 0.5) / restarts.count)
        stage.say(f"restart {number + 1} of {restarts.count}: {clients.made} requests, {clients.lost} lost")
        os.kill(service.pid, signal.SIGHUP)
        if not await _said(service.process.log, restarts.said, (number + 1) * restarts.times):
            return False
    await _made(clients, restarts.calls)
    return True


async def _made(clients: Clients, count: float) -> None:
    """Wait until so many calls were made, or for as long as a turn may take."""
    until = monotonic() + _TURN
    while clients.made < count and monotonic() < until:  # noqa: ASYNC110 - clients in use have no time for events
        await asyncio.sleep(_POLL)


async def _said(log: Path, pattern: re.Pattern[str], times: int) -> bool:
    """Wait until a line is in a log so many times; tell whether it was, in the end."""
    until = monotonic() + _PATIENCE
    while monotonic() < until:
        if len(pattern.findall(await asyncio.to_thread(log.read_text, encoding="utf-8"))) >= times:
            return True
        await asyncio.sleep(_POLL)
    return False


def _lost(ours: Clients, plain: Clients, restarts: int) -> Measure:
    return Measure(
        promise=f"lost of {ours.made} requests on {ours.name}, rolling restarts: {restarts}",
        asked=0,
        measured=ours.lost,
        unit="requests",
        beside=f"of {plain.made} by {plain.peer}",
        beside_measured=plain.lost,
    )


RESTART = Drill(
    name="restart",
    about="rolling restarts of two workers, while clients go on sending requests",
    run=_run,
    own=True,
)
