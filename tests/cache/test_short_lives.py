"""A process that nobody tells of invalidations keeps what it has for a second: it then looks, and does not load."""

import asyncio

from hasten.cache import Cache, Policy, codec_for
from hasten.cache.stores.memory import MemoryStore
from tests.cache.running import run
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
