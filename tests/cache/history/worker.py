"""One process of the history check: tasks that read, set and invalidate random keys, and write down what they saw.

python -m tests.cache.history.worker REDIS_URL NAMESPACE TRUTH RECORDS NUMBER WORKERS TASKS SECONDS
"""

import asyncio
import itertools
import random
import sys
import time
from collections.abc import Sequence
from contextvars import ContextVar
from pathlib import Path

from hasten.cache import Cache, Lease, Policy, Read, StoreError, codec_for
from hasten.cache.backplanes.redis import RedisBackplane
from hasten.cache.stores._redis_url import redis_client
from hasten.cache.stores.redis import RedisStore
from tests.cache.history.records import Dropped, Dropping, Gone, Loaded, Loading, Notebook, Unwritten
from tests.cache.history.records import Read as ReadRecord
from tests.cache.history.truth import Truth

KEYS = 48
CHANGED = 40
"""So many keys are set and invalidated; the others only expire."""
TAGS = 5
TAG_OF = [key % TAGS if key < CHANGED else TAGS for key in range(KEYS)]
POLICY = Policy(ttl=0.5, stale=0.5, stale_if_error=0.5, lease=1.0)
LEASED: ContextVar[tuple[float, float] | None] = ContextVar("LEASED", default=None)
"""When the lease was asked for and given under which the current task, or what it spawned, loads."""
FAILED: ContextVar[bool] = ContextVar("FAILED", default=False)
"""Whether a question to the second tier has failed, or was given up by the cache's timeout."""


class NotedStore(RedisStore):
    """A second tier that writes down what it was asked to drop, and what it may not have taken.

    Attributes:
      keys: What the second tier's keys are called here.
    """

    def __init__(self, url: str, namespace: str, notebook: Notebook) -> None:
        super().__init__(redis_client(url), prefix=f"{namespace}:")
        self.keys: dict[str, int] = {}
        self._notebook = notebook
        self._drops = itertools.count()

    async def read(self, key: str, tags: Sequence[str] = ()) -> Read:
        try:
            return await super().read(key, tags)
        except (StoreError, asyncio.CancelledError):
            FAILED.set(True)
            raise

    async def lease(self, key: str, seconds: float, tags: Sequence[str] = ()) -> Lease | None:
        began = time.monotonic()
        try:
            lease = await super().lease(key, seconds, tags)
        except (StoreError, asyncio.CancelledError):
            FAILED.set(True)
            raise
        if lease is not None:
            LEASED.set((began, time.monotonic()))
        return lease

    async def write(self, key: str, payload: bytes, seconds: float, token: bytes | None = None) -> bool:
        try:
            return await super().write(key, payload, seconds, token)
        except (StoreError, asyncio.CancelledError):
            self._notebook.note(Unwritten(time.monotonic(), self.keys[key]))
            raise

    async def invalidate(self, keys: Sequence[str] = (), tags: Sequence[str] = ()) -> tuple[int, ...]:
        number = next(self._drops)
        names = tuple(self.keys[key] for key in keys), tuple(int(tag.removeprefix("tag:")) for tag in tags)
        self._notebook.note(Dropping(time.monotonic(), number, *names))
        versions = await super().invalidate(keys, tags)
        self._notebook.note(Dropped(time.monotonic(), number))
        return versions


class Worker:
    """The tasks of one process; only they write the keys that are its own."""

    def __init__(self, cache: Cache, store: NotedStore, truth: Truth, notebook: Notebook, own: Sequence[int]) -> None:
        self._region = cache.region("history", POLICY, codec=codec_for(int))
        self._cache = cache
        self._truth = truth
        self._notebook = notebook
        self._own = own
        self._locks = {key: asyncio.Lock() for key in own}
        self._loads = itertools.count()
        store.keys = {self._region.text_of(key): key for key in range(KEYS)}

    async def act(self, until: float) -> None:
        """Do one thing after the other."""
        while time.monotonic() < until:
            action = random.choices([self._read, self._set, self._invalidate, self._invalidate_tag], [85, 3, 8, 4])[0]
            await action()
            if random.random() < 0.1:
                await asyncio.sleep(random.random() * 0.005)

    async def _read(self) -> None:
        key = random.randrange(KEYS)
        LEASED.set(None)
        FAILED.set(False)
        began = time.monotonic()
        number = await self._region.load(key, lambda: self._load(key, began), [f"tag:{TAG_OF[key]}"])
        self._notebook.note(ReadRecord(began, key, number))

    async def _load(self, key: int, asked: float) -> int:
        load, (leased, why) = next(self._loads), self._lease_of(key)
        self._notebook.note(Loading(time.monotonic(), key, load, asked, leased, why))
        number = self._truth[key]
        await asyncio.sleep(random.random() * 0.003)
        self._notebook.note(Loaded(time.monotonic(), load))
        return number

    def _lease_of(self, key: int) -> tuple[tuple[float, float] | None, str]:
        """Return the lease under which a load begins, or why there is none."""
        core, leased = self._cache._core, LEASED.get()
        assert core.second is not None
        if not core.second.breaker.closed:  # a lease that there is may have come before the failure
            return None, "open"
        if FAILED.get():  # the one after the lease, too
            return None, "failed"
        if leased is not None:
            return leased, ""
        return None, "pending" if core.is_pending(self._region.text_of(key), [f"tag:{TAG_OF[key]}"]) else "waited"

    async def _set(self) -> None:
        key = random.choice(self._own)
        async with self._locks[key]:
            number = self._truth.raise_(key)
            if await self._region.store(key, number, [f"tag:{TAG_OF[key]}"]):
                self._notebook.note(Gone(time.monotonic(), key, number))

    async def _invalidate(self) -> None:
        key = random.choice(self._own)
        async with self._locks[key]:
            number = self._truth.raise_(key)
            if await self._region.invalidate(key):
                self._notebook.note(Gone(time.monotonic(), key, number))

    async def _invalidate_tag(self) -> None:
        key = random.choice(self._own)
        async with self._locks[key]:
            number = self._truth.raise_(key)
            if await self._cache.invalidate_tags(f"tag:{TAG_OF[key]}"):
                self._notebook.note(Gone(time.monotonic(), key, number))


async def main(arguments: list[str]) -> None:
    url, namespace, truth, records, number, workers, tasks, seconds = arguments
    notebook = Notebook(Path(records))
    store = NotedStore(url, namespace, notebook)
    cache = Cache("memory://?max_entries=30", store, backplane=RedisBackplane(url, namespace), namespace=namespace)
    own = range(int(number), CHANGED, int(workers))
    worker = Worker(cache, store, Truth(Path(truth)), notebook, own)
    until = time.monotonic() + float(seconds)
    await asyncio.gather(*(worker.act(until) for _ in range(int(tasks))))
    await cache.aclose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
