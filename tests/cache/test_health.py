"""`cache.statistics().breaker`: whether the second tier is asked, and what its answers were like."""

import asyncio
from contextlib import aclosing

from hasten.cache import Cache, StoreError
from hasten.resilience import BreakerStatistics
from tests.cache.backplanes.servers import RedisServer
from tests.cache.processes import Processes, with_two
from tests.cache.running import run
from tests.cache.test_region import Source
from tests.conftest import LoopFactory


def health(cache: Cache) -> BreakerStatistics:
    found = cache.statistics().breaker
    assert found is not None
    return found


def test_memory_alone_has_none() -> None:
    """Without a second tier there is nothing to be ill."""
    assert Cache().statistics().breaker is None


def test_what_was_asked(loop_factory: LoopFactory) -> None:
    """Answers, the failure that opens the breaker, and look-ups that it holds back are counted."""

    async def scenario(processes: Processes, source: Source) -> None:
        cache = processes.caches[0]
        await processes.ours.get("nothing")
        well = health(cache)
        assert (well.state, well.answers, well.failures) == ("closed", 1, 0)
        processes.store.error = StoreError("memory", "no")
        for key in range(3):
            await processes.ours.load(key, source.load)
        ill = health(cache)
        assert (ill.state, ill.failures, ill.timeouts, ill.opened, ill.refused) == ("open", 1, 0, 1, 2)
        assert (well.state, well.refused) == ("closed", 0)  # a snapshot

    with_two(loop_factory, scenario)


def test_redis_that_is_gone_and_comes_back(own_redis: RedisServer, loop_factory: LoopFactory) -> None:
    """The breaker is open while Redis is gone, and closed again when it is back and was asked."""

    async def scenario() -> None:
        async with aclosing(Cache("memory://", own_redis.url, timeout=5.0)) as cache, asyncio.timeout(20.0):
            await cache.get("key")
            assert health(cache).state == "closed"
            own_redis.kill()
            await cache.get("key")
            assert health(cache).state == "open"
            own_redis.start()
            while health(cache).state != "closed":
                await cache.get("key")
                await asyncio.sleep(0.01)
            assert health(cache).opened == 1
            assert health(cache).probes >= 1

    run(loop_factory, scenario())
