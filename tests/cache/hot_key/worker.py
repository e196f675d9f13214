"""One process of the hot key's test: tasks that read one cached value in a loop, and what they saw, when asked.

    python -m tests.cache.hot_key.worker REDIS_URL NAMESPACE TASKS TTL EARLY

It writes a line when it is ready, begins to read at the first line of its standard input, answers each later one with
a `Report` as a line of JSON, and ends with its standard input. The loader counts its calls in Redis by a client of its
own, and ends when the test lets it.
"""

import asyncio
import sys
from time import monotonic

import msgspec
from redis.asyncio import Redis

from hasten.cache import Cache, Policy
from hasten.cache._cached import cached
from hasten.cache.backplanes.redis import RedisBackplane
from tests.cache.lookups import look

PAUSE = 0.02  # seconds between two reads of a task: the processes share their processors with Redis and the test


class Report(msgspec.Struct):
    """What a process has seen since its last report.

    Attributes:
      answers: How often each value was read.
      waited: Lookups that could not be answered at once.
      stale_seconds: How long each lookup took that was answered with a stale value.
      waiting: Tasks that wait for an answer now.
      loading: The loader runs in this process now.
      renewing: A load is under way for this process now, here or elsewhere.
      second_answers: What the second tier has answered since the process began to read.
    """

    answers: dict[int, int] = {}
    waited: int = 0
    stale_seconds: list[float] = []
    waiting: int = 0
    loading: bool = False
    renewing: bool = False
    second_answers: int = 0


class Reader:
    """The tasks of a process."""

    def __init__(self, cache: Cache, source: "Redis", namespace: str, ttl: float, early: float) -> None:
        self._source = source
        self._namespace = namespace
        self._loading = False
        self._report = Report()
        self._waiting = 0
        assert cache._core.second is not None
        self._breaker = cache._core.second.breaker
        self._answered_before = self._breaker.statistics().answers
        # The lease is longer than the test holds a load back.
        policy = Policy(ttl=ttl, stale=60.0, jitter=0.0, early=early, lease=60.0)

        async def hot() -> int:
            return await self._load()

        self._hot = cached(cache, policy, name="hot")(hot)

    async def _load(self) -> int:
        """Return the number of this load in the cluster, when the test lets it end."""
        began, self._loading = monotonic(), True
        number: int = await self._source.incr(f"{self._namespace}:loads")
        await self._source.blpop([f"{self._namespace}:gate"])
        await self._source.rpush(f"{self._namespace}:ended", f"{began} {monotonic()}")
        self._loading = False
        return number

    async def read(self) -> None:
        """Read again and again."""
        counts = self._hot.region.counts
        while True:
            stale = counts.stale
            self._waiting += 1
            found = await look(self._hot())
            self._waiting -= 1
            self._report.answers[found.value] = self._report.answers.get(found.value, 0) + 1
            self._report.waited += found.waited
            if counts.stale > stale and not found.waited:  # nobody else can have counted
                self._report.stale_seconds.append(found.seconds)
            await asyncio.sleep(PAUSE)

    def report(self) -> Report:
        """Return what was seen since the last report."""
        report, self._report = self._report, Report()
        report.waiting, report.loading = self._waiting, self._loading
        report.renewing = bool(self._hot.region.flights)
        report.second_answers = self._breaker.statistics().answers - self._answered_before
        return report


def cache_of(url: str, namespace: str) -> Cache:
    """Return the process's cache; it does not take a busy machine for an ill Redis."""
    backplane = RedisBackplane(url, namespace, trust_seconds=60.0)
    return Cache("memory://", url, namespace=namespace, backplane=backplane, timeout=20.0)


async def main(url: str, namespace: str, tasks: int, ttl: float, early: float) -> None:
    """Be a process until the standard input ends."""
    cache, source = cache_of(url, namespace), Redis.from_url(url, protocol=2, socket_timeout=None)
    await cache.get("joins the others")
    while not cache.statistics().trusted:
        await asyncio.sleep(0.01)
    reader = Reader(cache, source, namespace, ttl, early)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    reading = [asyncio.create_task(reader.read()) for _ in range(tasks)]
    while await asyncio.to_thread(sys.stdin.readline):
        print(msgspec.json.encode(reader.report()).decode(), flush=True)
    for task in reading:
        task.cancel()
    await asyncio.gather(*reading, return_exceptions=True)
    await cache.aclose()
    await source.aclose()


if __name__ == "__main__":
    url, namespace, tasks, ttl, early = sys.argv[1:]
    asyncio.run(main(url, namespace, int(tasks), float(ttl), float(early)))
