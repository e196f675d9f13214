"""A service with a path that calls another service, and one that does not.

`HASTEN_DRILL_NEXT` is the URL of the other. Calls to it have a timeout of a second, as connections have, and with
`HASTEN_DRILL_BREAKER=1` a breaker.
"""

import asyncio
import os
from contextlib import AbstractAsyncContextManager
from typing import Any

from hasten._core.errors import HastenError
from hasten.drill.subjects._app import App
from hasten.http.client import Client, Limits
from hasten.resilience import Breaker

TIMEOUT = 1.0  # seconds
_TAKES = 0.002  # seconds


class Dependant:
    """Answers with what the other service does, or 503."""

    def __init__(self, following: str, *, breaker: bool) -> None:
        self._client = Client(
            following,
            timeout=TIMEOUT,
            retry=None,
            breaker=Breaker if breaker else None,
            limits=Limits(connect_timeout=TIMEOUT),
        )

    async def uses(self, query: str) -> tuple[int, Any]:
        """Answer a GET that needs the other service."""
        try:
            response = await self._client.get("/work")
        except HastenError:
            return 503, b""
        return response.status, response.content

    async def other(self, query: str) -> tuple[int, Any]:
        """Answer a GET that does not."""
        await asyncio.sleep(_TAKES)
        return 200, b"other"

    def living(self) -> AbstractAsyncContextManager[object]:
        """Return the block at whose end its connections are closed."""
        return self._client


def _app() -> App:
    following = os.environ.get("HASTEN_DRILL_NEXT", "http://127.0.0.1")
    dependant = Dependant(following, breaker=os.environ.get("HASTEN_DRILL_BREAKER") == "1")
    return App({"/uses": dependant.uses, "/other": dependant.other}, dependant.living)


def __getattr__(name: str) -> Any:
    """Make the app when a server asks for it: importing reads no environment."""
    if name != "app":
        raise AttributeError(name)
    return _app()
