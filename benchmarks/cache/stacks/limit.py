"""What no cache can beat: a dict behind an async function; emcache's own batches of GETs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import emcache
import msgspec

from benchmarks.cache._stack import InMemory
from benchmarks.cache._work import TTL, Item, Load


@asynccontextmanager
async def in_memory(load: Load, capacity: int) -> AsyncIterator[InMemory]:
    """Yield a dict without expiry, which is emptied when it is full."""
    values: dict[int, Item] = {}

    async def call(key: int) -> Item:
        item = values.get(key)
        if item is None:
            if len(values) >= capacity:
                values.clear()
            item = values[key] = await load(key)
        return item

    yield InMemory(call, values.__setitem__, values.get)


@asynccontextmanager
async def over_memcached(load: Load, address: str) -> AsyncIterator[Load]:
    """Yield emcache's GET with autobatching, and msgspec."""
    host, port = address.rsplit(":", 1)
    client = await emcache.create_client([emcache.MemcachedHostAddress(host, int(port))], autobatching=True)
    encode, decode = msgspec.json.encode, msgspec.json.Decoder().decode

    async def call(key: int) -> Item:
        name = b"limit:%d" % key
        found = await client.get(name)
        if found is not None:
            item: Item = decode(found.value)
            return item
        item = await load(key)
        await client.set(name, encode(item), exptime=TTL)
        return item

    try:
        yield call
    finally:
        await client.close()
