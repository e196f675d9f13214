"""cashews with explicit keys; protected (its lock against stampedes) by default, and without that."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from cashews import Cache

from benchmarks.cache._stack import InMemory
from benchmarks.cache._work import TTL, Item, Load

_CONNECTIONS = 100
_PREFIX = "cashews:"


@asynccontextmanager
async def _cache(url: str, **settings: Any) -> AsyncIterator[Cache]:
    cache = Cache()
    cache.setup(url, **settings)
    await cache.init()
    try:
        yield cache
    finally:
        await cache.close()


@asynccontextmanager
async def _in_memory(load: Load, capacity: int, *, protected: bool) -> AsyncIterator[InMemory]:
    async with _cache("mem://", size=capacity) as cache:

        async def put(key: int, item: Item) -> None:
            await cache.set(f"k:{key}", item, expire=TTL)

        async def take(key: int) -> Item | None:
            item: Item | None = await cache.get(f"k:{key}")
            return item

        yield InMemory(cache(ttl=TTL, key="i:{key}", protected=protected)(load), put, take)


@asynccontextmanager
async def in_memory(load: Load, capacity: int) -> AsyncIterator[InMemory]:
    """Yield its default."""
    async with _in_memory(load, capacity, protected=True) as made:
        yield made


@asynccontextmanager
async def in_memory_unprotected(load: Load, capacity: int) -> AsyncIterator[InMemory]:
    """Yield it without its lock."""
    async with _in_memory(load, capacity, protected=False) as made:
        yield made


@asynccontextmanager
async def over_redis(load: Load, address: str) -> AsyncIterator[Load]:
    """Yield a function over Redis, without the lock, with a connection for each read in flight."""
    async with _cache(f"redis://{address}/2", max_connections=_CONNECTIONS) as cache:
        yield cache(ttl=TTL, key="i:{key}", protected=False)(load)


@asynccontextmanager
async def client_side(load: Load, address: str) -> AsyncIterator[Load]:
    """Yield the same with values in memory, which Redis tells to forget."""
    settings = {"max_connections": _CONNECTIONS, "client_side": True, "client_side_prefix": _PREFIX}
    async with _cache(f"redis://{address}/3", **settings) as cache:
        yield cache(ttl=TTL, key="i:{key}", protected=False)(load)
