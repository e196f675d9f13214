"""Whole responses of an admin port."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

JSON = "application/json"
MSGPACK = "application/msgpack"
PLAIN = "text/plain; charset=utf-8"
Send = Callable[[Any], Awaitable[None]]


class Answer(msgspec.Struct, frozen=True):
    """A whole response."""

    body: bytes
    content_type: str
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ()


def json_answer(value: Any, status: int = 200) -> Answer:
    """Return a value as JSON."""
    return Answer(msgspec.json.encode(value), JSON, status)


def plain_answer(status: int, text: str) -> Answer:
    """Return a line of text."""
    return Answer(f"{text}\n".encode(), PLAIN, status)


async def respond(send: Send, answer: Answer, *, head_only: bool) -> None:
    """Send an answer; without its body to HEAD."""
    headers = [
        (b"content-type", answer.content_type.encode()),
        (b"content-length", str(len(answer.body)).encode()),
        (b"cache-control", b"no-store"),
        *answer.headers,
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head_only else answer.body})
