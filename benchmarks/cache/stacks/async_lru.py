"""async-lru; it has no set."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from async_lru import alru_cache

from benchmarks.cache._stack import InMemory
from benchmarks.cache._work import TTL, Load


def _key(key: int) -> int:
    return key


@asynccontextmanager
async def in_memory(load: Load, capacity: int) -> AsyncIterator[InMemory]:
    """Yield a bounded one that expires."""
    decorated: Any = alru_cache(maxsize=capacity, ttl=TTL, key=_key)(load)
    yield InMemory(decorated)
    await decorated.cache_close()
