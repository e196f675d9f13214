"""Caches that share a second tier and a backplane: one load for all, nothing stale anywhere."""

import asyncio
from contextlib import aclosing
from typing import Any
from uuid import uuid4

import pytest

from hasten._core.errors import ConfigurationError
from hasten.cache import Cache, Loaded, Policy, Region, StoreError, codec_for
from hasten.cache.backplanes.memory import memory_backplanes
from hasten.cache.stores.memory import MemoryStore
from tests.cache.processes import Processes, with_two
from tests.cache.running import passes, run
from tests.cache.test_region import Source, expire
from tests.conftest import LoopFactory


def test_loaded_once_for_all(loop_factory: LoopFactory) -> None:
    """What one process has loaded the other takes from the second tier, with its time and its tags."""

    async def scenario(processes: Processes, source: Source) -> None:
        source.value = {"name": "chair", "price": 3}
        assert await processes.ours.load(7, source.load, ["product:7"]) == source.value
        await passes()
        assert await processes.theirs.load(7, source.load, ["product:7"]) == source.value
        assert source.loads == 1
        assert processes.theirs.counts.second_hits == 1
        ours, theirs = processes.ours.entries[7], processes.theirs.entries[7]
        assert abs(ours.fresh_until - theirs.fresh_until) < 1.0
        assert ours.tags == theirs.tags

    with_two(loop_factory, scenario)


def test_one_load_in_all_processes(loop_factory: LoopFactory) -> None:
    """Callers in both processes that want a cold key at once make one load."""

    async def scenario(processes: Processes, source: Source) -> None:
        source.close()
        regions = [processes.ours, processes.theirs]
        callers = [asyncio.create_task(region.load(7, source.load)) for region in regions * 20]
        await passes(50)
        source.open()
        assert await asyncio.gather(*callers) == ["value"] * 40
        assert source.loads == 1

    with_two(loop_factory, scenario)


def test_a_leader_that_is_cancelled(loop_factory: LoopFactory) -> None:
    """Its lease ends, and the other process loads."""

    async def scenario(processes: Processes, source: Source) -> None:
        source.close()
        leader = asyncio.create_task(processes.ours.load(7, source.load))
        await passes()
        other = asyncio.create_task(processes.theirs.load(7, source.load))
        await passes()
        leader.cancel()
        await asyncio.gather(leader, return_exceptions=True)
        source.open()
        assert await other == "value"
        assert source.loads == 2

    with_two(loop_factory, scenario)


@pytest.mark.parametrize("by", ["key", "tag"])
def test_an_invalidation_reaches_every_process(by: str, loop_factory: LoopFactory) -> None:
    """When it is complete no process has the old value, in memory or in the second tier."""

    async def scenario(processes: Processes, source: Source) -> None:
        for region in (processes.ours, processes.theirs):
            await region.load(7, source.load, ["product:7"])
            await passes()
        source.value = "new"
        done = processes.ours.invalidate(7) if by == "key" else processes.caches[0].invalidate_tags("product:7")
        assert await done is True
        assert processes.theirs.peek(7) is None
        assert await processes.theirs.load(7, source.load, ["product:7"]) == "new"
        await passes()
        assert await processes.ours.load(7, source.load, ["product:7"]) == "new"
        assert source.loads == 2

    with_two(loop_factory, scenario)


@pytest.mark.parametrize("by", ["key", "tag"])
def test_an_invalidation_overtakes_a_load_elsewhere(by: str, loop_factory: LoopFactory) -> None:
    """The other process's load gives its value to its callers, and leaves it nowhere."""

    async def scenario(processes: Processes, source: Source) -> None:
        source.close()
        source.value = "old"
        early = asyncio.create_task(processes.theirs.load(7, source.load, ["product:7"]))
        await passes()
        source.value = "new"
        done = processes.ours.invalidate(7) if by == "key" else processes.caches[0].invalidate_tags("product:7")
        assert await done is True
        late = asyncio.create_task(processes.theirs.load(7, source.load, ["product:7"]))
        await passes()
        source.open()
        assert await early == "old"
        assert await late == "new"
        for region in (processes.ours, processes.theirs):
            assert await region.load(7, source.load, ["product:7"]) == "new"

    with_two(loop_factory, scenario)


def test_a_value_that_is_put(loop_factory: LoopFactory) -> None:
    """It takes the place of what every process has, and of what another one loads."""

    async def scenario(processes: Processes, source: Source) -> None:
        await processes.theirs.load(7, source.load)
        assert await processes.ours.store(7, "mine", ["news"]) is True
        assert await processes.theirs.load(7, source.load) == "mine"
        source.close()
        await processes.ours.invalidate(7)
        early = asyncio.create_task(processes.theirs.load(7, source.load))
        await passes()
        assert await processes.ours.store(7, "newer") is True
        source.open()
        assert await early == "value"
        await passes()
        assert await processes.theirs.get(7) == await processes.ours.get(7) == "newer"

    with_two(loop_factory, scenario)


def test_tags_that_a_loader_finds(loop_factory: LoopFactory) -> None:
    """What has tags nobody knew before is kept from the second load on, when their versions are asked for first."""

    async def scenario(processes: Processes, source: Source) -> None:
        source.value = Loaded(value="page", tags=("news",))
        for _ in range(3):
            assert await processes.ours.load(7, source.load) == "page"
            await passes()
        assert source.loads == 2
        await processes.caches[1].invalidate_tags("news")
        assert processes.ours.peek(7) is None

    with_two(loop_factory, scenario)


@pytest.mark.parametrize("tag", ["city:São Paulo", "two words", "x" * 500, "line\nbreak", ""])
def test_tags_of_any_text(tag: str, loop_factory: LoopFactory) -> None:
    """A tag may be any text, whatever the second tier takes."""

    async def scenario(processes: Processes, source: Source) -> None:
        await processes.ours.load(7, source.load, [tag])
        await passes()
        assert await processes.theirs.load(7, source.load, [tag]) == "value"
        assert source.loads == 1
        assert await processes.caches[0].invalidate_tags(tag) is True
        assert processes.theirs.peek(7) is None

    with_two(loop_factory, scenario)


def test_an_invalidation_whose_caller_is_cancelled(loop_factory: LoopFactory) -> None:
    """It goes on: who has committed a change and is cancelled then leaves no old value behind."""

    async def scenario(processes: Processes, source: Source) -> None:
        for region in (processes.ours, processes.theirs):
            await region.load(7, source.load)
            await passes()
        task = asyncio.create_task(processes.ours.invalidate(7))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        while processes.theirs.peek(7) is not None:
            await asyncio.sleep(0)
        source.value = "new"
        assert await processes.theirs.load(7, source.load) == "new"

    with_two(loop_factory, scenario)


def test_a_member_that_is_cut_off(loop_factory: LoopFactory) -> None:
    """It forgets what it has, and keeps nothing until it is back: nobody would wait for it."""

    async def scenario(processes: Processes, source: Source) -> None:
        await processes.theirs.load(7, source.load)
        processes.planes[1].cut_off()
        await passes()
        assert not processes.caches[1].statistics().trusted
        assert processes.theirs.peek(7) is None
        await processes.theirs.load(7, source.load)
        assert processes.theirs.entries == {}
        processes.planes[1].restore()
        while not processes.caches[1].statistics().trusted:
            await asyncio.sleep(0)
        await processes.theirs.load(7, source.load)
        assert processes.theirs.peek(7) is not None

    with_two(loop_factory, scenario)


def test_a_load_that_began_before_us(loop_factory: LoopFactory) -> None:
    """Without trust it may have read what is invalid by now: those who ask meanwhile share the next load, not this."""

    async def scenario(processes: Processes, source: Source) -> None:
        processes.store.error = StoreError("memory", "no")
        processes.planes[1].cut_off()
        values, gate = ["old", "new"], asyncio.Event()

        async def load() -> str:
            value = values.pop(0)
            await gate.wait()
            await asyncio.sleep(0)
            return value

        first = asyncio.create_task(processes.theirs.load(7, load))
        await passes()
        later = [asyncio.create_task(processes.theirs.load(7, load)) for _ in range(10)]
        await passes()
        gate.set()
        assert await first == "old"
        assert await asyncio.gather(*later) == ["new"] * 10

    with_two(loop_factory, scenario)


def test_a_process_that_stands_still(loop_factory: LoopFactory) -> None:
    """When its trust is over it serves nothing that it has; when it hears again it does, but for what is invalid."""

    async def scenario() -> None:
        store, planes = MemoryStore(), memory_backplanes(2, trust_seconds=0.2)
        caches = [Cache(second=store, backplane=plane) for plane in planes]
        ours, theirs = (cache.region("things", Policy(ttl=60.0), codec=codec_for(Any)) for cache in caches)
        for cache in caches:
            cache._core.start()
        while not all(cache.statistics().trusted for cache in caches):
            await asyncio.sleep(0)
        source = Source()
        for key in (7, 8):
            await theirs.load(key, source.load)
        planes[1].hold()
        assert await ours.invalidate(7)
        assert theirs.peek(7) is theirs.peek(8) is None
        planes[1].restore()
        assert theirs.peek(7) is None
        assert theirs.peek(8) is not None
        for cache in caches:
            await cache.aclose()

    run(loop_factory, scenario())


def test_a_renewal_takes_what_another_has_renewed(loop_factory: LoopFactory) -> None:
    """Two processes whose value is stale make one load: the second takes the first one's."""

    async def scenario(processes: Processes, source: Source) -> None:
        for region in (processes.ours, processes.theirs):
            await region.load(7, source.load)
            await passes()
        source.value = "new"
        assert await processes.ours.refresh(7, source.load) == "new"
        await passes()
        expire(processes.theirs, 7)
        assert await processes.theirs.load(7, source.load) == "value"
        await passes(50)
        assert await processes.theirs.load(7, source.load) == "new"
        assert source.loads == 2

    with_two(loop_factory, scenario)


def test_set_is_the_first_thing_done(redis_url: str, loop_factory: LoopFactory) -> None:
    """A process whose first operation sets a value joins the backplane for it, and keeps the value."""

    async def scenario() -> None:
        async with aclosing(Cache(second=redis_url, namespace=uuid4().hex, timeout=10.0)) as cache:
            assert await cache.set("key", 1, ttl=60.0) is True
            assert await cache.get("key") == 1

    run(loop_factory, scenario())


def test_a_value_made_of_another(loop_factory: LoopFactory) -> None:
    """A value that is made of a cached one, with its tags, is not made of the old one and taken for new.

    The other process has the tag's new version from its lease before the announcement reaches it.
    """

    async def scenario() -> None:
        store, backplanes = MemoryStore(), memory_backplanes(2, trust_seconds=60.0)
        ours, _ = caches = [Cache(second=store, backplane=backplane) for backplane in backplanes]
        inner = Source()
        inners: list[Region[Any]] = [cache.region("inner", Policy(ttl=60.0), codec=codec_for(str)) for cache in caches]
        outers: list[Region[Any]] = [cache.region("outer", Policy(ttl=60.0), codec=codec_for(str)) for cache in caches]

        async def made_of_inner() -> str:
            value: str = await inners[1].load("key", inner.load, ["tag"])
            return value

        for cache in caches:
            await cache.invalidate("joins the backplane")
        assert await inners[1].load("key", inner.load, ["tag"]) == "value"
        assert inners[1].peek("key") is not None
        inner.value = "new"
        backplanes[1].hold()
        told = asyncio.create_task(ours.invalidate_tags("tag"))
        await passes()
        await outers[1].load("key", made_of_inner, ["tag"])  # it may be either value: the others do not know yet
        backplanes[1].restore()
        assert await told is True
        assert await outers[1].load("key", made_of_inner, ["tag"]) == "new"
        for cache in caches:
            await cache.aclose()

    run(loop_factory, scenario())


def test_invalidating_is_the_first_thing_done(loop_factory: LoopFactory) -> None:
    """A process whose first operation invalidates joins the backplane for it: True says that the others know."""

    async def scenario() -> None:
        store, backplanes = MemoryStore(), memory_backplanes(2)
        first, second = (Cache(second=store, backplane=backplane) for backplane in backplanes)
        assert await first.invalidate("key") is True
        assert await second.invalidate_tags("tag") is True
        await first.aclose()
        await second.aclose()

    run(loop_factory, scenario())


def test_values_that_stay_in_their_process(loop_factory: LoopFactory) -> None:
    """A region without a codec keeps its values beside a second tier; invalidating and setting them reaches all."""

    async def scenario() -> None:
        store, backplanes = MemoryStore(), memory_backplanes(2)
        caches = [Cache(second=store, backplane=backplane) for backplane in backplanes]
        regions: list[Region[Any]] = [cache.region("objects", Policy(ttl=60.0)) for cache in caches]
        ours, theirs = regions
        source = Source()
        assert await ours.load("key", source.load) == await theirs.load("key", source.load) == "value"
        assert source.loads == 2
        source.value = "new"
        assert await ours.invalidate("key") is True
        assert await theirs.load("key", source.load) == "new"
        assert await ours.store("key", "put") is True
        assert await ours.load("key", source.load) == "put"
        assert await theirs.load("key", source.load) == "new"
        assert source.loads == 4
        for cache in caches:
            await cache.aclose()

    run(loop_factory, scenario())


def test_two_event_loops(loop_factory: LoopFactory) -> None:
    """A cache with connections says so when it is used in a second loop."""
    cache = Cache(second=MemoryStore())

    async def load() -> int:
        return await cache.get_or_set("key", Source().load, ttl=0.0)

    run(loop_factory, load())
    with pytest.raises(ConfigurationError, match="second event loop"):
        run(loop_factory, load())
