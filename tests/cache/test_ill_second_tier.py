"""A second tier that fails, hangs, forgets or holds nonsense, and what the cache does without it."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from hasten.cache import Cache, Policy, Read, Region, StoreError, codec_for
from hasten.cache.backplanes.memory import memory_backplanes
from hasten.cache.stores.memory import MemoryStore
from hasten.resilience import deadline
from tests.cache.processes import Processes, with_two
from tests.cache.running import passes, run
from tests.cache.test_region import Source
from tests.conftest import LoopFactory


def test_an_ill_store_is_gone_without(loop_factory: LoopFactory) -> None:
    """Values are loaded and kept shortly; nothing is raised into the request."""

    async def scenario(processes: Processes, source: Source) -> None:
        processes.store.error = StoreError("memory", "no")
        assert await processes.ours.load(7, source.load) == "value"
        assert await processes.ours.load(7, source.load) == "value"
        assert source.loads == 1
        entry = processes.ours.entries[7]
        assert entry.error_until - entry.loaded_at <= 1.0
        assert processes.caches[0].statistics().second_failures == 1

    with_two(loop_factory, scenario)


def test_an_ill_store_when_asked_to_raise(loop_factory: LoopFactory) -> None:
    """`on_error="raise"` raises what the store said, at once while the breaker is open."""

    async def scenario(processes: Processes, source: Source) -> None:
        processes.store.error = StoreError("memory", "no")
        with pytest.raises(StoreError, match="memory: no"):
            await processes.ours.load(7, source.load)
        with pytest.raises(StoreError, match="tried again soon"):
            await processes.ours.load(7, source.load)
        with pytest.raises(StoreError):
            await processes.ours.invalidate(7)

    with_two(loop_factory, scenario, on_error="raise")


def test_a_store_that_hangs(loop_factory: LoopFactory) -> None:
    """It costs its timeout once, and its wake-up is noticed."""

    async def scenario(processes: Processes, source: Source) -> None:
        processes.store.hangs = True
        for key in range(50):
            assert await processes.ours.load(key, source.load) == "value"
        assert processes.caches[0].statistics().second_failures == 1

    with_two(loop_factory, scenario, timeout=0.01)


class Gated(MemoryStore):
    """A store whose reads wait while the gate is shut, and fail when they are told to."""

    def __init__(self) -> None:
        super().__init__()
        self.fails = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def read(self, key: str, tags: Sequence[str] = ()) -> Read:
        if self.fails:
            raise StoreError(self.name, "no")
        await self.gate.wait()
        return await super().read(key, tags)


def test_nobody_waits_for_a_probe(loop_factory: LoopFactory) -> None:
    """Whether an ill store is well again is found out by a read of nobody's; then it is used again."""

    async def scenario() -> None:
        store, source = Gated(), Source()
        cache = Cache("memory://?max_entries=1", store, backplane=memory_backplanes(1)[0], timeout=60.0)
        region: Region[Any] = cache.region("things", Policy(ttl=60.0), codec=codec_for(Any))
        await region.load(7, source.load)
        await passes()
        breaker = cache._core.second.breaker  # type: ignore[union-attr]
        store.fails = True
        await region.load(8, source.load)
        store.fails = False
        store.gate.clear()
        while not breaker.statistics().probes:
            assert await region.load(source.loads, source.load) == "value"
        assert await region.load(9, source.load) == "value"
        assert not breaker.closed
        store.gate.set()
        while not breaker.closed:
            await asyncio.sleep(0)
        loads = source.loads
        assert await region.load(7, source.load) == "value"
        assert source.loads == loads
        await cache.aclose()

    run(loop_factory, scenario())


def test_an_invalidation_that_cannot_be_told(loop_factory: LoopFactory) -> None:
    """It is told as soon as the store is back; until then this process reads nothing that may be old."""

    async def scenario(processes: Processes, source: Source) -> None:
        await processes.ours.load(7, source.load, ["product:7"])
        await passes()
        processes.store.error = StoreError("memory", "no")
        source.value = "new"
        assert await processes.caches[0].invalidate_tags("product:7") is False
        assert processes.caches[0].statistics().pending == 1
        processes.store.error = None
        assert await processes.ours.load(7, source.load, ["product:7"]) == "new"
        while processes.caches[0].statistics().pending:
            await asyncio.sleep(0.01)
        assert await processes.theirs.load(7, source.load, ["product:7"]) == "new"

    with_two(loop_factory, scenario)


def test_what_the_second_tier_holds_means_nothing(loop_factory: LoopFactory) -> None:
    """Bytes that are no value are a miss, and are overwritten."""

    async def scenario(processes: Processes, source: Source) -> None:
        text = processes.ours.text_of(7)
        await processes.store.write(text, b"\x00nonsense", 60.0)
        assert await processes.ours.load(7, source.load) == "value"
        await passes()
        assert await processes.theirs.load(7, source.load) == "value"
        assert source.loads == 1

    with_two(loop_factory, scenario)


def test_a_store_that_has_lost_everything(loop_factory: LoopFactory) -> None:
    """Values are loaded again; none that was invalidated comes back."""

    async def scenario(processes: Processes, source: Source) -> None:
        await processes.ours.load(7, source.load, ["news"])
        await passes()
        processes.store.lose_everything()
        source.value = "new"
        await processes.caches[1].invalidate_tags("news")
        assert await processes.ours.load(7, source.load, ["news"]) == "new"

    with_two(loop_factory, scenario)


def test_a_caller_with_little_time(loop_factory: LoopFactory) -> None:
    """A store that hangs gets half of what the caller's deadline leaves, so that the loader has the rest of it."""

    async def scenario(processes: Processes, source: Source) -> None:
        processes.store.hangs = True
        async with deadline(0.5):
            assert await processes.ours.load(7, source.load) == "value"
        assert processes.caches[0].statistics().second_failures == 1
        assert await processes.ours.load(8, source.load) == "value"  # the breaker is open: nothing is waited for
        assert processes.caches[0].statistics().second_failures == 1

    with_two(loop_factory, scenario, timeout=0.9)


def test_a_caller_with_hardly_any_time(loop_factory: LoopFactory) -> None:
    """A store that had no time to answer is not blamed."""

    async def scenario(processes: Processes, source: Source) -> None:
        processes.store.hangs = True
        async with deadline(0.2):
            assert await processes.ours.load(7, source.load) == "value"
        processes.store.hangs = False
        assert await processes.theirs.load(8, source.load) == "value"
        await passes()
        loads = source.loads
        assert await processes.ours.load(8, source.load) == "value"
        assert source.loads == loads

    with_two(loop_factory, scenario, timeout=60.0)


def test_what_is_pending_when_the_cache_is_closed(loop_factory: LoopFactory, caplog: pytest.LogCaptureFixture) -> None:
    """The log says what others will not hear of."""

    async def scenario(processes: Processes, source: Source) -> None:
        processes.store.error = StoreError("memory", "no")
        assert await processes.ours.invalidate("key") is False
        await processes.caches[0].aclose()
        assert "1 invalidations could not be told" in caplog.text

    with_two(loop_factory, scenario)
