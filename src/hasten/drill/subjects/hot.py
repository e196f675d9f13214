"""A service that reads values which it shares with its like through Redis, and loads them from another service.

`HASTEN_DRILL_REDIS` is the URL of Redis, `HASTEN_DRILL_NEXT` of the other service. `/cached?KEY` reads a value that
lives for a second by hasten.cache, `/aside?KEY` as cache-aside is written by hand; `/cached/lasting?KEY` and
`/aside/lasting?KEY` one that lives for an hour.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from hasten._core.errors import HastenError
from hasten.cache import Cache
from hasten.drill.subjects._app import Answer, App
from hasten.http.client import Client, Limits

TTL = 1  # second
_LONG = 3600  # seconds
_PLACES = 1000  # connections: no request waits for one
_TIMEOUT = 0.5  # seconds for Redis: 1,000 requests at once keep a core busy for longer than the usual 0.05
Read = Callable[[str], Awaitable[bytes]]


class Reader:
    """Reads values.

    Attributes:
      routes: How, by path.
    """

    def __init__(self, redis: str, following: str) -> None:
        from redis.asyncio import Redis

        self._source = Client(following, retry=None, breaker=None, limits=Limits(connections=_PLACES))
        self._cache = Cache("memory://", redis, timeout=_TIMEOUT)
        self._redis = Redis.from_url(redis, max_connections=_PLACES)

        async def load(key: str) -> bytes:  # no method: a cached one would have the reader in its key
            response = await self._source.get(f"/load?{key}")
            return response.raise_for_status().content

        hot = self._cache.cached(ttl=TTL, stale=TTL, stale_if_error=60.0, hard_timeout=2.0, name="hot")
        lasting = self._cache.cached(ttl=_LONG, hard_timeout=2.0, name="lasting")
        self.routes = {
            "/cached": _answering(hot(load)),
            "/cached/lasting": _answering(lasting(load)),
            "/aside": _answering(self._aside(load, TTL)),
            "/aside/lasting": _answering(self._aside(load, _LONG)),
        }

    def _aside(self, load: Read, ttl: int) -> Read:
        async def read(key: str) -> bytes:
            found: Any = await self._redis.get(key)
            if found is None:
                found = await load(key)
                await self._redis.set(key, found, ex=ttl)
            return bytes(found)

        return read

    @asynccontextmanager
    async def living(self) -> AsyncIterator[None]:
        """Have connections, and close them at the end of the block."""
        async with self._source:
            try:
                yield
            finally:
                await self._cache.aclose()
                await self._redis.aclose()


def _answering(read: Read) -> Answer:
    """Return what answers a GET with the value of its query, or 503."""

    async def answer(query: str) -> tuple[int, Any]:
        try:
            return 200, await read(query)
        except HastenError:
            return 503, b""

    return answer


def _app() -> App:
    given = os.environ.get
    reader = Reader(given("HASTEN_DRILL_REDIS", "redis://127.0.0.1"), given("HASTEN_DRILL_NEXT", "http://127.0.0.1"))
    return App(reader.routes, reader.living)


def __getattr__(name: str) -> Any:
    """Make the app when a server asks for it: importing reads no environment."""
    if name != "app":
        raise AttributeError(name)
    return _app()
