"""Answers of the shop's sizes that are ready to be sent, from a bare ASGI app: `python -m benchmarks.shop._ready`."""

from typing import Any

from benchmarks._child import die_with_parent, serve

_KEEP_ALIVE = 24 * 3600  # seconds; it is stopped for as long as the others have their turns
_ANSWERS = {"products": (200, 3_000), "search": (200, 47_000), "reports": (200, 3_600), "orders": (201, 117)}
"""Status and bytes, by the first part of the path: as the fast edition answered some requests of the plan."""


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer without a look at what is asked."""
    if scope["type"] != "http":
        raise NotImplementedError
    status, size = _ANSWERS[scope["path"].split("/")[1]]
    while scope["method"] == "POST" and (await receive()).get("more_body"):
        pass
    fields = [(b"content-length", b"%d" % size), (b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": b" " * size})


if __name__ == "__main__":
    die_with_parent()
    serve(app, keep_alive=_KEEP_ALIVE)
