"""A service whose event loop is held for as long as `/sleep?5` or `/compute?5` says; `/health` answers at once."""

import time
from typing import Any

_BODY = b'{"status":"ok"}'
_FIELDS = ((b"content-type", b"application/json"), (b"content-length", b"%d" % len(_BODY)))


def hold_asleep(seconds: float) -> None:
    """Block as a call of a synchronous library does: other threads may run."""
    time.sleep(seconds)


def hold_computing(seconds: float) -> None:
    """Block as Python code that computes does: other threads wait for the interpreter's lock again and again."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer a request, as an ASGI app."""
    if scope["type"] != "http":
        return
    if scope["path"] == "/sleep":
        hold_asleep(float(scope["query_string"]))
    elif scope["path"] == "/compute":
        hold_computing(float(scope["query_string"]))
    await send({"type": "http.response.start", "status": 200, "headers": list(_FIELDS)})
    await send({"type": "http.response.body", "body": _BODY})
