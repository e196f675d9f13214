"""A service whose requests compute for 2 ms and wait 5 ms; with `HASTEN_DRILL_EDGE=1` behind an edge."""

import asyncio
import os
import time
from typing import Any

from hasten.http import Edge, EdgeRule
from hasten.resilience import Limiter, Priority

_COMPUTES = 0.002  # seconds of CPU
_WAITS = 0.005  # seconds
_BODY = b'{"done":true}'
_FIELDS = ((b"content-type", b"application/json"), (b"content-length", b"%d" % len(_BODY)))


async def work(scope: Any, receive: Any, send: Any) -> None:
    """Answer a request, as an ASGI app."""
    if scope["type"] != "http":
        return
    until = time.thread_time() + _COMPUTES
    while time.thread_time() < until:
        pass
    await asyncio.sleep(_WAITS)
    await send({"type": "http.response.start", "status": 200, "headers": list(_FIELDS)})
    await send({"type": "http.response.body", "body": _BODY})


def _app() -> Any:
    if not os.environ.get("HASTEN_DRILL_EDGE"):
        return work
    rules = [EdgeRule("/low", priority=Priority.LOW), EdgeRule("/high", priority=Priority.HIGH)]
    return Edge(work, limiter=Limiter(), timeout=1.0, rules=rules)


def __getattr__(name: str) -> Any:
    """Make the app when a server asks for it: importing reads no environment."""
    if name != "app":
        raise AttributeError(name)
    return _app()
