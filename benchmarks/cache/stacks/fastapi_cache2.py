"""fastapi-cache2 with a key builder and pickle, its faster coder; no bound in memory."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi_cache import FastAPICache
from fastapi_cache.backends.inmemory import InMemoryBackend
from fastapi_cache.backends.redis import RedisBackend
from fastapi_cache.coder import PickleCoder
from fastapi_cache.decorator import cache
from redis.asyncio import Redis

from benchmarks.cache._stack import InMemory
from benchmarks.cache._work import TTL, Item, Load

_numbers = itertools.count()


def _key(_: object, namespace: str = "", *, args: tuple[Any, ...] = (), **__: object) -> str:
    return f"{namespace}:{args[0]}"


def _decorated(load: Load) -> Load:
    decorated: Any = cache(expire=TTL, coder=PickleCoder, key_builder=_key, namespace=f"{next(_numbers)}")(load)
    call: Load = decorated
    return call


@asynccontextmanager
async def in_memory(load: Load, _: int) -> AsyncIterator[InMemory]:
    """Yield its backend in memory, which has no bound."""
    backend = InMemoryBackend()
    FastAPICache.init(backend, prefix="fc")
    prefix = f"set{next(_numbers)}"

    async def put(key: int, item: Item) -> None:
        await backend.set(f"{prefix}:{key}", PickleCoder.encode(item), TTL)

    async def take(key: int) -> Item | None:
        data = await backend.get(f"{prefix}:{key}")
        return None if data is None else PickleCoder.decode(data)

    yield InMemory(_decorated(load), put, take)


@asynccontextmanager
async def over_redis(load: Load, address: str) -> AsyncIterator[Load]:
    """Yield a function over Redis; it asks for TTL and value in one pipeline."""
    client = Redis.from_url(f"redis://{address}/5")
    FastAPICache.init(RedisBackend(client), prefix="fc")
    try:
        yield _decorated(load)
    finally:
        await client.aclose()
