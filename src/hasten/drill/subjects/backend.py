"""A service that answers after 3 to 8 ms with its name, by HTTP and gRPC, and counts who has called.

`HASTEN_DRILL_NAME` is its name; with `HASTEN_DRILL_GRPC=1` it serves gRPC, too. Of each `HASTEN_DRILL_STALLS` calls one
takes 200 ms, which one is chance; with `HASTEN_DRILL_FAILS=1` all fail at once.
"""

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from hasten.drill.subjects._app import App, grpc_server

_SHORTEST, _LONGEST, _STALL = 0.003, 0.008, 0.2  # seconds
_SEED = 7


class Backend:
    """Does the work.

    Args:
      stalls: Of so many calls one stalls; 0 for none.
    """

    def __init__(self, name: str, *, stalls: int, fails: bool) -> None:
        self._name = name
        self._stalls, self._fails = stalls, fails
        self._chance = random.Random(_SEED)
        self._calls: Counter[str] = Counter()
        self._address = ""
        self._position = self._stalling = 0

    async def by_http(self, query: str) -> tuple[int, Any]:
        """Answer a GET; the query is the caller's name."""
        self._calls[query] += 1
        if self._fails:
            return 503, b""
        await asyncio.sleep(self.takes())
        return 200, self._name.encode()

    async def by_grpc(self, request: bytes, context: Any) -> bytes:
        """Answer a call of gRPC; the request is the caller's name."""
        self._calls[request.decode()] += 1
        if self._fails:
            import grpc

            await context.abort(grpc.StatusCode.UNAVAILABLE, "as it was told to")
        await asyncio.sleep(self.takes())
        return self._name.encode()

    def takes(self) -> float:
        """Return the seconds that the next call takes; so many of each block of calls stall, and not about so many."""
        if self._stalls:
            if self._position == 0:
                self._stalling = self._chance.randrange(self._stalls)
            stalls = self._position == self._stalling
            self._position = (self._position + 1) % self._stalls
            if stalls:
                return _STALL
        return self._chance.uniform(_SHORTEST, _LONGEST)

    async def calls(self, query: str) -> tuple[int, Any]:
        """Answer how many calls there were, by caller."""
        return 200, self._calls

    async def grpc(self, query: str) -> tuple[int, Any]:
        """Answer where gRPC is served; empty for nowhere."""
        return 200, self._address

    @asynccontextmanager
    async def serving_grpc(self) -> AsyncIterator[None]:
        """Serve gRPC while the block runs."""
        async with grpc_server(self.by_grpc) as self._address:
            yield


def _app() -> App:
    given = os.environ.get
    backend = Backend(
        given("HASTEN_DRILL_NAME", "backend"),
        stalls=int(given("HASTEN_DRILL_STALLS", "0")),
        fails=given("HASTEN_DRILL_FAILS") == "1",
    )
    routes = {"/work": backend.by_http, "/calls": backend.calls, "/grpc": backend.grpc}
    return App(routes, backend.serving_grpc if given("HASTEN_DRILL_GRPC") == "1" else None)


def __getattr__(name: str) -> Any:
    """Make the app when a server asks for it: importing reads no environment."""
    if name != "app":
        raise AttributeError(name)
    return _app()
