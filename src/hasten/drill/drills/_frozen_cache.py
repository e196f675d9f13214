"""A Redis that stands still, as a machine does that has too much to do: what that costs, and when it is used again."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from math import inf
from statistics import median
from time import monotonic

from hasten._core.processes import ServiceProcess
from hasten.drill._calling import Call, Called, by_http, drive, quantile
from hasten.drill._drill import Drill, Impossible
from hasten.drill._redis import redis_server
from hasten.drill._result import Measure
from hasten.drill._stage import Service, Stage
from hasten.drill.subjects.reader import FOUND
from hasten.http.client import Limits

_READER = "hasten.drill.subjects.reader:app"
_RATE = 500.0  # requests a second
_NOTICED = 1.0  # seconds after which it costs no more
_MORE, _AGAIN = 5.0, 5.0  # ms, and seconds until Redis is used again
_PATIENCE, _STEP = 10.0, 0.25  # seconds
_SURE = 10  # requests in a row of which Redis has the values: it is used
_PEER = "redis.asyncio"


@dataclass(frozen=True, slots=True)
class Round:
    """What came of one freeze.

    Attributes:
      failed: Requests.
      before, during: p99 of the requests before it, and from 1 s on, in seconds.
      again: Seconds from its end until Redis was used; infinite if it never was.
    """

    failed: int
    before: float
    during: float
    again: float


@dataclass(slots=True)
class Subject:
    """A service, and what came of each round."""

    service: Service
    rounds: list[Round] = field(default_factory=list)

    async def take(self, redis: Service, well: float, frozen: float) -> None:
        """Have a round: a while in which Redis is well, then a while in which it stands still."""
        limits = Limits(connections=1000)
        async with by_http([self.service.url], "/next", retry=None, breaker=None, limits=limits) as call:
            if used_at(await _read_until_used(call)) == inf:
                raise Impossible(f"Redis is well, and not used {_PATIENCE:g} s later")
            before = await drive(call, _RATE, well)
            with _standing_still(redis.process):
                since = monotonic()
                during = await drive(call, _RATE, frozen)
            until = monotonic()
            after = await _read_until_used(call)
        self.rounds.append(read_round(before, during, after, since, until))

    def middle(self, value: Callable[[Round], float]) -> float:
        """Return the median of a value of its rounds."""
        return median(map(value, self.rounds))


def read_round(
    before: Sequence[Called], during: Sequence[Called], after: Sequence[Called], since: float, until: float
) -> Round:
    """Return what the requests say before, during and after a freeze, and when it began and ended."""
    later = [one for one in during if one.at >= since + _NOTICED]
    return Round(
        failed=sum(not one.by for one in (*during, *after)),
        before=quantile([one.seconds for one in before], 0.99),
        during=quantile([one.seconds if one.by else inf for one in later], 0.99),
        again=used_at(after) - until,
    )


def used_at(called: Sequence[Called]) -> float:
    """Return when Redis was used, by `time.monotonic()`; infinite if it was not."""
    row: list[Called] = []
    for one in sorted(called, key=lambda one: one.at):
        row = [*row, one] if one.by == FOUND else []
        if len(row) == _SURE:
            return row[0].at
    return inf


async def _read_until_used(call: Call) -> list[Called]:
    """Read until Redis is used, or for as long as it is waited for."""
    until = monotonic() + _PATIENCE
    called: list[Called] = []
    while used_at(called) == inf and monotonic() < until:
        called += await drive(call, _RATE, _STEP)
    return called


@contextmanager
def _standing_still(process: ServiceProcess) -> Iterator[None]:
    process.suspend()
    try:
        yield
    finally:
        process.resume()


async def _run(stage: Stage) -> Sequence[Measure]:
    well, frozen, rounds = (0.5, 1.5, 1) if stage.quick else (2.0, 3.0, 3)
    async with redis_server(stage) as redis, _subject(stage, redis) as ours, _subject(stage, redis, "1") as plain:
        for number in range(rounds):
            for subject in (ours, plain):
                stage.say(f"a Redis that stands still, round {number + 1} of {rounds}")
                await subject.take(redis, well, frozen)
    return _measures(ours, plain)


@asynccontextmanager
async def _subject(stage: Stage, redis: Service, peer: str = "") -> AsyncIterator[Subject]:
    environment = {"HASTEN_DRILL_REDIS": redis.url, "HASTEN_DRILL_PEER": peer}
    async with stage.hasten(_READER, "--admin", "off", **environment) as service:
        yield Subject(service)


def _measures(ours: Subject, plain: Subject) -> list[Measure]:
    return [
        Measure(
            promise="requests that fail while Redis stands still, or afterwards",
            asked=0.0,
            measured=sum(its.failed for its in ours.rounds),
            unit="requests",
            beside=_PEER,
            beside_measured=sum(its.failed for its in plain.rounds),
        ),
        Measure(
            promise=f"p99 of requests from {_NOTICED:g} s on, {_MORE:g} ms more than before",
            asked=1e3 * ours.middle(lambda its: its.before) + _MORE,
            measured=1e3 * ours.middle(lambda its: its.during),
            unit="ms",
            beside=_PEER,
            beside_measured=1e3 * plain.middle(lambda its: its.during),
        ),
        Measure(
            promise="until Redis is used again when it goes on",
            asked=_AGAIN,
            measured=ours.middle(lambda its: its.again),
            unit="s",
            beside=_PEER,
            beside_measured=plain.middle(lambda its: its.again),
        ),
    ]


FROZEN_CACHE = Drill(
    name="frozen-cache",
    about="a Redis that stands still for 3 s; a service reads from it what it does not have in memory",
    run=_run,
)
