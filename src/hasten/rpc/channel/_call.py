"""A call on the client: what its four kinds have in common.

A call is also the stream that carries it, one attempt after the other: when the server says that it never looked at
an attempt, or a retry policy wants it, the same call goes out again on another stream.
"""

import asyncio
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import grpc
from grpc.aio import AioRpcError, Metadata

from hasten._core.signals import Attempt
from hasten.rpc.transport._stream import Stream
from hasten.rpc.wire._compression import compress_if_smaller
from hasten.rpc.wire._frames import ErrorCode
from hasten.rpc.wire._metadata import decode_metadata, percent_decode
from hasten.rpc.wire._status import STATUS_BY_CODE, http_status_to_code, reset_to_code

if TYPE_CHECKING:
    from collections import OrderedDict

    from hasten.rpc.channel._attempts import Plan
    from hasten.rpc.channel._connection import ClientConnection
    from hasten.rpc.wire._hpack import Fields
    from hasten.rpc.wire._response_head import ResponseHead

OK = grpc.StatusCode.OK
_MOST_REFUSALS = 5
"""Times that a call is sent again because a server has not looked at it; more is a server that never does."""
CANCELLED_LOCALLY = "Locally cancelled by application!"


class Method:
    """What a multicallable calls.

    Attributes:
      path: `/package.Service/Method`.
      prefix: Its header block's constant part.
      wait_name: How the ledger names the wait for it: `rpc Stock.Get → stock:50051`.
    """

    __slots__ = ("deserialize", "path", "prefix", "serialize", "wait_name")

    def __init__(
        self,
        path: str,
        server: str,
        prefix: bytes,
        serialize: Callable[[Any], bytes] | None,
        deserialize: Callable[[bytes], Any] | None,
    ) -> None:
        self.path = path
        self.prefix = prefix
        self.serialize = serialize or _unchanged
        self.deserialize = deserialize or _unchanged
        service, _, name = path.rpartition("/")
        self.wait_name = f"rpc {service.rpartition('.')[2].removeprefix('/')}.{name} → {server}"


def _unchanged(message: Any) -> Any:
    return message


def checked_payload(payload: object) -> bytes:
    """Return what a serialiser gave.

    Raises:
      TypeError: it is no bytes; told here, because later it would fail in the middle of a connection's work.
    """
    if not isinstance(payload, bytes):
        raise TypeError(f"the serialised request must be bytes, not {type(payload).__name__}")
    return payload


class Dispatcher(Protocol):
    """What a call asks of its channel."""

    def dispatch(self, call: "ClientCall") -> None:
        """Send the call on a connection, now or as soon as there is one."""

    def dispatch_later(self, call: "ClientCall", seconds: float) -> None:
        """Send the call after a pause."""

    def attempt_ended(self, call: "ClientCall", code: grpc.StatusCode, *, final: bool) -> bool:
        """Called at the end of each attempt of a call that is `tracked`; True when the call is sent again."""

    def attempt_withdrawn(self, call: "ClientCall") -> None:
        """Called instead for an attempt that no server has looked at, before the call is sent again."""


class ClientCall(Stream):
    """One call; the base of the four kinds.

    Attributes:
      method, channel: What it calls, and through which channel.
      rest: Its header block behind what all calls of the method share, without the deadline.
      connection: Where the current attempt is; None while it waits for a connection.
      line: Where it waits then.
      wait_for_ready: Stay while the channel has no connection, until the deadline.
      tracked: The channel wants to know how each attempt ends.
      plan: How it goes on after an attempt; None when each is the last.
      largest_request, largest_response: Most bytes of one message, beside the connection's bound; 0 is no bound.
      refusals: Attempts that a server has not looked at.
      within: The traceparent that its attempts are within, empty for none; None where nobody traces the call.
      span, parent: Of the current attempt, its own traceparent and the id of the span that it is within.
      span_field: `span` as a header field.
    """

    connection: "ClientConnection | None" = None
    line: "OrderedDict[ClientCall, None] | None" = None
    wait_for_ready: bool = False
    tracked: bool = False
    refusals: int = 0
    encoding: str = ""
    started_at: float = 0.0
    largest_request: int = 0
    largest_response: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    endpoint: Any = None
    plan: "Plan | None" = None
    within: str | None = None
    span: str = ""
    parent: str = ""
    span_field: bytes = b""
    _code: grpc.StatusCode | None = None
    _details: str = ""
    _initial: "ResponseHead | None" = None
    _trailers: "ResponseHead | None" = None
    _cancelled: bool = False
    _callbacks: tuple[Callable[[Any], None], ...] = ()
    _end_waiters: "list[asyncio.Future[None]] | None" = None
    _head_waiters: "list[asyncio.Future[None]] | None" = None

    method: Method
    channel: Dispatcher
    rest: bytes

    @property
    def wait_name(self) -> str:
        """What the ledger calls the wait for this call."""
        return self.method.wait_name

    @property
    def wait_identity(self) -> str:
        """What is equal for equal questions; empty when that is not known."""
        return ""

    # ---- what a kind adds

    def send(self, connection: "ClientConnection", table_update: bytes = b"") -> None:
        """Send the first frames of an attempt; `stream_id` and `connection` are set.

        Args:
          table_update: What must start the first header block on a connection.
        """
        raise NotImplementedError

    def on_message(self, message: bytes) -> None:
        """A whole, uncompressed message has come in one frame."""
        raise NotImplementedError

    def on_data(self, flags: int, payload: bytes) -> None:
        """A DATA frame has come that is not that."""
        raise NotImplementedError

    def _on_finish(self) -> None:
        """The call has its status: wake who waits."""
        raise NotImplementedError

    # ---- what the connection tells

    def on_initial(self, head: "ResponseHead") -> None:
        """The response's headers have come."""
        if not head.is_ready:
            self._refuse_head(head)
            return
        self._initial = head
        if self._head_waiters is not None:
            _wake(self._head_waiters)
            self._head_waiters = None

    def _refuse_head(self, head: "ResponseHead") -> None:
        """End a call whose response's headers no gRPC server sends."""
        if 100 <= head.http_status < 200:
            return
        self.reset(ErrorCode.CANCEL)
        if head.grpc_status > 0:  # it is malformed or too large
            self.finish(STATUS_BY_CODE[head.grpc_status], percent_decode(head.grpc_message))
        elif not head.http_status:
            self.finish(grpc.StatusCode.INTERNAL, "response without :status")
        elif head.http_status != 200:
            self.finish(http_status_to_code(head.http_status), f"Received http2 header with status: {head.http_status}")
        elif not head.content_type.startswith("application/grpc"):
            self.finish(grpc.StatusCode.UNKNOWN, f"invalid content-type {head.content_type[:100]!r}")
        else:
            self.finish(grpc.StatusCode.INTERNAL, f"Compression encoding {head.encoding[:40]!r} is not supported")

    def on_trailers(self, head: "ResponseHead") -> None:
        """The stream has ended with a header block; the connection has forgotten it."""
        self._trailers = head
        if head.grpc_status >= 0:
            details = percent_decode(head.grpc_message) if head.grpc_status else ""  # as grpc-core: nobody asks on OK
            self.finish(STATUS_BY_CODE[head.grpc_status], details)
        elif head.http_status not in {0, 200}:
            details = f"Received http2 header with status: {head.http_status}"
            self.finish(http_status_to_code(head.http_status), details)
        else:
            self.finish(grpc.StatusCode.UNKNOWN, head.malformed or "stream ended without grpc-status")

    def on_reset(self, code: ErrorCode) -> None:
        connection = self.connection
        if code is ErrorCode.REFUSED_STREAM:
            self.on_refused()
        else:
            expired = self.deadline <= time.monotonic()
            details = f"RST_STREAM with error code {int(code)} ({code.name})"
            self.finish(reset_to_code(code, expired=expired), details)
        if connection is not None and (connection.waiting or connection.closing):
            connection.stream_ended()

    def on_lost(self, reason: str) -> None:
        self.finish(grpc.StatusCode.UNAVAILABLE, reason)

    def on_deadline(self) -> None:
        self.reset(ErrorCode.CANCEL)
        self.finish(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", final=True)

    def on_refused(self) -> None:
        """The server has not looked at the attempt: it may be sent again whatever it does (gRFC A6, transparent)."""
        self.refusals += 1
        self.connection = None
        if self.deadline <= time.monotonic():
            self.finish(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", final=True)
        elif self.can_be_sent_again and self.refusals <= _MOST_REFUSALS and self._code is None:
            self.restart()
        else:
            self.finish(grpc.StatusCode.UNAVAILABLE, "The server refused the call")

    @property
    def attempt(self) -> Attempt:
        """Why the current attempt was sent."""
        kind = self.plan.kind if self.plan is not None else "first"
        return "transparent" if self.refusals and kind == "first" else kind

    @property
    def has_response(self) -> bool:
        """Whether anything but a status has come."""
        return self._initial is not None

    @property
    def all_received_bytes(self) -> int:
        """Bytes of messages that the current attempt has received, read or not."""
        return self.received_bytes

    @property
    def trailing_fields(self) -> "Fields":
        return self._trailers.fields if self._trailers is not None else []

    @property
    def outcome(self) -> grpc.StatusCode | None:
        """The call's status; None while it is open."""
        return self._code

    def dispatch(self) -> None:
        """Send the call for the first time."""
        self.channel.dispatch(self)

    def _stop_sending(self) -> None:
        """The server has ended the call before it had the whole request: it wants no more of it."""
        if self.connection is not None:
            self.connection.end_early(self)

    @property
    def can_be_sent_again(self) -> bool:
        """Whether everything that was sent is still there."""
        return True

    def restart(self, after: float = 0.0) -> None:
        """Send the call once more, from the beginning, `after` so many seconds."""
        if self._code is not None:
            return
        if self.endpoint is not None:
            self.channel.attempt_withdrawn(self)
        self.connection = None
        self.stream_id = 0
        self.window_offset = 0
        if self.inbox is not None:
            self.inbox.discard()
            self.inbox = None
        self._initial = self._trailers = None
        self._forget_attempt()
        if after > 0.0:
            self.channel.dispatch_later(self, after)
        else:
            self.channel.dispatch(self)

    def _forget_attempt(self) -> None:
        """Drop what the last attempt has received."""

    def on_sent(self) -> None:
        """Everything of the request has gone out."""

    def wait_in(self, line: "OrderedDict[ClientCall, None]") -> None:
        """Wait to be sent."""
        self.connection = None
        self.line = line
        line[self] = None

    def leave_line(self) -> None:
        """Wait no more."""
        if self.line is not None:
            self.line.pop(self, None)
            self.line = None

    # ---- the end

    def reset(self, code: ErrorCode) -> None:
        """Take the call off its connection, or off the channel's waiting line."""
        connection = self.connection
        if connection is not None:
            connection.reset(self, code)
            if connection.waiting or connection.closing:
                connection.stream_ended()
        else:
            self.leave_line()

    def finish(self, code: grpc.StatusCode, details: str, *, final: bool = False) -> None:
        """Take the outcome of an attempt; it is that of the call unless it is sent again.

        Args:
          final: It is not to be sent again.
        """
        if self._code is not None:
            return
        if self.tracked and self.channel.attempt_ended(self, code, final=final):
            return
        self._code = code
        self._details = details
        self._settle()

    def _settle(self) -> None:
        """Tell everybody that the call is over."""
        for waiters in (self._end_waiters, self._head_waiters):
            if waiters is not None:
                _wake(waiters)
        self._end_waiters = self._head_waiters = None
        self._on_finish()
        callbacks, self._callbacks = self._callbacks, ()  # no cycle is left: a callback may hold the call
        for callback in callbacks:
            call_back(callback, self)

    def cancel(self) -> bool:
        """Cancel the call; False when it is over already."""
        if self._code is not None:
            return False
        self._cancelled = True
        self.reset(ErrorCode.CANCEL)
        self.finish(grpc.StatusCode.CANCELLED, CANCELLED_LOCALLY, final=True)
        return True

    def error(self) -> BaseException:
        """Return what awaiting a call raises that did not end well."""
        if self._cancelled:
            return asyncio.CancelledError()
        return AioRpcError(
            self._code or grpc.StatusCode.UNKNOWN,
            _metadata(self._initial),
            _metadata(self._trailers),
            details=self._details,
            debug_error_string=self._debug,
        )

    @property
    def _debug(self) -> str:
        return f"{self.method.path}: {self._details}" if self._code is not OK else ""

    # ---- grpc.aio.Call

    def cancelled(self) -> bool:
        return self._code is grpc.StatusCode.CANCELLED

    def done(self) -> bool:
        return self._code is not None

    def time_remaining(self) -> float | None:
        """Return the seconds until the deadline, at least 0; None when there is none."""
        return None if self.deadline == math.inf else max(0.0, self.deadline - time.monotonic())

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Call `callback` with the call when it is over; at once when it is."""
        if self._code is not None:
            callback(self)
        else:
            self._callbacks = (*self._callbacks, callback)

    async def initial_metadata(self) -> Metadata:
        await self._head_or_end()
        return _metadata(self._initial)

    async def trailing_metadata(self) -> Metadata:
        await self._end()
        return _metadata(self._trailers)

    async def code(self) -> grpc.StatusCode:
        await self._end()
        assert self._code is not None
        return self._code

    async def details(self) -> str:
        await self._end()
        return self._details

    async def debug_error_string(self) -> str:
        await self._end()
        return self._debug

    async def wait_for_connection(self) -> None:
        """Wait until the response's headers have come.

        Raises:
          AioRpcError: the call has ended, and not well.
        """
        await self._head_or_end()
        if self._code is not None and self._code is not OK:
            raise self.error()

    async def _end(self) -> None:
        if self._code is None:
            waiter = asyncio.get_running_loop().create_future()
            if self._end_waiters is None:
                self._end_waiters = []
            self._end_waiters.append(waiter)
            await waiter

    async def _head_or_end(self) -> None:
        if self._code is None and self._initial is None:
            waiter = asyncio.get_running_loop().create_future()
            if self._head_waiters is None:
                self._head_waiters = []
            self._head_waiters.append(waiter)
            await waiter

    def compressed(self, payload: bytes) -> tuple[bytes, bool]:
        """Return a message as it is sent, and whether it is compressed."""
        if self.encoding:
            payload, compressed = compress_if_smaller(self.encoding, payload)
            self.sent_bytes += len(payload)
            return payload, compressed
        self.sent_bytes += len(payload)
        return payload, False

    def __repr__(self) -> str:
        state = self._code.name if self._code is not None else "open"
        return f"<{type(self).__name__} {self.method.path} {state}{f': {self._details}' if self._details else ''}>"


def _metadata(head: "ResponseHead | None") -> Metadata:
    return Metadata(*decode_metadata(head.fields)) if head is not None else Metadata()


def call_back(callback: Callable[[Any], None], call: Any) -> None:
    """Call a user's callback; one that raises must not end the connection's other calls."""
    try:
        callback(call)
    except Exception as error:
        asyncio.get_running_loop().call_exception_handler(
            {"message": f"hasten.rpc: a done callback of {call!r} raised", "exception": error}
        )


def _wake(waiters: "list[asyncio.Future[None]]") -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)


def too_large_to_send(size: int, most: int) -> str:
    """Return the details of a call whose request is too large, in grpc-core's words."""
    return f"Sent message larger than max ({size} vs. {most})"
