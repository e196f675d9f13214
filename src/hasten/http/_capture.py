"""One run of the app whose response may be kept: what the app sends is captured, and passed on.

The app runs in a task of its own (5 µs, on a miss alone), for the moment at which a response is whole is not the one at
which the app returns: background tasks of Starlette come between, and a stream that cannot be kept may never end. Those
who wait for the same response go on as soon as it is whole, or known to be no use to them.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from hasten.http._asgi import App, Message, Receive, Send
from hasten.http._fields import without
from hasten.http._freshness import FAILED, Head, is_whole
from hasten.http._pump import Pump
from hasten.http._stored import StoredResponse

"""Statuses in whose place a stale response is served (RFC 5861 section 4)."""


class AppFailed(Exception):
    """Raised when the app gave no response to keep or to pass on: an error of its own, or one of 500, 502, 503, 504.

    It never leaves this package.

    Args:
      owner: The capture of the request for which the app ran; the response is for nobody else.
      error: What the app raised; None if it sent a response that says so, or returned before that was whole.
    """

    def __init__(self, owner: "Capture", error: BaseException | None) -> None:
        super().__init__(owner, error)
        self.owner = owner
        self.error = error

    def __str__(self) -> str:
        if self.error is not None:
            return f"the app raised {type(self.error).__name__}: {self.error}"
        head = self.owner.head
        return "the app sent no whole response" if head is None else f"the app answered {head.status}"


class Capture:
    """Runs the app once and captures its response.

    Args:
      client: The client's `send` and `receive`; None in the background, where nobody waits for the response.
      may_keep: Says of a response's head whether it may be kept.
      most: Bytes of a body at most.
      whole_first: Send nothing until the response is whole: the answer to a condition depends on it.
      passed: What to add to the fields of a response that is passed on.
      hidden: The field that is for this cache alone; None if there is none.
    Attributes:
      head: The response's status and fields, when they have come; without the hidden one once `may_keep` has seen it.
      kept: The response is whole, and may be kept.
      answers: The client gets the app's own messages; else it is to be answered from what is captured.
    """

    def __init__(
        self,
        client: tuple[Send, Receive] | None,
        may_keep: Callable[[Head], bool],
        most: int,
        passed: tuple[bytes, bytes],
        *,
        hidden: bytes | None = None,
        whole_first: bool = False,
    ) -> None:
        self.head: Head | None = None
        self.kept = False
        self.answers = False
        self._client = client
        self._may_keep = may_keep
        self._most = most
        self._passed = passed
        self._hidden = hidden
        self._whole_first = whole_first
        self._chunks: list[bytes] = []
        self._sent = 0  # of these
        self._size = 0
        self._whole = self._failing = False
        self._start: Message = {}
        self._pump: Pump | None = None
        self._asked = False
        self._task: asyncio.Task[None] | None = None
        # True: the response is whole. False: it is not for the cache. Set once; then the client's end is no secret.
        self._outcome: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    @property
    def body(self) -> bytes:
        """What is captured of the body."""
        return self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)

    def as_first(self, stored: StoredResponse) -> StoredResponse:
        """Return what is kept of the response as its first client gets it: with all fields that the app has sent."""
        headers = self.head.headers if self.head is not None else []
        names = {name for name, _ in headers}
        etag = [pair for pair in stored.headers if pair[0] == b"etag" and b"etag" not in names]
        return msgspec.structs.replace(stored, headers=(*headers, *etag))

    # ---- the run

    async def run(self, app: App, scope: Any) -> bool:
        """Run the app until its response is whole, or known not to be for the cache; return whether it may be kept.

        Raises:
          AppFailed: it failed before.
        Cancellation: cancels the app.
        """
        self._task = asyncio.get_running_loop().create_task(self._call(app, scope))
        self._task.add_done_callback(self._ended)
        try:
            self.kept = await asyncio.shield(self._outcome)
        except asyncio.CancelledError:
            await self.stop()
            raise
        return self.kept

    async def finish(self) -> None:
        """Wait until the client has what is passed on to it, and the app has returned.

        Raises:
          Exception: what the app raised, as if there were no cache.
        Cancellation: cancels the app.
        """
        try:
            if self._pump is not None:
                await self._pump.finish()
            if self._task is not None:
                await asyncio.shield(self._task)
        except asyncio.CancelledError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End the app, and send nothing any more."""
        if self._pump is not None:
            await self._pump.stop()
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _call(self, app: App, scope: Any) -> None:
        await app(scope, self._receive, self._take)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if not self._outcome.done():
            self._fail(error)

    # ---- what the app sends

    async def _take(self, message: Message) -> None:
        """Be the app's `send`."""
        kind = message["type"]
        if self._outcome.done():
            await self._pass_on(message)
        elif kind == "http.response.start" and self.head is None:
            if not self._begin(message):
                await self._give_up()
        elif kind == "http.response.body" and self.head is not None:
            await self._add(bytes(message.get("body", b"")), more=message.get("more_body", False))
        elif self.head is None:  # an early hint, a push, what a template tells a test client: for this client alone
            if self._client is not None:
                await self._client[0](message)
        else:  # an extension: what it sends is not seen here
            await self._give_up()
            await self._pass_on(message)

    def _begin(self, message: Message) -> bool:
        """Look at the head of a response; return whether the rest is worth capturing."""
        self.head = Head(message["status"], message.get("headers", ()))
        self._start = {**message, "headers": without(message.get("headers", ()), self._hidden)}
        may_keep = not message.get("trailers") and self._may_keep(self.head)
        self.head.headers = without(self.head.headers, self._hidden)
        self._failing = self.head.status in FAILED and not may_keep
        return may_keep or (self._failing and not message.get("trailers"))

    async def _add(self, chunk: bytes, *, more: bool) -> None:
        self._chunks.append(chunk)
        self._size += len(chunk)
        assert self.head is not None
        if self._size > self._most or not (more or is_whole(self.head, self._size)):
            await self._give_up()
            if not more:
                await self._pass_on(_body(b"", more=False))
            return
        if self._pump is not None or (more and self._client is not None and not (self._whole_first or self._failing)):
            self._stream(chunk, more=more)
        if not more:
            self._decide()

    def _decide(self) -> None:
        """Let those who wait know that the response is whole."""
        self._whole = True
        if self._failing:
            self._fail(None)
        else:
            self._outcome.set_result(True)

    def _fail(self, error: BaseException | None) -> None:
        self._outcome.set_exception(AppFailed(self, error))
        self._outcome.exception()  # who was cancelled does not ask

    async def _give_up(self) -> None:
        """Pass everything on from here; those who wait go on without this response."""
        self._outcome.set_result(False)
        if self._client is not None:
            await self._flush()

    # ---- what the client gets

    def _stream(self, chunk: bytes, *, more: bool) -> None:
        """Send what comes in parts as it comes."""
        if self._pump is None:
            assert self._client is not None
            self.answers = True
            self._pump = Pump(self._client[0])
            self._pump.feed(self._first_message())
        self._pump.feed(_body(chunk, more=more))
        self._sent += 1

    async def _flush(self) -> None:
        """Send what is captured, as far as it has not been."""
        assert self._client is not None
        self.answers = True
        if self._pump is not None:
            await self._pump.finish()
        elif self.head is not None:
            await self._client[0](self._first_message())
        for chunk in self._chunks[self._sent :]:
            await self._client[0](_body(chunk, more=True))
        self._chunks.clear()

    def _first_message(self) -> Message:
        return {**self._start, "headers": [*self._start["headers"], self._passed]}

    async def _pass_on(self, message: Message) -> None:
        """Send a message of a response that is not for the cache, at the client's pace; others are not sent."""
        if self._client is not None and self._outcome.exception() is None and not self._outcome.result():
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), self._passed]}
            await self._client[0](message)

    async def pass_on_failure(self) -> None:
        """Send the response that says that the app failed, or what there is of one that is not whole."""
        if self.head is None or self.answers:
            return
        await self._flush()
        if self._whole and self._client is not None:
            await self._client[0](_body(b"", more=False))

    # ---- what the app receives

    async def _receive(self) -> Message:
        """Be the app's `receive`: a request without a body, from a client that stays as long as others may wait."""
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        try:
            kept = await asyncio.shield(self._outcome)
        except AppFailed:
            kept = True
        if kept or self._client is None:
            return {"type": "http.disconnect"}
        message = await self._client[1]()
        while message["type"] == "http.request":  # which has been told
            message = await self._client[1]()
        return message


def _body(chunk: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": chunk, "more_body": more}
