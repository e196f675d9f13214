"""A service that calls another one for each request, and fails where that fails.

`HASTEN_DRILL_NEXT` is the URL of the next; with `HASTEN_DRILL_BUDGET=1` it is sent again within a budget, else each
call is sent three times if it fails.
"""

import os
from contextlib import AbstractAsyncContextManager
from typing import Any

from hasten.drill._sending import Sender
from hasten.drill.subjects._app import App


class Layer:
    """Sends each request on."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    async def work(self, query: str) -> tuple[int, Any]:
        """Answer a GET with the next one's status."""
        return await self._sender.send("/work"), b""

    def living(self) -> AbstractAsyncContextManager[object]:
        """Return the block at whose end its connections are closed."""
        return self._sender


def _app() -> App:
    following = os.environ.get("HASTEN_DRILL_NEXT", "http://127.0.0.1")
    layer = Layer(Sender(following, budget=os.environ.get("HASTEN_DRILL_BUDGET") == "1"))
    return App({"/work": layer.work}, layer.living)


def __getattr__(name: str) -> Any:
    """Make the app when a server asks for it: importing reads no environment."""
    if name != "app":
        raise AttributeError(name)
    return _app()
