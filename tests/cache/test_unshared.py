"""`cached(shared=False)`: values stay in each process's memory, and invalidations reach all of them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest
import redis

from hasten import ConfigurationError
from hasten.cache import Cache, CachedFunction, Loaded, codec_for
from hasten.cache.backplanes import memory_backplanes
from hasten.cache.stores import MemoryStore
from tests.cache.backplanes.conftest import mark
from tests.cache.running import run
from tests.conftest import LoopFactory

Pair = Callable[[], AbstractAsyncContextManager[tuple["Process", ...]]]


class Handle:
    """What no codec can restore."""


@dataclass
class Process:
    """A cache as one process has it, and a function whose values it keeps for itself."""

    cache: Cache
    loads: list[int] = field(default_factory=list)
    during: Callable[[], Any] | None = None

    def __post_init__(self) -> None:
        @self.cache.cached(ttl=60, name="handles", tags=lambda number: [f"handle:{number}"], shared=False)
        async def load(number: int) -> Handle | Loaded[Handle]:
            self.loads.append(number)
            if self.during is not None:
                await self.during()
            return Loaded(value=Handle(), tags=("handles",))

        self.load: CachedFunction[[int], Handle] = load


@asynccontextmanager
async def opened(*caches: Cache) -> AsyncIterator[tuple[Process, ...]]:
    """Give the processes when each trusts its memory, and close them in the end."""
    async with AsyncExitStack() as stack:
        for cache in caches:
            await stack.enter_async_context(aclosing(cache))
        await asyncio.gather(*(cache.get("the first use joins the others") for cache in caches))
        while not all(cache.statistics().trusted for cache in caches):
            await asyncio.sleep(0)
        yield tuple(map(Process, caches))


@pytest.fixture(params=["memory", "redis"])
def pair(request: pytest.FixtureRequest) -> Pair:
    """Return what opens two processes of one namespace, in memory and on a real Redis."""
    if request.param == "redis":
        url, namespace = request.getfixturevalue("redis_url"), uuid4().hex
        with redis.Redis.from_url(url, protocol=2) as server:
            mark(server, namespace)
        return lambda: opened(*(Cache("memory://", url, namespace=namespace, timeout=10.0) for _ in range(2)))
    store, planes = MemoryStore(), memory_backplanes(2)
    return lambda: opened(*(Cache("memory://", store, backplane=plane) for plane in planes))


def test_each_process_has_its_own(pair: Pair, loop_factory: LoopFactory) -> None:
    """A value that cannot be restored is kept as the object that it is, by each process that has loaded it."""

    async def scenario() -> None:
        async with pair() as (ours, theirs):
            handle = await ours.load(7)
            assert await ours.load(7) is ours.load.peek(7) is handle
            assert theirs.load.peek(7) is None
            assert await theirs.load(7) is not handle
            assert ours.loads == theirs.loads == [7]

    run(loop_factory, scenario())


@pytest.mark.parametrize("by", ["key", "tag", "found tag"])
def test_an_invalidation_reaches_all(by: str, pair: Pair, loop_factory: LoopFactory) -> None:
    """Whatever names the value, its key, a tag or a tag that its loader has found: every process drops it."""

    async def scenario() -> None:
        async with pair() as (ours, theirs):
            changes = {
                "key": lambda: ours.load.invalidate(7),
                "tag": lambda: ours.cache.invalidate_tags("handle:7"),
                "found tag": lambda: ours.cache.invalidate_tags("handles"),
            }
            for process in (ours, theirs):
                await process.load(7)
                await process.load(8)
            assert await changes[by]() is True
            left = by != "found tag"
            for process in (ours, theirs):
                assert process.load.peek(7) is None
                assert (process.load.peek(8) is not None) == left
                await process.load(7)
                assert process.loads == [7, 8, 7]

    run(loop_factory, scenario())


@pytest.mark.parametrize("tag", ["handle:7", "handles"])
def test_a_load_that_is_overtaken(tag: str, pair: Pair, loop_factory: LoopFactory) -> None:
    """A load that another process's invalidation overtakes gives its value to who waits, and nothing keeps it."""

    async def scenario() -> None:
        async with pair() as (ours, theirs):
            theirs.during = lambda: ours.cache.invalidate_tags(tag)
            assert isinstance(await theirs.load(7), Handle)
            assert theirs.load.peek(7) is None
            theirs.during = None
            assert await theirs.load(7) is theirs.load.peek(7)

    run(loop_factory, scenario())


def test_the_second_tier_gets_no_value(redis_url: str, loop_factory: LoopFactory) -> None:
    """In Redis there is neither a value nor a lease, whatever is loaded, refreshed and invalidated."""
    namespace, server = uuid4().hex, redis.Redis.from_url(redis_url, protocol=2)
    mark(server, namespace)

    async def scenario() -> None:
        async with opened(Cache("memory://", redis_url, namespace=namespace, timeout=10.0)) as (ours,):
            for number in range(3):
                await ours.load(number)
            await ours.load.refresh(0)
            assert await ours.load.invalidate(1) is True
            assert list(server.scan_iter(f"{namespace}:*")) == []

    with server:
        run(loop_factory, scenario())


def test_without_a_backplane(loop_factory: LoopFactory) -> None:
    """Where nobody tells what other processes make invalid, a value lives for a second at most."""

    async def scenario() -> None:
        async with aclosing(Cache("memory://", MemoryStore())) as cache:
            process = Process(cache)
            await process.load(7)
            entry = process.load.region.entries[7]
            assert entry.error_until - entry.loaded_at <= 1.0
            assert await process.load.invalidate(7) is False

    run(loop_factory, scenario())


def test_methods(loop_factory: LoopFactory) -> None:
    """An instance must say what it is called in other processes, which are told of its keys; in memory alone not."""

    def repository(cache: Cache) -> Any:
        class Repository:
            @cache.cached(ttl=60, shared=False)
            async def load(self) -> Handle:
                return Handle()

        return Repository()

    with pytest.raises(ConfigurationError, match="means nothing to other processes"):
        repository(Cache("memory://", MemoryStore())).load.key()
    assert isinstance(run(loop_factory, repository(Cache()).load()), Handle)


def test_a_codec_has_no_use() -> None:
    """A codec beside `shared=False` is refused, in one line that says why."""
    cache = Cache()
    with pytest.raises(ConfigurationError, match=r"cached\(shared=False\): codec= makes bytes for the second tier"):
        cache.cached(ttl=60, codec=codec_for(int), shared=False)
