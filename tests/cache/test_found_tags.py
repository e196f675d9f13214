"""Tags that only the loader finds, and invalidations by one of them at every moment of a load."""

import asyncio
from typing import Any

import pytest

from hasten.cache import Cache, Loaded, Policy
from hasten.cache._store import TooLarge
from tests.cache.processes import Processes, with_two
from tests.cache.running import passes
from tests.cache.test_region import Source, region_of, with_source
from tests.conftest import LoopFactory


def test_who_asks_after_an_invalidation(loop_factory: LoopFactory) -> None:
    """Who joins a load after an invalidation of a tag that it finds gets what was loaded after the invalidation."""

    async def scenario(source: Source) -> None:
        cache = Cache()
        region = region_of(cache)
        source.close()
        source.value = Loaded(value="old", tags=("news",))
        early = [asyncio.create_task(region.load("key", source.load)) for _ in range(2)]
        await passes()
        source.value = Loaded(value="new", tags=("news",))
        await cache.invalidate_tags("news")
        late = [asyncio.create_task(region.load("key", source.load)) for _ in range(3)]
        await passes()
        source.open()
        assert await asyncio.gather(*early) == ["old"] * 2
        assert await asyncio.gather(*late) == ["new"] * 3

    with_source(loop_factory, scenario)


def test_who_asks_after_an_invalidation_of_something_else(loop_factory: LoopFactory) -> None:
    """Invalidations of tags that a load does not find cost who joins it nothing."""

    async def scenario(source: Source) -> None:
        cache = Cache()
        region = region_of(cache)
        source.close()
        source.value = Loaded(value="value", tags=("news",))
        early = asyncio.create_task(region.load("key", source.load))
        await passes()
        await cache.invalidate_tags("other")
        late = asyncio.create_task(region.load("key", source.load))
        await passes()
        source.open()
        assert await early == await late == "value"
        assert source.loads == 1

    with_source(loop_factory, scenario)


def test_who_asks_after_an_invalidation_elsewhere(loop_factory: LoopFactory) -> None:
    """So it is with an invalidation by another process, whether this one knows the tag from before or not."""

    async def scenario(processes: Processes, source: Source) -> None:
        for version in range(3):  # the tag is found, asked for, known
            source.close()
            source.value = Loaded(value=f"old {version}", tags=("news",))
            early = asyncio.create_task(processes.ours.load(7, source.load))
            await passes()
            source.value = Loaded(value=f"new {version}", tags=("news",))
            assert await processes.caches[1].invalidate_tags("news")
            late = asyncio.create_task(processes.ours.load(7, source.load))
            there = asyncio.create_task(processes.theirs.load(7, source.load))
            await passes()
            source.open()
            assert await early == f"old {version}"
            assert await late == await there == f"new {version}"
            await processes.caches[1].invalidate_tags("news")

    with_two(loop_factory, scenario)


def test_who_asks_after_an_invalidation_while_loading_fails(loop_factory: LoopFactory) -> None:
    """What is served in the place of a load that fails is for nobody who asked after it became invalid."""
    policy = Policy(ttl=0.0, stale_if_error=60.0)

    async def scenario(processes: Processes, source: Source) -> None:
        source.value = Loaded(value="old", tags=("news",))
        for _ in range(2):
            assert await processes.theirs.refresh(7, source.load, policy=policy) == "old"
            await passes()
        fails = asyncio.Event()

        async def failing() -> Any:
            await fails.wait()
            raise OSError("no")

        early = asyncio.create_task(processes.ours.load(7, failing, policy=policy))
        await passes()
        assert await processes.caches[1].invalidate_tags("news")
        late = asyncio.create_task(processes.ours.load(7, failing, policy=policy))
        await passes()
        fails.set()
        assert await early == "old"
        with pytest.raises(OSError, match="no"):
            await late

    with_two(loop_factory, scenario)


def test_an_invalidation_that_cannot_be_told(loop_factory: LoopFactory) -> None:
    """Until it is told, what has the tag is not taken from the second tier, though this process learns there of it."""

    async def scenario(processes: Processes, source: Source) -> None:
        source.value = Loaded(value="old", tags=("news",))
        for _ in range(2):
            assert await processes.theirs.load(7, source.load) == "old"
            await passes()
        processes.store.error = TooLarge("memory", "no")  # for which the store is not blamed: it is asked again at once
        source.value = Loaded(value="new", tags=("news",))
        assert await processes.caches[0].invalidate_tags("news") is False
        processes.store.error = None
        assert await processes.ours.get(7) is None
        assert await processes.ours.load(7, source.load) == "new"

    with_two(loop_factory, scenario)


def test_tags_that_always_change(loop_factory: LoopFactory) -> None:
    """A key whose every load finds other tags takes no memory without end; all that one load finds are noted."""

    async def scenario(processes: Processes, source: Source) -> None:
        for number in range(400):
            source.value = Loaded(value=number, tags=(f"tag:{number}", "all"))
            assert await processes.ours.load(7, source.load) == number
        assert len(processes.ours.found_tags[7]) <= 256
        source.value = Loaded(value="many", tags=tuple(f"tag:{number}" for number in range(1000)))
        for _ in range(3):
            assert await processes.ours.load(8, source.load) == "many"
            await passes()
        assert source.loads == 402

    with_two(loop_factory, scenario)
