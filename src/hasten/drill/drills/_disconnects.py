"""Clients that go before they are answered: how soon what they have asked for ends, and what is left of it."""

import asyncio
import math
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from statistics import median
from time import monotonic
from urllib.parse import urlsplit

from hasten._core.errors import HastenError
from hasten.drill._calling import quantile
from hasten.drill._drill import Drill, Impossible
from hasten.drill._result import Measure
from hasten.drill._stage import Service, Stage
from hasten.drill.subjects.recorded import CONNECTIONS, NUMBER, REPORT, WAITS, Report
from hasten.http.client import Client, Limits

_SUBJECT = "hasten.drill.subjects.recorded:app"
_RATE = 100.0  # clients a second
_LONGEST = 0.3  # seconds until one leaves, at most
_LEAST = 0.05  # seconds that an answer must take for anybody to leave before it
_ASKED = 0.1  # seconds for what nobody waits for any more
_SETTLED = 0.5  # seconds after the last has left
_LONGEST_ANSWER = 30.0  # seconds
_PATIENCE = 5.0  # seconds, and twice what an answer takes, after which what has not ended never does
_SLEEP, _CALL = "/sleep", "/call"
PLAIN = "plain uvicorn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """A service, and the one that it calls, which has the same app; an app of one's own is alone."""

    service: Service
    called: Service | None = None


@dataclass(slots=True)
class Clients:
    """Send a request each, and leave.

    Attributes:
      left: When each has, by its number, by path.
    """

    service: Service
    chance: random.Random
    left: dict[str, dict[int, float]] = field(default_factory=dict)
    _last: int = 0

    async def come(self, paths: Sequence[str], count: int, longest: float) -> None:
        """Have so many clients come one after another, in turns to each path, and wait until the last has gone."""
        began = monotonic()
        at = 0.0
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                at += self.chance.expovariate(_RATE)
                await asyncio.sleep(began + at - monotonic())
                group.create_task(self._come(paths[number % len(paths)], longest * self.chance.random()))

    async def _come(self, path: str, stays: float) -> None:
        self._last = number = self._last + 1
        place = urlsplit(self.service.url)
        try:
            _, writer = await asyncio.open_connection(place.hostname, place.port)
        except OSError:
            return  # whether the service is still there is asked later
        writer.write(f"GET {path} HTTP/1.1\r\nhost: {place.netloc}\r\n{NUMBER}: {number}\r\n\r\n".encode())
        await asyncio.sleep(stays)
        self.left.setdefault(path, {})[number] = monotonic()
        writer.transport.abort()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one service did.

    Attributes:
      ends: p99 of the seconds until handlers had ended, by path.
      called: The same of what they had called.
      left: Requests that had not ended half a second after the last client had gone, those of the called one among it.
      wrong: Answers to `CONNECTIONS` calls at once that were missing, or not for who had asked.
    """

    ends: Mapping[str, float]
    called: float
    left: int
    wrong: int


async def _run(stage: Stage) -> Sequence[Measure]:
    count = 60 if stage.quick else 1000
    async with _served(stage, edge=True) as services:
        stage.say(f"{count} clients leave")
        ours = await _find(stage, services, count)
    async with _served(stage, edge=False) as services:
        stage.say(f"{count} clients leave {PLAIN}")
        plain = await _find(stage, services, count)
    return _measures(stage, ours, plain, count)


@asynccontextmanager
async def _served(stage: Stage, *, edge: bool) -> AsyncIterator[Services]:
    """Serve the subject: by `hasten run` behind an edge, or by uvicorn; one's own app by both as it is."""
    serve, options = (stage.hasten, ("--admin", "off")) if edge else (stage.uvicorn, ())
    environment = {"HASTEN_DRILL_APP": stage.target, "HASTEN_DRILL_EDGE": "1" if edge else ""}
    async with AsyncExitStack() as started:
        called = None
        if not stage.target:
            called = await started.enter_async_context(serve(_SUBJECT, *options, **environment))
            environment["HASTEN_DRILL_CALLED"] = called.url
        service = await started.enter_async_context(serve(_SUBJECT, *options, **environment))
        yield Services(service=service, called=called)


async def _find(stage: Stage, services: Services, count: int) -> Found:
    service, called = services.service, services.called
    takes = await _takes(service, stage.path) if stage.target else WAITS
    paths = [stage.path] if stage.target else [_SLEEP, _CALL]
    clients = Clients(service, random.Random(1))
    await clients.come(paths, count, min(_LONGEST, takes))
    await asyncio.sleep(_SETTLED)
    service.process.require_running()
    left = [await _report(one) for one in (service, called) if one is not None]
    ended = await _ended(service, _PATIENCE + 2 * takes)
    ended_there = await _ended(called, _PATIENCE) if called is not None else {}
    return Found(
        ends={path: p99(clients.left.get(path, {}), ended) for path in paths},
        called=p99(clients.left[_CALL], ended_there) if called is not None else 0.0,
        left=sum(len(report.under_way) for report in left),
        wrong=await _wrong(service) if called is not None else 0,
    )


async def _takes(service: Service, path: str) -> float:
    """Return the seconds that an answer takes.

    Raises:
      Impossible: there is none, or it comes before anybody could leave.
    """
    took = []
    async with Client(service.url, retry=None, breaker=None, timeout=_LONGEST_ANSWER) as client:
        for _ in range(5):
            began = monotonic()
            try:
                await client.get(path)
            except HastenError as error:
                raise Impossible(f"{path}: {error}") from error
            took.append(monotonic() - began)
    usual = median(took)
    if usual < _LEAST:
        raise Impossible(
            f"{path} is answered within {usual * 1e3:.1f} ms, before anybody could leave; "
            f"name a path that takes {_LEAST * 1e3:.0f} ms or more (--path)"
        )
    return usual


async def _report(service: Service) -> Report:
    async with Client(service.url, retry=None, breaker=None) as client:
        return await client.get(REPORT, decode=Report)


async def _ended(service: Service, patience: float) -> Mapping[int, float]:
    """Return when requests have ended, as soon as all have; infinite for those that have not after `patience`."""
    until = monotonic() + patience
    report = await _report(service)
    while report.under_way and monotonic() < until:
        await asyncio.sleep(_ASKED)
        report = await _report(service)
    return {**report.ended, **dict.fromkeys(report.under_way, math.inf)}


def p99(left: Mapping[int, float], ended: Mapping[int, float]) -> float:
    """Return the p99 of the seconds from when clients left until what they had asked for ended.

    What had not begun when its client left, or had ended, counts not.

    Raises:
      Impossible: that is more than half of it.
    """
    took = [ended[number] - at for number, at in left.items() if ended.get(number, 0.0) >= at]
    if len(took) <= len(left) / 2:
        raise Impossible(
            f"of {len(left)} clients {len(took)} left while what they had asked for went on, which are too few; "
            "name a path that takes longer, and always as long (--path)"
        )
    return quantile(took, 0.99)


async def _wrong(service: Service) -> int:
    """Ask for as many answers at once as the service has places for calls; return how many are not as they must be."""
    limits = Limits(connections=CONNECTIONS)
    async with Client(service.url, retry=None, breaker=None, limits=limits) as client:
        numbers = range(1_000_000, 1_000_000 + CONNECTIONS)
        calls = [client.get("/echo", fields={NUMBER: str(number)}) for number in numbers]
        answers = await asyncio.gather(*calls, return_exceptions=True)
    right = [
        not isinstance(answer, BaseException) and answer.content == b"%d" % number
        for number, answer in zip(numbers, answers, strict=True)
    ]
    return right.count(False)


def _measures(stage: Stage, ours: Found, plain: Found, count: int) -> list[Measure]:
    names = {_SLEEP: "a handler that sleeps", _CALL: "a handler that calls"}
    measures = [_until(names.get(path, path), seconds, plain.ends[path]) for path, seconds in ours.ends.items()]
    if not stage.target:
        measures.append(_until("what it has called in another service", ours.called, plain.called))
    measures.append(
        Measure(
            promise=f"requests that go on {_SETTLED:g} s after {count} clients have left",
            asked=0,
            measured=ours.left,
            unit="requests",
            beside=PLAIN,
            beside_measured=plain.left,
        )
    )
    if not stage.target:
        measures.append(
            Measure(
                promise=f"{CONNECTIONS} calls at once then, on all of the pool: without their own answer",
                asked=0,
                measured=ours.wrong,
                unit="calls",
                beside=PLAIN,
                beside_measured=plain.wrong,
            )
        )
    return measures


def _until(what: str, ours: float, plain: float) -> Measure:
    return Measure(
        promise=f"{what}: its end after its client has gone, p99",
        asked=_ASKED * 1e3,
        measured=ours * 1e3,
        unit="ms",
        beside=PLAIN,
        beside_measured=plain * 1e3,
    )


DISCONNECTS = Drill(
    name="disconnects",
    about="1,000 clients that leave before they are answered, at any moment",
    run=_run,
    own=True,
)
