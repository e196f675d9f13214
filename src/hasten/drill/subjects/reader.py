"""A service that reads the next of 2,000 values at each request, of which Redis has all, and its memory a few.

`HASTEN_DRILL_REDIS` is the URL of Redis. What Redis does not say is loaded, which takes 2 ms. It reads by hasten.cache,
or with `HASTEN_DRILL_PEER=1` by redis.asyncio, as cache-aside is written by hand, with timeouts as short.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from time import monotonic
from typing import Any, Protocol

from hasten.cache import Cache
from hasten.drill.subjects._app import App

FOUND, LOADED = "found", "loaded"
_KEYS, _IN_MEMORY, _AT_ONCE = 2_000, 100, 100
_TAKES = 0.002  # seconds of a load
_TTL = 3600  # seconds
_TIMEOUT = 0.05  # seconds: the cache's default


class Values(Protocol):
    """Where values are read: when each was loaded, by `time.monotonic()`."""

    async def read(self, number: int) -> float: ...

    async def aclose(self) -> None: ...


async def load(number: int) -> float:
    """Load a value."""
    await asyncio.sleep(_TAKES)
    return monotonic()


class Cached(Values):
    """Values of hasten.cache, in two tiers."""

    def __init__(self, redis: str) -> None:
        self._cache = Cache(f"memory://?max_entries={_IN_MEMORY}", redis)
        self._read = self._cache.cached(ttl=_TTL)(load)

    async def read(self, number: int) -> float:
        return await self._read(number)

    async def aclose(self) -> None:
        await self._cache.aclose()


class Aside(Values):
    """Values of Redis, or loaded; without a second try, which would only take longer."""

    def __init__(self, redis: str) -> None:
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
        from redis.exceptions import RedisError

        self._redis = Redis.from_url(
            redis,
            protocol=2,
            max_connections=1000,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=_TIMEOUT,
            socket_connect_timeout=_TIMEOUT,
        )
        self._error = RedisError

    async def read(self, number: int) -> float:
        try:
            found = await self._redis.get(f"aside:{number}")
        except self._error:
            return await load(number)
        if found is not None:
            return float(found)
        value = await load(number)
        with suppress(self._error):
            await self._redis.set(f"aside:{number}", value, ex=_TTL)
        return value

    async def aclose(self) -> None:
        await self._redis.aclose()


class Reader:
    """Answers requests."""

    def __init__(self, values: Values) -> None:
        self._values = values
        self._numbers = count()

    async def next(self, query: str) -> tuple[int, Any]:
        """Answer a GET with where the next value was."""
        began = monotonic()
        loaded_at = await self._values.read(next(self._numbers) % _KEYS)
        return 200, (FOUND if loaded_at < began else LOADED).encode()

    @asynccontextmanager
    async def living(self) -> AsyncIterator[None]:
        """Have Redis know all values before the block begins, and close the connections at its end."""
        try:
            for first in range(0, _KEYS, _AT_ONCE):
                await asyncio.gather(*(self._values.read(first + number) for number in range(_AT_ONCE)))
            yield
        finally:
            await self._values.aclose()


def _app() -> App:
    redis = os.environ.get("HASTEN_DRILL_REDIS", "redis://127.0.0.1")
    reader = Reader(Aside(redis) if os.environ.get("HASTEN_DRILL_PEER") == "1" else Cached(redis))
    return App({"/next": reader.next}, reader.living)


def __getattr__(name: str) -> Any:
    """Make the app when a server asks for it: importing reads no environment."""
    if name != "app":
        raise AttributeError(name)
    return _app()
