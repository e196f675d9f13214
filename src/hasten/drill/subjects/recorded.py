"""An app whose requests are recorded: which have begun, and when each has ended, by the number its client has given it.

It is the app of `HASTEN_DRILL_APP`, or one whose requests wait for 2 s: by themselves, or, where `HASTEN_DRILL_CALLED`
is the URL of another process of this, for an answer from there. With `HASTEN_DRILL_EDGE=1` that one is behind an edge.
"""

import asyncio
import os
from time import monotonic
from typing import Any

import msgspec

from hasten._core.targets import import_app
from hasten.http import Edge
from hasten.http.client import Client, Limits

CONNECTIONS = 200
"""To the other process, at most: as many of its answers can be waited for at a time."""
NUMBER = "x-drill-number"
REPORT = "/drill/report"
WAITS = 2.0  # seconds
_ANSWERS = 0.05  # seconds that an echo takes
_NUMBER = NUMBER.encode()


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What has become of requests.

    Attributes:
      under_way: Numbers of those that have begun and not ended.
      ended: When the others have, by `time.monotonic()`, which all processes of a machine share.
    """

    under_way: list[int]
    ended: dict[int, float]


class Recorded:
    """Records the requests of an app that have a number, and answers `REPORT`."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._under_way: set[int] = set()
        self._ended: dict[int, float] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Run the app for one connection."""
        number = _number(scope) if scope["type"] == "http" else None
        if number is None:
            if scope["type"] == "http" and scope["path"] == REPORT:
                await _answer(send, msgspec.json.encode(Report(under_way=[*self._under_way], ended=self._ended)))
            else:
                await self._app(scope, receive, send)
            return
        self._under_way.add(number)
        try:
            await self._app(scope, receive, send)
        finally:
            self._under_way.discard(number)
            self._ended[number] = monotonic()


class Waiting:
    """The drill's own app: `/sleep`, `/call`, which has the other process sleep, and `/echo`, which has it answer.

    Args:
      called: URL of the other process; empty where this is it.
    """

    def __init__(self, called: str) -> None:
        limits = Limits(connections=CONNECTIONS)
        self._client = Client(called, retry=None, breaker=None, limits=limits) if called else None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request with its number."""
        if scope["type"] != "http":
            return
        number = _number(scope) or 0
        if self._client is not None and scope["path"] != "/sleep":
            path = "/sleep" if scope["path"] == "/call" else "/echo"
            response = await self._client.get(path, fields={NUMBER: str(number)})
            body = response.content
        else:
            await asyncio.sleep(WAITS if scope["path"] == "/sleep" else _ANSWERS)
            body = b"%d" % number
        await _answer(send, body)


def _number(scope: Any) -> int | None:
    for name, value in scope["headers"]:
        if name == _NUMBER:
            return int(value)
    return None


async def _answer(send: Any, body: bytes) -> None:
    fields = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": body})


def _app() -> Any:
    if target := os.environ.get("HASTEN_DRILL_APP"):
        return Recorded(import_app(target))
    own = Waiting(os.environ.get("HASTEN_DRILL_CALLED", ""))
    return Recorded(Edge(own) if os.environ.get("HASTEN_DRILL_EDGE") else own)


def __getattr__(name: str) -> Any:
    """Make the app when a server asks for it: importing reads no environment."""
    if name != "app":
        raise AttributeError(name)
    return _app()
