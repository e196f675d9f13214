"""What the second tier has is served although it is stale, and renewed behind: after a start, and without memory."""

import asyncio
from typing import Any

import pytest

from hasten.cache import Cache, Policy, Region, codec_for
from hasten.cache.backplanes.memory import memory_backplanes
from hasten.cache.stores.memory import MemoryStore
from tests.cache.running import passes, run
from tests.cache.test_region import Source
from tests.conftest import LoopFactory

STALE = Policy(ttl=0.0, stale=60.0, jitter=0.0)
FRESH = Policy(ttl=60.0, jitter=0.0)


def cache_over(store: MemoryStore, memory: str) -> Cache:
    return Cache(memory, store, backplane=memory_backplanes(1, trust_seconds=60.0)[0])


async def started(store: MemoryStore, memory: str) -> tuple[Cache, Region[Any]]:
    """Return a cache that trusts its memory, and a region of it."""
    cache = cache_over(store, memory)
    region: Region[Any] = cache.region("things", FRESH, codec=codec_for(Any))
    cache._core.start()
    while not cache.statistics().trusted:
        await asyncio.sleep(0)
    return cache, region


async def loaded_by_many(region: Region[Any], source: Source) -> list[Any]:
    """Return what 20 callers get who ask while a load is under way."""
    source.close()
    callers = [asyncio.create_task(region.load(7, source.load)) for _ in range(20)]
    await passes()
    source.open()
    return await asyncio.gather(*callers)


@pytest.mark.parametrize("entries", [0, 100])
def test_served_at_once(entries: int, loop_factory: LoopFactory) -> None:
    """A process that has just started serves what another left stale, before its one load has ended."""

    async def scenario() -> None:
        store, source = MemoryStore(), Source()
        before, region = await started(store, "memory://")
        await region.load(7, source.load, policy=STALE)
        await before.aclose()
        cache, region = await started(store, f"memory://?max_entries={entries}")
        source.value = "newer"
        source.close()
        for _ in range(3):
            assert await region.load(7, source.load) == "value"
            await passes()
        assert source.loads == 2
        source.open()
        await passes()
        assert await region.load(7, source.load) == "newer"
        assert source.loads == 2
        await cache.aclose()

    run(loop_factory, scenario())


@pytest.mark.parametrize("by", ["key", "tag"])
def test_not_after_an_invalidation(by: str, loop_factory: LoopFactory) -> None:
    """While a stale value is renewed an invalidation ends it: the next reader gets what is loaded after that."""

    async def scenario() -> None:
        store, source = MemoryStore(), Source()
        cache, region = await started(store, "memory://?max_entries=0")
        await region.load(7, source.load, ["seven"], policy=STALE)
        await passes()
        source.close()
        assert await region.load(7, source.load, ["seven"]) == "value"
        await passes()
        source.value = "newer"
        assert await (region.invalidate(7) if by == "key" else cache.invalidate_tags("seven"))
        reader = asyncio.create_task(region.load(7, source.load, ["seven"]))
        await passes()
        assert not reader.done()
        source.open()
        assert await reader == "newer"
        await cache.aclose()

    run(loop_factory, scenario())


def test_what_is_renewed_without_success(loop_factory: LoopFactory, caplog: pytest.LogCaptureFixture) -> None:
    """The stale value goes on being served, and each failure is said."""

    async def scenario() -> None:
        store, source = MemoryStore(), Source()
        cache, region = await started(store, "memory://?max_entries=0")
        await region.load(7, source.load, policy=STALE)
        await passes()
        source.error = ValueError("no")
        for _ in range(2):
            assert await region.load(7, source.load) == "value"
            await passes()
        await cache.aclose()

    run(loop_factory, scenario())
    assert caplog.text.count("ValueError: no") == 2


def test_nothing_stays_in_memory(loop_factory: LoopFactory) -> None:
    """With max_entries=0 each lookup asks the second tier, and callers of one moment still share a load."""

    async def scenario() -> None:
        store, source = MemoryStore(), Source()
        cache, region = await started(store, "memory://?max_entries=0")
        assert await loaded_by_many(region, source) == ["value"] * 20
        await passes()
        assert source.loads == 1
        assert region.peek(7) is None
        assert [await region.load(7, source.load) for _ in range(3)] == ["value"] * 3
        assert region.counts.second_hits == 3
        await region.store(7, "put")
        assert await region.load(7, source.load) == "put"
        assert (source.loads, cache.statistics().entries) == (1, 0)
        await cache.aclose()

    run(loop_factory, scenario())


def test_neither_tier(loop_factory: LoopFactory) -> None:
    """Without any place for values a function is loaded each time, once for all who call at the same time."""

    async def scenario() -> None:
        cache, source = Cache("memory://?max_entries=0"), Source()
        region: Region[Any] = cache.region("things", FRESH)
        for _ in range(2):
            assert await loaded_by_many(region, source) == ["value"] * 20
        assert (source.loads, cache.statistics().entries) == (2, 0)
        await cache.aclose()

    run(loop_factory, scenario())
