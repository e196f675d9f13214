"""cachebox's TTLCache behind its decorator; it hands out the cached object itself, as ours does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from cachebox import TTLCache, cached

from benchmarks.cache._stack import InMemory
from benchmarks.cache._work import TTL, Item, Load


def _key(key: int) -> int:
    return key


@asynccontextmanager
async def in_memory(load: Load, capacity: int) -> AsyncIterator[InMemory]:
    """Yield it with its lock for each key: the hit path without one is slower."""
    values: TTLCache[int, Item] = TTLCache(capacity, TTL)
    decorate: Any = cached(TTLCache(capacity, TTL), key_maker=_key, postprocess=None)
    yield InMemory(decorate(load), values.insert, values.get)
