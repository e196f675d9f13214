"""Requests to an admin port."""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

import msgspec

Receive = Callable[[], Awaitable[Any]]


class Asked(msgspec.Struct, frozen=True):
    """A request.

    Attributes:
      query: Values of each name; an empty one is a value, too.
      port: Of the admin port, as the connection says.
    """

    path: str
    method: str
    headers: dict[bytes, bytes]
    query: dict[str, list[str]]
    port: int

    @property
    def after(self) -> float:
        """Unix time of the last point that the client has: what came later is what it wants; 0.0 for everything."""
        try:
            return float(self.query.get("after", ["0"])[0])
        except ValueError:
            return 0.0


def asked_by(scope: Any) -> Asked:
    """Return what an ASGI scope asks."""
    return Asked(
        path=scope["path"],
        method=scope["method"],
        headers=dict(scope["headers"]),
        query=parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True),
        port=(scope.get("server") or ("", 0))[1] or 0,
    )


async def read_body(receive: Receive, longest: int) -> bytes | None:
    """Return the body of a request; None where it is longer, or the client has gone."""
    body = bytearray()
    while len(body) <= longest:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(body) if len(body) <= longest else None
    return None
