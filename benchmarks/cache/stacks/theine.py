"""theine's Memoize with a key function, which its documentation recommends, and without its lock for threads."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from theine import Cache, Memoize

from benchmarks.cache._stack import InMemory
from benchmarks.cache._work import TTL, Item, Load


def _key(key: int) -> int:
    return key


@asynccontextmanager
async def in_memory(load: Load, capacity: int) -> AsyncIterator[InMemory]:
    """Yield a bounded one that expires."""
    ttl = timedelta(seconds=TTL)
    decorated: Any = Memoize(capacity, ttl, nolock=True)(load)
    decorated.key(_key)
    values: Cache[int, Item] = Cache(capacity, nolock=True)

    def put(key: int, item: Item) -> None:
        values.set(key, item, ttl)

    def take(key: int) -> Item | None:
        return values.get(key)[0]

    yield InMemory(decorated, put, take)
