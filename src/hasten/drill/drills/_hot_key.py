"""A key that everybody reads: it expires again and again, 1,000 want it at once, and its source fails."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from math import inf
from operator import attrgetter
from statistics import median

from hasten.drill._calling import Called, asked, by_http, drive, quantile
from hasten.drill._drill import Drill
from hasten.drill._redis import redis_server
from hasten.drill._result import Measure
from hasten.drill._stage import Service, Stage
from hasten.drill.subjects.hot import TTL
from hasten.drill.subjects.source import Load
from hasten.http.client import Client, Limits
from hasten.load._reach import allow_open_files

_READER, _SOURCE = "hasten.drill.subjects.hot:app", "hasten.drill.subjects.source:app"
_LASTING = "/cached/lasting?any"
_OPTIONS = ("--admin", "off", "--lame-duck", "0s")
_PROCESSES = 4
_RATE = 400.0  # requests a second
_AT_ONCE = 1000  # requests
_OTHER_FILES = 200
_WARM = 0.5  # seconds in which connections are made, and values are there again
_STILL_FRESH = 0.45  # of a time to live: in the first half, less what chance takes off, nothing is renewed
_TENTH, _NOISE = 1.1, 0.001  # times, and seconds that a p99 differs by without a reason
_PEER = "cache-aside"


@dataclass(frozen=True, slots=True)
class Services:
    """The processes that read, and the service that they load from."""

    urls: Sequence[str]
    source: Service

    async def read(self, target: str, seconds: float, *, warm: float = _WARM, seed: int = 1) -> list[Called]:
        """Have all processes read a value; what comes in a while before that counts not."""
        async with by_http(self.urls, target, retry=None, breaker=None) as call:
            await drive(call, _RATE, warm, seed=seed)
            return await drive(call, _RATE, seconds, seed=seed)

    async def read_at_once(self, target: str) -> int:
        """Send 1,000 requests at once, on connections that are there; return how many have no answer."""
        limits = Limits(connections=_AT_ONCE)
        async with Client(self.urls, retry=None, breaker=None, limits=limits) as client:
            for each in (_LASTING, target):
                requests = [client.get(each) for _ in range(_AT_ONCE)]
                answers = await asyncio.gather(*requests, return_exceptions=True)
        return sum(isinstance(answer, BaseException) or not answer.ok for answer in answers)

    async def loads(self, key: str) -> list[Load]:
        """Return the loads of a key."""
        return await asked(self.source, f"/loads?{key}", list[Load])


@dataclass(slots=True)
class Way:
    """A way to read through a cache, and what came of it.

    Attributes:
      path: Where it is read so.
      p99s, lasting: Of the requests for a value that expires, and for one that does not, of each round, in seconds.
      loads: Of the value that expires.
      loads_at_once: Of values that 1,000 requests at once wanted, for each.
      unanswered: Of these requests.
      failed: Requests that failed while the source did.
    """

    path: str
    p99s: list[float] = field(default_factory=list)
    lasting: list[float] = field(default_factory=list)
    loads: list[Load] = field(default_factory=list)
    loads_at_once: list[int] = field(default_factory=list)
    unanswered: int = 0
    failed: int = 0

    async def expire(self, services: Services, seconds: float) -> None:
        """Have the value be read while it expires, and one that does not beside it."""
        async with asyncio.TaskGroup() as group:
            hot = group.create_task(services.read(self._hot, seconds))
            lasting = group.create_task(services.read(_LASTING, seconds, seed=2))
        self.p99s.append(p99(hot.result()))
        self.lasting.append(p99(lasting.result()))
        self.loads = await services.loads(self._key("hot"))

    async def come_at_once(self, services: Services) -> None:
        """Have a value be read that nobody has."""
        key = self._key(f"new-{len(self.loads_at_once)}")
        self.unanswered += await services.read_at_once(f"{self.path}/lasting?{key}")
        self.loads_at_once.append(len(await services.loads(key)))

    async def lose_source(self, services: Services, seconds: float) -> None:
        """Have the value be read while its source is well, and then while it fails."""
        await services.read(self._hot, 0.0)
        await asked(services.source, "/fail?1", bool)
        answers = await services.read(self._hot, seconds, warm=0.0)
        await asked(services.source, "/fail?0", bool)
        self.failed = sum(not one.by for one in answers)

    @property
    def _hot(self) -> str:
        return f"{self.path}?{self._key('hot')}"

    def _key(self, name: str) -> str:
        return f"{self.path[1:]}-{name}"


def p99(called: Sequence[Called]) -> float:
    """Return the p99 of requests in seconds; those that failed took for ever."""
    return quantile([one.seconds if one.by else inf for one in called], 0.99)


def loads_each(loads: Sequence[Load]) -> float:
    """Return how many loads there were each time a value was renewed; infinite if it never was.

    A load that begins while the value of another one is fresh, or under way, is of the same time, and one too many.
    """
    times, fresh_until = 0, -inf
    for load in sorted(loads, key=attrgetter("began")):
        times += load.began >= fresh_until
        fresh_until = max(fresh_until, load.ended + _STILL_FRESH * TTL)
    return len(loads) / times if times > 1 else inf


async def _run(stage: Stage) -> Sequence[Measure]:
    seconds, rounds = (1.5, 1) if stage.quick else (4.0, 3)
    ours, plain = Way("/cached"), Way("/aside")
    async with _served(stage) as services:
        for number in range(rounds):
            stage.say(f"a value that expires, beside one that does not, round {number + 1} of {rounds}")
            for way in (ours, plain):
                await way.expire(services, seconds)
        for number in range(rounds):
            stage.say(f"{_AT_ONCE:,} requests at once, round {number + 1} of {rounds}")
            for way in (ours, plain):
                await way.come_at_once(services)
        stage.say("a source that fails")
        for way in (ours, plain):
            await way.lose_source(services, TTL + seconds)
    return [*_while_it_expires(ours, plain), *_at_once(ours, plain), _failed(ours, plain)]


@asynccontextmanager
async def _served(stage: Stage) -> AsyncIterator[Services]:
    allow_open_files(_AT_ONCE + _OTHER_FILES)  # here, and in what is started
    async with AsyncExitStack() as started:
        redis = await started.enter_async_context(redis_server(stage))
        source = await started.enter_async_context(stage.hasten(_SOURCE, *_OPTIONS))
        environment = {"HASTEN_DRILL_REDIS": redis.url, "HASTEN_DRILL_NEXT": source.url}
        urls = []
        for _ in range(_PROCESSES):
            service = await started.enter_async_context(stage.hasten(_READER, *_OPTIONS, **environment))
            urls.append(service.url)
        yield Services(urls, source)


def _while_it_expires(ours: Way, plain: Way) -> list[Measure]:
    lasting = median(ours.lasting)
    return [
        Measure(
            promise=f"loads by all {_PROCESSES} processes each time a value expires",
            asked=1.0,
            measured=loads_each(ours.loads),
            unit="loads",
            beside=_PEER,
            beside_measured=loads_each(plain.loads),
        ),
        Measure(
            promise=f"p99 of requests for it, a tenth (or {1e3 * _NOISE:.0f} ms) more than for one that does not",
            asked=1e3 * max(_TENTH * lasting, lasting + _NOISE),
            measured=1e3 * median(ours.p99s),
            unit="ms",
            beside=_PEER,
            beside_measured=1e3 * median(plain.p99s),
        ),
    ]


def _at_once(ours: Way, plain: Way) -> list[Measure]:
    return [
        Measure(
            promise=f"loads for {_AT_ONCE:,} requests at once that want what nobody has",
            asked=1.0,
            measured=max(ours.loads_at_once),
            unit="loads",
            beside=_PEER,
            beside_measured=max(plain.loads_at_once),
        ),
        Measure(
            promise="of these requests, those without an answer",
            asked=0.0,
            measured=ours.unanswered,
            unit="requests",
            beside=_PEER,
            beside_measured=plain.unanswered,
        ),
    ]


def _failed(ours: Way, plain: Way) -> Measure:
    return Measure(
        promise="requests that fail when all loads do",
        asked=0.0,
        measured=ours.failed,
        unit="requests",
        beside=_PEER,
        beside_measured=plain.failed,
    )


HOT_KEY = Drill(
    name="hot-key",
    about=f"a value that {_PROCESSES} processes read expires, is wanted by 1,000 at once, and cannot be loaded",
    run=_run,
)
