"""Two caches that share a second tier and a backplane, as the caches of two processes do."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from hasten.cache import Cache, Policy, Read, StoreError, StoreTimeout, codec_for
from hasten.cache._region import Region
from hasten.cache.backplanes.memory import MemoryBackplane, memory_backplanes
from hasten.cache.stores.memory import MemoryStore
from tests.cache.running import run
from tests.cache.test_region import Source
from tests.conftest import LoopFactory


class Shaky(MemoryStore):
    """A store that fails, waits, or counts what is asked when the test says so.

    Attributes:
      error: Raised by everything.
      hangs: Nothing is answered in time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.error: StoreError | None = None
        self.hangs = False

    async def read(self, key: str, tags: Sequence[str] = ()) -> Read:
        await self._mood()
        return await super().read(key, tags)

    async def invalidate(self, keys: Sequence[str] = (), tags: Sequence[str] = ()) -> tuple[int, ...]:
        await self._mood()
        return await super().invalidate(keys, tags)

    async def _mood(self) -> None:
        if self.hangs:
            await asyncio.sleep(self.timeout)
            raise StoreTimeout(self.name, "no answer")
        if self.error is not None:
            raise self.error


class Processes:
    """Two caches as two processes would have them.

    Attributes:
      store: What they share.
      ours, theirs: A region of each, of the same name.
    """

    def __init__(self, **options: Any) -> None:
        self.store = Shaky()
        self.planes: list[MemoryBackplane] = memory_backplanes(2, trust_seconds=60.0)
        self.caches = [Cache("memory://", self.store, backplane=plane, **options) for plane in self.planes]
        self.ours, self.theirs = (self._region(cache) for cache in self.caches)

    def _region(self, cache: Cache) -> Region[Any]:
        policy = Policy(ttl=60.0, stale=60.0, jitter=0.0, early=0.0)
        return cache.region("things", policy, codec=codec_for(Any))

    async def join(self) -> None:
        """Let both trust their memory."""
        for cache in self.caches:
            cache._core.start()
        while not all(cache.statistics().trusted for cache in self.caches):
            await asyncio.sleep(0)

    async def aclose(self) -> None:
        for cache in self.caches:
            await cache.aclose()


Scenario = Callable[[Processes, Source], Awaitable[None]]


def with_two(loop_factory: LoopFactory, scenario: Scenario, **options: Any) -> None:
    async def main() -> None:
        processes = Processes(**options)
        await processes.join()
        try:
            await scenario(processes, Source())
        finally:
            processes.store.error, processes.store.hangs = None, False
            await processes.aclose()

    run(loop_factory, main())
