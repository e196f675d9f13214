"""A request under a server whose protocol is not ours: its messages say when its client goes."""

import asyncio
from contextlib import suppress
from typing import Any

from hasten.http._asgi import Message, Receive, Send
from hasten.http._under_way import UnderWay

_WITH_BODY = frozenset({b"content-length", b"transfer-encoding"})
_DISCONNECT = "http.disconnect"


class Elsewhere:
    """Hands on the messages of one request, and looks for its end behind them.

    `http.disconnect` comes behind the body, to whoever asks: a task does from the body's end on, or at once where there
    is none. Whoever does not read a body does not see its client go.

    Attributes:
      scope: The request's.
      response_started, response_complete: What was sent of its response.
    """

    def __init__(self, scope: Any, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.response_started = self.response_complete = False
        self._receive = receive
        self._send = send
        self._under_way: UnderWay | None = None
        self._watching: asyncio.Task[None] | None = None
        self._disconnected = asyncio.Event()
        self._bodyless = not any(name in _WITH_BODY for name, _ in scope["headers"])

    def begin(self, under_way: UnderWay) -> None:
        """Begin to look, in the task that runs the app."""
        self._under_way = under_way
        under_way.task = asyncio.current_task()
        if self._bodyless:
            self._watch()

    def end(self) -> None:
        """Look no more."""
        self._under_way = None
        if self._watching is not None:
            self._watching.cancel()

    async def receive(self) -> Message:
        """Receive for the app."""
        if self.response_complete:
            return {"type": _DISCONNECT}
        if self._bodyless:  # what the server says of it is for the task that looks
            self._bodyless = False
            return {"type": "http.request", "body": b"", "more_body": False}
        if self._watching is not None:
            await self._disconnected.wait()
            return {"type": _DISCONNECT}
        message = await self._receive()
        if message["type"] == _DISCONNECT:
            self._lose()
        elif not message.get("more_body"):
            self._watch()
        return message

    async def send(self, message: Message) -> None:
        """Send for the app."""
        self.response_started = True
        await self._send(message)
        if message["type"] != "http.response.start" and not message.get("more_body"):
            self.response_complete = True
            if self._under_way is not None:
                self._under_way.answered()

    def _watch(self) -> None:
        self._watching = asyncio.get_running_loop().create_task(self._look())

    async def _look(self) -> None:
        with suppress(Exception):  # a server that fails here has no client any more
            while (await self._receive())["type"] != _DISCONNECT:
                pass
        self._lose()

    def _lose(self) -> None:
        self._disconnected.set()
        if self._under_way is not None and not self.response_complete:
            self._under_way.leave()
