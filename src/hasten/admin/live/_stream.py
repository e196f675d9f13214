"""Server-sent events: what has been so far, then each sample.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from hasten.admin.live._feed import Feed

_SEND_BUFFER = 128 * 1024  # bytes in the kernel for a viewer that does not read; Linux would let it be megabytes
_HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would hold events back
]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


async def stream(feed: Feed, after: float, receive: Receive, send: Send) -> None:
    """Send a `story` of the points after a Unix time, then each `sample`, until either side has had enough.

    A viewer that takes nothing for the feed's patience has its connection cut.
    """
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    _bound(transport)
    gone = asyncio.ensure_future(_gone(receive))
    feed.viewers += 1
    try:
        async with asyncio.timeout(None) as waiting:
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            seen, event = feed.number, _event("story", feed.story(after))
            while event and not gone.done():
                waiting.reschedule(asyncio.get_running_loop().time() + feed.patience)
                await send({"type": "http.response.body", "body": event, "more_body": True})
                waiting.reschedule(None)
                seen, sample = await feed.next(seen)
                event = _event("sample", sample) if sample else b""
            await send({"type": "http.response.body", "body": b""})
    except TimeoutError:
        if transport is not None:
            transport.abort()  # closing it would wait for the viewer to read what is in the buffer
        await gone
    finally:
        feed.viewers -= 1
        gone.cancel()


def _event(kind: str, data: bytes) -> bytes:
    """Return one event; JSON has no line breaks of its own."""
    return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _bound(transport: Any) -> None:
    connection = None if transport is None else transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
