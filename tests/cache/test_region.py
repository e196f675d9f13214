"""A region over memory alone: single-flight, stale values, invalidation during a load."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from hasten.cache import Cache, Loaded, LoadTimeout, Policy
from hasten.cache._region import Region
from hasten.resilience import DeadlineExceeded, deadline
from tests.cache.running import passes, run
from tests.conftest import LoopFactory


class Source:
    """What is loaded from: it counts, and waits or fails when the test says so.

    Attributes:
      loads: Loads that began.
      value: What is loaded.
      error: What is raised instead.
    """

    def __init__(self) -> None:
        self.loads = 0
        self.value: Any = "value"
        self.error: Exception | None = None
        self._open = asyncio.Event()
        self._open.set()

    def close(self) -> None:
        """Let loads wait from now on."""
        self._open.clear()

    def open(self) -> None:
        """Let loads go on."""
        self._open.set()

    async def load(self) -> Any:
        self.loads += 1
        value, error = self.value, self.error
        await self._open.wait()
        if error is not None:
            raise error
        return value


def region_of(cache: Cache, **policy: Any) -> Region[Any]:
    return cache.region("things", Policy(**{"ttl": 60.0, "jitter": 0.0, "early": 0.0, **policy}))


Scenario = Callable[[Source], Awaitable[None]]


def with_source(loop_factory: LoopFactory, scenario: Scenario) -> None:
    async def main() -> None:
        await scenario(Source())

    run(loop_factory, main())


def expire(region: Region[Any], key: object = "key", *, stale: bool = False) -> None:
    """Let a value's freshness be over, and the time in which it may be served stale, too, if `stale` says so."""
    entry = region.entries[key]
    entry.calm_until = entry.fresh_until = entry.renew_at = -math.inf
    if stale:
        entry.stale_until = -math.inf


def test_loaded_once(loop_factory: LoopFactory) -> None:
    """A value is loaded once, and None is a value like any other."""

    async def scenario(source: Source) -> None:
        region = region_of(Cache())
        source.value = None
        assert [await region.load("key", source.load) for _ in range(3)] == [None] * 3
        assert source.loads == 1
        assert (region.counts.misses, region.counts.hits, region.counts.loads) == (1, 2, 1)

    with_source(loop_factory, scenario)


def test_a_hundred_callers_and_one_load(loop_factory: LoopFactory) -> None:
    """Callers that come while a value is loaded share the load."""

    async def scenario(source: Source) -> None:
        region = region_of(Cache())
        source.close()
        callers = [asyncio.create_task(region.load("key", source.load)) for _ in range(100)]
        await passes()
        source.open()
        assert await asyncio.gather(*callers) == ["value"] * 100
        assert source.loads == 1
        assert region.counts.joined == 99
        assert region.flights == {}

    with_source(loop_factory, scenario)


def test_a_failure_is_not_kept(loop_factory: LoopFactory) -> None:
    """Callers of one failed load get an exception each; the next caller loads again."""

    async def scenario(source: Source) -> None:
        region = region_of(Cache())
        source.close()
        source.error = ValueError("no")
        callers = [asyncio.create_task(region.load("key", source.load)) for _ in range(3)]
        await passes()
        source.open()
        errors = await asyncio.gather(*callers, return_exceptions=True)
        assert [str(error) for error in errors] == ["no"] * 3
        assert len({id(error) for error in errors}) == 3
        source.error = None
        assert await region.load("key", source.load) == "value"
        assert source.loads == 2
        assert region.counts.load_errors == 1

    with_source(loop_factory, scenario)


def test_invalidated_during_a_load(loop_factory: LoopFactory) -> None:
    """The load's callers get its value, it is not kept, and who comes later loads what is new."""

    async def scenario(source: Source) -> None:
        region = region_of(Cache())
        source.close()
        source.value = "old"
        early = asyncio.create_task(region.load("key", source.load))
        await passes()
        source.value = "new"
        assert await region.invalidate("key")
        late = asyncio.create_task(region.load("key", source.load))
        await passes()
        source.open()
        assert await early == "old"
        assert await late == "new"
        assert await region.load("key", source.load) == "new"
        assert source.loads == 2
        assert region.counts.detached == 1

    with_source(loop_factory, scenario)


def test_a_tag_invalidated_during_a_load(loop_factory: LoopFactory) -> None:
    """So it is by a tag, also by one that only the loader finds."""

    async def scenario(source: Source) -> None:
        for tags, found in ((["news"], ()), ([], ("news",)), (["a"], ("news", "b"))):
            cache = Cache()
            region = region_of(cache)
            source.close()
            source.value = Loaded(value="old", tags=found)
            early = asyncio.create_task(region.load("key", source.load, tags))
            await passes()
            source.value = Loaded(value="new", tags=found)
            await cache.invalidate_tags("other")
            await cache.invalidate_tags("news", "more")
            late = asyncio.create_task(region.load("key", source.load, tags))
            await passes()
            source.open()
            assert await early == "old"
            assert await late == "new"
            assert await region.load("key", source.load, tags) == "new"

    with_source(loop_factory, scenario)


def test_tags(loop_factory: LoopFactory) -> None:
    """Values with a tag are gone when it is invalidated, others stay."""

    async def scenario(source: Source) -> None:
        cache = Cache()
        region = region_of(cache)
        await region.load(1, source.load, ["product:1", "all"])
        await region.load(2, source.load, ["product:2", "all"])
        await region.load(3, source.load)
        assert await cache.invalidate_tags("product:1", "product:9")
        assert [region.peek(key) is not None for key in (1, 2, 3)] == [False, True, True]
        assert await cache.invalidate_tags("all")
        assert [region.peek(key) is not None for key in (1, 2, 3)] == [False, False, True]
        await region.load(1, source.load, ["product:1", "all"])
        assert region.peek(1) is not None

    with_source(loop_factory, scenario)


def test_stale_while_revalidate(loop_factory: LoopFactory) -> None:
    """A stale value is served at once, by everybody, while one load renews it."""

    async def scenario(source: Source) -> None:
        region = region_of(Cache(), stale=60.0)
        await region.load("key", source.load)
        expire(region)
        source.value = "renewed"
        source.close()
        assert [await region.load("key", source.load) for _ in range(50)] == ["value"] * 50
        await passes()
        assert source.loads == 2
        source.open()
        await passes()
        assert await region.load("key", source.load) == "renewed"
        assert source.loads == 2
        assert region.counts.stale == 50

    with_source(loop_factory, scenario)


def test_a_renewal_that_fails(loop_factory: LoopFactory, caplog: pytest.LogCaptureFixture) -> None:
    """The stale value goes on being served, the failure is logged, and not every reader tries again."""

    async def scenario(source: Source) -> None:
        region = region_of(Cache(), stale=60.0)
        await region.load("key", source.load)
        expire(region)
        source.error = ValueError("source is ill")
        for _ in range(20):
            assert await region.load("key", source.load) == "value"
            await passes()
        assert source.loads == 2

    with_source(loop_factory, scenario)
    assert [record.getMessage() for record in caplog.records] == ["things: ValueError: source is ill"]


def test_stale_if_error(loop_factory: LoopFactory) -> None:
    """When loading fails, what is too old to be served otherwise is served; when it does not, the new value is."""

    async def scenario(source: Source) -> None:
        region = region_of(Cache(), stale_if_error=60.0)
        await region.load("key", source.load)
        expire(region, stale=True)
        source.error = ValueError("source is ill")
        assert await region.load("key", source.load) == "value"
        assert region.counts.stale_on_error == 1
        loads = source.loads
        assert await region.load("key", source.load) == "value"  # an ill source is not asked by each caller
        assert source.loads == loads
        expire(region, stale=True)
        source.error, source.value = None, "new"
        assert await region.load("key", source.load) == "new"

    with_source(loop_factory, scenario)


def test_many_who_get_what_is_stale(loop_factory: LoopFactory, caplog: pytest.LogCaptureFixture) -> None:
    """A load that fails under many callers is one line in the log."""

    async def scenario(source: Source) -> None:
        region = region_of(Cache(), stale_if_error=60.0)
        await region.load("key", source.load)
        expire(region, stale=True)
        source.error = ValueError("source is ill")
        source.close()
        callers = [asyncio.create_task(region.load("key", source.load)) for _ in range(20)]
        await passes()
        source.open()
        assert await asyncio.gather(*callers) == ["value"] * 20
        assert [record.message for record in caplog.records] == [f"{region.name}: ValueError: source is ill"]

    with_source(loop_factory, scenario)


def test_the_soft_timeout(loop_factory: LoopFactory) -> None:
    """Who has waited for so long gets the stale value, and the load goes on for the next."""

    async def scenario(source: Source) -> None:
        region = region_of(Cache(), stale_if_error=60.0, soft_timeout=0.01)
        await region.load("key", source.load)
        expire(region, stale=True)
        source.value = "new"
        source.close()
        assert await region.load("key", source.load) == "value"
        source.open()
        await passes()
        assert await region.load("key", source.load) == "new"
        assert source.loads == 2

    with_source(loop_factory, scenario)


def test_the_hard_timeout(loop_factory: LoopFactory) -> None:
    """A load that takes longer is ended for all who wait, with an error that says so."""

    async def scenario(source: Source) -> None:
        region = region_of(Cache(), hard_timeout=0.02)
        source.close()
        callers = [asyncio.create_task(region.load("key", source.load)) for _ in range(3)]
        errors = await asyncio.gather(*callers, return_exceptions=True)
        assert {str(error) for error in errors} == {"things: not loaded within 0.02 s"}
        assert {type(error) for error in errors} == {LoadTimeout}
        assert source.loads == 1

    with_source(loop_factory, scenario)


def test_the_leader_has_less_time(loop_factory: LoopFactory) -> None:
    """The deadline of who leads ends its own waiting; another, who has more time, loads then."""

    async def scenario(source: Source) -> None:
        region = region_of(Cache())
        source.close()

        async def hurried() -> Any:
            async with deadline(0.02):
                return await region.load("key", source.load)

        leader = asyncio.create_task(hurried())
        await passes()
        follower = asyncio.create_task(region.load("key", source.load))
        with pytest.raises(DeadlineExceeded):
            await leader
        await passes()
        source.open()
        assert await follower == "value"
        assert source.loads == 2

    with_source(loop_factory, scenario)


def test_what_is_not_stored_is_not_shared(loop_factory: LoopFactory) -> None:
    """A value for one caller alone goes to no other: each who waited loads for itself."""

    async def scenario(source: Source) -> None:
        region = region_of(Cache())
        source.close()
        numbers = iter(range(10))

        async def private() -> Loaded[int]:
            number = next(numbers)
            await source.load()
            return Loaded(value=number, store=False)

        callers = [asyncio.create_task(region.load("key", private)) for _ in range(5)]
        await passes()
        source.open()
        assert sorted(await asyncio.gather(*callers)) == [0, 1, 2, 3, 4]
        assert region.peek("key") is None

    with_source(loop_factory, scenario)


def test_refresh(loop_factory: LoopFactory) -> None:
    """It loads whatever is there, and does not take the value of a load that began before."""

    async def scenario(source: Source) -> None:
        region = region_of(Cache())
        await region.load("key", source.load)
        source.value = "new"
        assert await region.refresh("key", source.load) == "new"
        await region.invalidate("key")
        source.close()
        early = asyncio.create_task(region.load("key", source.load))
        await passes()
        source.value = "newest"
        refreshed = asyncio.create_task(region.refresh("key", source.load))
        await passes()
        source.open()
        assert await refreshed == "newest"
        assert await early == "new"
        assert await region.load("key", source.load) == "newest"

    with_source(loop_factory, scenario)


def test_values_that_are_put(loop_factory: LoopFactory) -> None:
    """What is set is there for its time, with its tags, and a load under way does not overwrite it."""

    async def scenario(source: Source) -> None:
        cache = Cache()
        assert await cache.get("key") is None
        assert await cache.get("key", 3) == 3
        source.close()
        early = asyncio.create_task(cache.get_or_set("key", source.load, ttl=60))
        await passes()
        assert await cache.set("key", "mine", ttl=60, tags=["news"])
        source.open()
        assert await early == "value"
        assert await cache.get("key") == "mine"
        assert await cache.get_or_set("key", source.load, ttl=60) == "mine"
        await cache.invalidate_tags("news")
        assert await cache.get("key") is None
        await cache.set("key", "mine", ttl=60)
        await cache.invalidate("key")
        assert await cache.get("key") is None

    with_source(loop_factory, scenario)


def test_none_has_its_own_time(loop_factory: LoopFactory) -> None:
    """`none_ttl` says how long it is known that there is nothing."""

    async def scenario(source: Source) -> None:
        region = region_of(Cache(), none_ttl=0.0)
        source.value = None
        await region.load("key", source.load)
        assert region.peek("key") is None
        source.value = "value"
        await region.load("key", source.load)
        assert region.peek("key") is not None

    with_source(loop_factory, scenario)


def test_loads_at_once_are_bounded(loop_factory: LoopFactory) -> None:
    """No more loaders run at once than `max_loads`, and all get their turn."""

    async def scenario(source: Source) -> None:
        region = region_of(Cache(max_loads=3))
        source.close()
        callers = [asyncio.create_task(region.load(key, source.load)) for key in range(10)]
        await passes()
        assert source.loads == 3
        source.open()
        assert await asyncio.gather(*callers) == ["value"] * 10
        assert source.loads == 10

    with_source(loop_factory, scenario)


def test_names_are_taken_once() -> None:
    """Two regions of one name would share keys: the second is refused."""
    cache = Cache()
    region_of(cache)
    with pytest.raises(Exception, match="the name is taken"):
        region_of(cache)
