"""redis-py's GET with msgspec: what a team writes by hand."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from redis.asyncio import Redis

from benchmarks.cache._work import TTL, Item, Load


@asynccontextmanager
async def over_redis(load: Load, address: str) -> AsyncIterator[Load]:
    """Yield GET, decode; on a miss load, encode, SET."""
    client = Redis.from_url(f"redis://{address}/6")
    encode, decode = msgspec.json.encode, msgspec.json.Decoder().decode

    async def call(key: int) -> Item:
        name = f"i:{key}"
        found = await client.get(name)
        if found is not None:
            item: Item = decode(found)
            return item
        item = await load(key)
        await client.set(name, encode(item), ex=TTL)
        return item

    try:
        yield call
    finally:
        await client.aclose()
