"""Answers that say what is wrong: problem details, ready to be sent.

Source: RFC 9457; RFC 9110 sections 10.2.3 (Retry-After), 15.6.4 and 15.6.5.
"""

import math
from contextlib import suppress
from http import HTTPStatus
from itertools import cycle
from typing import Any

import msgspec

from hasten.http._asgi import Message, Receive, Send

_TYPE = (b"content-type", b"application/problem+json")
_AGAIN = (1, 2, 3)
"""Seconds after which the refused may ask again, in turn: who was refused together does not come back together."""
CLIENT_CLOSED_REQUEST = 499
"""nginx's word for a request whose client has gone: nobody sees it but logs and metrics."""


class Problem:
    """One answer, as the messages of ASGI and as the bytes of HTTP/1.1.

    Attributes:
      head, body: Status line and fields with the empty line, and what follows.
      whole, closing: Both together; `closing` says that the connection ends.
    """

    __slots__ = ("_start", "body", "closing", "head", "whole")

    def __init__(self, status: int, detail: str, retry_after: float = 0.0) -> None:
        """Make an answer; `retry_after` in seconds, none for 0."""
        title = HTTPStatus(status).phrase
        self.body = msgspec.json.encode({"title": title, "status": status, "detail": detail})
        fields = [_TYPE, (b"content-length", b"%d" % len(self.body))]
        if retry_after > 0.0:
            fields.append((b"retry-after", b"%d" % math.ceil(retry_after)))
        self._start: Message = {"type": "http.response.start", "status": status, "headers": fields}
        lines = b"".join(b"%b: %b\r\n" % field for field in fields)
        head = b"HTTP/1.1 %d %b\r\n%b" % (status, title.encode(), lines)
        self.head = head + b"\r\n"
        self.whole = self.head + self.body
        self.closing = head + b"connection: close\r\n\r\n" + self.body

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer a request with it, as an ASGI app."""
        await send({**self._start, "headers": list(self._start["headers"])})
        await send({"type": "http.response.body", "body": self.body})


def refusals() -> "cycle[Problem]":
    """Return the answers to requests for which there is no room, again and again."""
    return cycle(
        Problem(503, f"the service works on as much as it can; ask again in {seconds} s", seconds) for seconds in _AGAIN
    )


TOO_LATE = Problem(504, "the time that there was for an answer is over")


async def answer_nobody(send: Send) -> None:
    """Tell the layers outside that the client has gone; servers send nothing to it."""
    with suppress(OSError):  # as ASGI 2.4 has servers say so
        await send({"type": "http.response.start", "status": CLIENT_CLOSED_REQUEST, "headers": []})
        await send({"type": "http.response.body", "body": b""})
