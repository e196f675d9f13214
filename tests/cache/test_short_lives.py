"""A process that nobody tells of invalidations keeps what it has for a second: it then looks, and does not load."""

import asyncio

from hasten.cache import Cache, Policy, Region, codec_for
from hasten.cache._backplane import UNTRUSTED_SECONDS
from hasten.cache.stores.memory import MemoryStore
from tests.cache.running import passes, run
from tests.conftest import LoopFactory


def test_a_life_that_is_cut(loop_factory: LoopFactory) -> None:
    """When memory may keep a value no longer, the second tier's is taken, though it would be time to refresh ahead."""

    async def scenario() -> None:
        cache = Cache("memory://", MemoryStore())  # without a backplane
        region = cache.region("things", Policy(ttl=600.0, early=1e9), codec=codec_for(int))

        async def load() -> int:
            return 7

        while not region.counts.second_hits and region.counts.loads < 2:
            assert await region.load("key", load) == 7
            await asyncio.sleep(0.01)
        assert region.counts.loads == 1
        await cache.aclose()

    run(loop_factory, scenario())


def test_a_load_that_takes_longer_than_that(loop_factory: LoopFactory) -> None:
    """Nobody tells us what it may have missed: who asks a second after its beginning shares the next load."""

    async def scenario() -> None:
        cache = Cache("memory://", MemoryStore())
        region: Region[str] = cache.region("things", Policy(ttl=600.0))  # in memory alone
        values, gate = ["old", "new"], asyncio.Event()

        async def load() -> str:
            value = values.pop(0)
            await gate.wait()
            await asyncio.sleep(0)
            return value

        first = asyncio.create_task(region.load("key", load))
        await passes()
        soon = asyncio.create_task(region.load("key", load))
        await passes()
        region.flights["key"].began -= UNTRUSTED_SECONDS
        later = [asyncio.create_task(region.load("key", load)) for _ in range(10)]
        await passes()
        gate.set()
        assert [await first, await soon] == ["old", "old"]
        assert await asyncio.gather(*later) == ["new"] * 10
        await cache.aclose()

    run(loop_factory, scenario())
