"""hasten.cache with its defaults. Where every read is to go to the server, its memory keeps nothing, like theirs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.cache._stack import InMemory
from benchmarks.cache._work import CAPACITY, TTL, Item, Load
from hasten.cache import Cache


@asynccontextmanager
async def in_memory(load: Load, capacity: int) -> AsyncIterator[InMemory]:
    """Yield a function with the memory alone behind it; explicit keys are text."""
    cache = Cache(f"memory://?max_entries={capacity}")
    call: Load = cache.cached(ttl=TTL)(load)

    async def put(key: int, item: Item) -> None:
        await cache.set(f"k:{key}", item, TTL)

    async def take(key: int) -> Item | None:
        item: Item | None = await cache.get(f"k:{key}")
        return item

    try:
        yield InMemory(call, put, take)
    finally:
        await cache.aclose()


@asynccontextmanager
async def _over(load: Load, second: str, entries: int) -> AsyncIterator[Load]:
    cache = Cache(f"memory://?max_entries={entries}", second)
    call: Load = cache.cached(ttl=TTL)(load)
    try:
        yield call
    finally:
        await cache.aclose()


@asynccontextmanager
async def over_redis(load: Load, address: str) -> AsyncIterator[Load]:
    """Yield a function whose reads all go to Redis."""
    async with _over(load, f"redis://{address}/0", 0) as call:
        yield call


@asynccontextmanager
async def in_both(load: Load, address: str) -> AsyncIterator[Load]:
    """Yield a function whose values are in memory, too."""
    async with _over(load, f"redis://{address}/1", CAPACITY) as call:
        yield call


@asynccontextmanager
async def over_memcached(load: Load, address: str) -> AsyncIterator[Load]:
    """Yield a function whose reads all go to Memcached."""
    async with _over(load, f"memcached://{address}", 0) as call:
        yield call
