"""aiocache with explicit keys: no bound in memory; pickle over Redis and Memcached."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiocache import Cache, cached  # type: ignore[import-untyped]
from aiocache.serializers import PickleSerializer  # type: ignore[import-untyped]

from benchmarks.cache._stack import InMemory
from benchmarks.cache._work import TTL, Load

_CONNECTIONS = 100


def _key(_: object, key: int) -> str:
    return f"i:{key}"


@asynccontextmanager
async def _decorated(load: Load, **settings: Any) -> AsyncIterator[Load]:
    decorated: Any = cached(ttl=TTL, key_builder=_key, **settings)(load)
    try:
        yield decorated
    finally:
        await decorated.cache.close()


@asynccontextmanager
async def in_memory(load: Load, _: int) -> AsyncIterator[InMemory]:
    """Yield SimpleMemoryCache, which has no bound."""
    store: Any = Cache(Cache.MEMORY, namespace=f"{id(load)}")  # its memory is one of the class

    async def put(key: int, item: object) -> None:
        await store.set(f"k:{key}", item, ttl=TTL)

    async def take(key: int) -> Any:
        return await store.get(f"k:{key}")

    async with _decorated(load, namespace=f"{id(load)}") as call:
        yield InMemory(call, put, take)


@asynccontextmanager
async def over_redis(load: Load, address: str) -> AsyncIterator[Load]:
    """Yield a function with a connection for each read in flight."""
    host, port = address.rsplit(":", 1)
    place = {"endpoint": host, "port": int(port), "db": 4, "pool_max_size": _CONNECTIONS}
    async with _decorated(load, cache=Cache.REDIS, serializer=PickleSerializer(), **place) as call:
        yield call


@asynccontextmanager
async def over_memcached(load: Load, address: str) -> AsyncIterator[Load]:
    """Yield a function with a connection for each read in flight."""
    host, port = address.rsplit(":", 1)
    place = {"endpoint": host, "port": int(port), "pool_size": _CONNECTIONS, "namespace": "aiocache:"}
    async with _decorated(load, cache=Cache.MEMCACHED, serializer=PickleSerializer(), **place) as call:
        yield call
