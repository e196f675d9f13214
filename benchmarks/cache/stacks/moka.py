"""moka-py's decorator, without waiting for concurrent loads, which makes a task a miss."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from moka_py import Moka, cached

from benchmarks.cache._stack import InMemory
from benchmarks.cache._work import TTL, Item, Load


@asynccontextmanager
async def in_memory(load: Load, capacity: int) -> AsyncIterator[InMemory]:
    """Yield a bounded one that expires."""
    values: Moka[int, Item] = Moka(capacity, ttl=TTL)
    yield InMemory(cached(maxsize=capacity, ttl=TTL)(load), values.set, values.get)
