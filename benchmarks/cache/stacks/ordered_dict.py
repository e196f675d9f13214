"""What a team writes by hand: OrderedDict, least recently used out first, with a TTL."""

from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

from benchmarks.cache._stack import InMemory
from benchmarks.cache._work import TTL, Item, Load


@asynccontextmanager
async def in_memory(load: Load, capacity: int) -> AsyncIterator[InMemory]:
    """Yield it; two callers of one key both load."""
    values: OrderedDict[int, tuple[float, Item]] = OrderedDict()
    renew = values.move_to_end

    def put(key: int, item: Item) -> None:
        values[key] = (monotonic() + TTL, item)
        if len(values) > capacity:
            values.popitem(last=False)

    def take(key: int) -> Item | None:
        found = values.get(key)
        return found[1] if found is not None and monotonic() < found[0] else None

    async def call(key: int) -> Item:
        found = values.get(key)
        if found is not None and monotonic() < found[0]:
            renew(key)
            return found[1]
        item = await load(key)
        put(key, item)
        return item

    yield InMemory(call, put, take)
