"""An answer that is read while it comes."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING

from hasten._core.errors import HastenError
from hasten.http.client._errors import BodyTooLarge
from hasten.http.client._exchange import Exchange
from hasten.http.client._fields import Fields
from hasten.http.client._response import Response
from hasten.resilience import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from hasten.http.client._calls import Calls
    from hasten.http.client._request import Request

_FULL_BYTES, _ROOM_BYTES = 262_144, 65_536
"""With so many bytes that nobody has taken no more are read; with so many they are again."""


class Body:
    """The parts of a body between the connection and who takes them.

    When too many wait, the connection reads no more, and TCP tells the server to be slower.

    Attributes:
      received: Bytes so far.
    """

    __slots__ = ("_error", "_exchange", "_over", "_parts", "_size", "_waiter", "received")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._parts: deque[bytes] = deque()
        self._size = self.received = 0
        self._over = False
        self._error: HastenError | None = None
        self._waiter: asyncio.Future[None] | None = None

    # ---- the connection's side

    def feed(self, part: bytes) -> None:
        """Take a part."""
        self._parts.append(part)
        self._size += len(part)
        self.received += len(part)
        if self._size >= _FULL_BYTES and self._exchange.connection is not None:
            self._exchange.connection.pause()
        self._wake()

    def end(self) -> None:
        """Note that it is complete."""
        self._over = True
        self._wake()

    def fail(self, error: HastenError) -> None:
        """Note that it will not be complete."""
        if not self._over:
            self._over, self._error = True, error
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # ---- the taker's side

    async def take(self) -> bytes:
        """Return the next part, empty at the end; what came before an error comes before it."""
        while not self._parts:
            if self._error is not None:
                raise self._error
            if self._over:
                return b""
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        part = self._parts.popleft()
        self._size -= len(part)
        if self._size <= _ROOM_BYTES and self._exchange.connection is not None:
            self._exchange.connection.resume()
        return part


class StreamedResponse:
    """An answer whose body comes part by part: `async for part in response`, once.

    Attributes:
      status: Three digits.
      fields: The header fields.
    """

    __slots__ = ("_lines", "_request", "_streaming", "fields", "host", "status")

    def __init__(self, exchange: Exchange, streaming: "Streaming") -> None:
        head = exchange.head
        assert head is not None
        self.status = head.status
        self.host = exchange.host.pool.name
        self.fields = Fields(head.lines)
        self._lines = head.lines
        self._request = exchange.request
        self._streaming = streaming

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while part := await self._streaming.next_part():
            yield part

    async def read(self) -> Response:
        """Return the whole answer, as a call that does not stream would.

        Raises:
          BodyTooLarge: the rest of the body is longer than `Limits.most_bytes`.
        """
        parts, most = [], self._streaming.most_bytes
        async for part in self:
            most -= len(part)
            if most < 0:
                raise BodyTooLarge(self.host, self._streaming.most_bytes)
            parts.append(part)
        request = self._request
        return Response(
            self.status, self._lines, b"".join(parts), host=self.host, method=request.method, target=request.target
        )


class Streaming:
    """The block in which an answer is streamed; made by `Client.stream`.

    Leaving it early closes the connection: what has not come is not waited for. It is not retried or hedged.
    """

    __slots__ = ("_body", "_calls", "_deadline", "_exchange", "_heard", "_prepare", "_started", "_timeout")

    def __init__(
        self,
        started: "Callable[[], Calls]",
        prepare: "Callable[[], tuple[Request, float, float]]",
        heard: "Callable[[StreamedResponse, str], None] | None" = None,
    ) -> None:
        """Make one; `heard` is told of the head of the answer, and of its target."""
        self._started = started
        self._prepare = prepare
        self._heard = heard
        self._exchange: Exchange | None = None

    @property
    def most_bytes(self) -> int:
        """That `read` keeps."""
        return self._current().host.pool.most_bytes

    async def __aenter__(self) -> StreamedResponse:
        """Send the request, and wait for the head of its answer.

        Raises:
          HttpError, DeadlineExceeded, Refused: as for a call that does not stream.
        """
        if self._exchange is not None:
            raise RuntimeError("a stream is for one block")
        self._calls = self._started()
        request, deadline, self._timeout = self._prepare()
        self._deadline = deadline
        head_by = min(deadline, monotonic() + self._timeout)
        try:
            exchange = self._calls.begin(request, head_by, (), streamed_until=deadline)
        except Refused:
            self._calls.tell(request, 0.0, 0, 0, "Refused")
            raise
        self._exchange = exchange
        assert exchange.body is not None
        self._body: Body = exchange.body
        try:
            await exchange
            if exchange.error is not None:
                raise exchange.error
        except BaseException as error:
            self._leave(error)
            raise
        exchange.answered_at = monotonic()
        exchange.deadline = deadline
        response = StreamedResponse(exchange, self)
        if self._heard is not None:
            self._heard(response, request.target)
        return response

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave(error)

    def _leave(self, error: BaseException | None) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            self._calls.end(exchange)
            status = exchange.head.status if exchange.head is not None else 0
            failure = type(error).__name__ if error is not None else ""
            seconds = monotonic() - exchange.began
            self._calls.tell(exchange.request, seconds, status, self._body.received, failure)

    async def next_part(self) -> bytes:
        """Return the next part, empty at the end; each may take as long as the head."""
        exchange = self._current()
        exchange.deadline = min(self._deadline, monotonic() + self._timeout)
        self._calls.watch(exchange)
        part = await self._body.take()
        exchange.deadline = self._deadline  # who works on a part is not timed, but for the ambient deadline
        return part

    def _current(self) -> Exchange:
        if self._exchange is None:
            raise RuntimeError("a streamed answer is read within its block")
        return self._exchange
