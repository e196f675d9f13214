"""One call on the server: an HTTP/2 stream, and the `grpc.aio.ServicerContext` that its handler gets."""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
from grpc.aio import AbortError, UsageError

from hasten._core.signals import CallFinished, CallStarted
from hasten.ledger import recorded_since
from hasten.rpc._auth_context import peer_identity_key
from hasten.rpc.transport._inbox import Inbox
from hasten.rpc.transport._stream import Stream
from hasten.rpc.wire._compression import (
    ACCEPT_ENCODING,
    IDENTITY,
    MessageError,
    MessageTooLarge,
    accepted_encodings,
    compress_if_smaller,
    decompress,
    encoding_of,
)
from hasten.rpc.wire._frames import DATA, END_HEADERS, END_STREAM, MESSAGE_PREFIX, ErrorCode, frame, reset_frame
from hasten.rpc.wire._hpack import encode_field, plain_fields
from hasten.rpc.wire._metadata import decode_metadata, encode_metadata, metadata_pairs, percent_encode
from hasten.rpc.wire._status import CODE_BY_STATUS, STATUS_BY_CODE, status_to_reset

if TYPE_CHECKING:
    from hasten.rpc.server._connection import ServerConnection
    from hasten.rpc.server._method import Method
    from hasten.rpc.wire._hpack import Fields
    from hasten.rpc.wire._request_head import RequestHead

RESPONSE_BLOCK = b"\x88" + encode_field(b"content-type", b"application/grpc")
"""`:status 200` by its index in the static table, and the content type."""
OK_BLOCK = encode_field(b"grpc-status", b"0")
_OK = 0
_CANCELLED = CODE_BY_STATUS[grpc.StatusCode.CANCELLED]
_DEADLINE_EXCEEDED = CODE_BY_STATUS[grpc.StatusCode.DEADLINE_EXCEEDED]
_UNKNOWN = CODE_BY_STATUS[grpc.StatusCode.UNKNOWN]
_ALREADY_FINISHED = "RPC already finished."
_EXPECTED_BYTES = "Expected bytes, got {}"
_logger = logging.getLogger("hasten.rpc")


class ServerCall(Stream, grpc.aio.ServicerContext[Any, Any]):
    """A call on the server.

    It is also the `Ambient` of its handler: calls that the handler makes take over its deadline and its trace.

    Attributes:
      connection, head: Where it came from, and its request's head.
      method: What it calls; set once interceptors and generic handlers have settled on it.
      task: What runs the handler; None before.
      running: The handler has begun and not ended.
      ended: Our side of the stream is over: a status was sent, or nobody would read it.
      half_closed: The client's side of the stream is over.
      failed: The handler has set an error code: its response is not sent, nor serialised.
      admitted: The call counts against `maximum_concurrent_rpcs`.
      refusal: Answers a request that is not run, once it is complete.
      body_bytes: DATA received, without padding, if it did not come whole in one frame.
      span, parent: Where the server is traced, the call's own traceparent, and the id of the span that it is within.
    """

    method: "Method"
    task: "asyncio.Task[None] | None" = None
    running: bool = False
    ended: bool = False
    half_closed: bool = False
    failed: bool = False
    admitted: bool = False
    body_bytes: int = 0
    refusal: Callable[[], None] | None = None
    request_bytes: int = 0
    response_bytes: int = 0
    started_at: float = 0.0
    span: str = ""
    parent: str = ""
    _rest = b""  # of the request's header block, not parsed
    _plain = True  # nothing but a message and status OK will be sent
    _code: int = _OK
    _details = ""
    _trailing_metadata: Any = ()
    _trailing_block = b""
    _initial_sent = False
    _encoding: str | None = None
    _compress_next = True
    _gone = False
    _lingers = False
    _abort_error: AbortError | None = None
    _callbacks: tuple[Callable[["ServerCall"], None], ...] = ()

    def __init__(self, connection: "ServerConnection", stream_id: int, head: "RequestHead", rest: bytes) -> None:
        self.connection = connection
        self.stream_id = stream_id
        self.head = head
        if rest:
            self._rest = rest
        if head.timeout != math.inf:
            self.deadline = deadline = time.monotonic() + head.timeout
            if deadline < connection.deadlines.next_sweep:
                connection.deadlines.watch(deadline)

    @property
    def traceparent(self) -> str:
        return self.span or self.field(b"traceparent")

    @property
    def tracestate(self) -> str:
        """What vendors of tracing want to be carried on; empty without."""
        return self.field(b"tracestate")

    @property
    def request_id(self) -> str:
        """The client's `x-request-id`; empty without one."""
        return self.field(b"x-request-id")

    def field(self, wanted: bytes) -> str:
        """Return a field of the client's metadata; empty without it."""
        return next((value.decode("latin-1") for name, value in self.fields if name == wanted), "")

    @property
    def fields(self) -> "Fields":
        """The client's metadata as it came."""
        return [*self.head.fields, *plain_fields(self._rest)] if self._rest else self.head.fields

    # ---- requests

    def open_inbox(self) -> Inbox:
        """Return the inbox, made now if there is none."""
        if self.inbox is None:
            self.inbox = Inbox(self.connection, self.stream_id, self.connection.limits)
            if self.half_closed:
                self.inbox.end()  # the only message came whole, and went to the handler
        return self.inbox

    def keep(self, message: bytes) -> None:
        """Put a message that came whole where a handler that reads a stream finds it."""
        self.request_bytes = 0  # counted when it is read
        self.open_inbox().keep(message)

    async def only_message(self) -> bytes:
        """Return the one message of a unary request.

        Raises:
          AbortError: there is none, or more than one has come (UNIMPLEMENTED, as gRPC's status codes say). The end
            is not waited for: an interceptor may have put a unary handler, which aborts, before a stream.
        """
        inbox = self.open_inbox()
        if not await inbox.available():
            await self.abort(grpc.StatusCode.UNIMPLEMENTED, "Request message is missing")
        message = self._take(inbox)
        if inbox.messages:
            await self.abort(grpc.StatusCode.UNIMPLEMENTED, "More than one request message")
        return message

    async def next_message(self) -> bytes | None:
        """Return the next message of a request stream, None at its end."""
        inbox = self.open_inbox()
        return self._take(inbox) if await inbox.available() else None

    def _take(self, inbox: Inbox) -> bytes:
        is_compressed, message = inbox.pop()
        self.request_bytes += len(message)
        if is_compressed:
            return decompress(self.head.encoding, message, self.connection.limits.message_bytes)
        return message

    async def read(self) -> Any:
        """Return the next request, `grpc.aio.EOF` at the end of the stream."""
        self._require_open()
        message = await self.next_message()
        return grpc.aio.EOF if message is None else self.method.deserialize(message)

    # ---- responses

    async def write(self, message: Any) -> None:
        """Send a response, and wait until the peer's window and the socket have taken it.

        Cancellation: the message will be sent all the same.
        """
        self.send(self.method.serialize(message))
        if self.unsent is not None:
            await self.connection.output.writable(self)

    def send(self, payload: bytes) -> None:
        """Send one message of the response, or keep it until the peer takes it."""
        self._require_open()
        if type(payload) is not bytes:
            raise TypeError(_EXPECTED_BYTES.format(type(payload).__name__))
        head = b"" if self._initial_sent else self._initial_frames([])
        payload, is_compressed = self._compressed(payload)
        self.connection.output.send_message(self, payload, compressed=is_compressed, head=head)

    def _compressed(self, payload: bytes) -> tuple[bytes, bool]:
        limit = self.connection.limits.sent_message_bytes
        if limit and len(payload) > limit:
            raise MessageTooLarge(len(payload), limit, sent=True)
        is_compressed = False
        if self._encoding and self._compress_next:
            payload, is_compressed = compress_if_smaller(self._encoding, payload)
        self._compress_next = True
        self.response_bytes += len(payload)
        return payload, is_compressed

    def respond(self, payload: bytes) -> None:
        """Send the one message of a unary response with status OK, as a single write if the peer takes it."""
        if self.ended:
            return
        if type(payload) is not bytes:  # a text among what is sent together would take other calls with it
            raise TypeError(_EXPECTED_BYTES.format(type(payload).__name__))
        size = len(payload) + MESSAGE_PREFIX
        output = self.connection.output
        if self._plain and self.inbox is None and self.connection.answers_at_once and output.takes_at_once(self, size):
            output.window -= size
            self.connection.answer(self, payload, size)
            self.response_bytes = size - MESSAGE_PREFIX
            self._finish()
            return
        self.send(payload)
        self.end_as_set()

    async def send_initial_metadata(self, initial_metadata: Any) -> None:
        self._require_open()
        if self._initial_sent:
            raise UsageError("Send initial metadata failed: already sent")
        self.connection.write(self._initial_frames(encode_metadata(initial_metadata)))

    def _initial_frames(self, fields: "Fields") -> bytes:
        self._plain = False
        self._initial_sent = True
        if self._encoding is None:
            self._choose_encoding(self.connection.compression)
        if self._encoding:
            fields.insert(0, (b"grpc-encoding", self._encoding.encode()))
        block = RESPONSE_BLOCK + b"".join(encode_field(*field) for field in fields)
        return self.connection.head_frames(self.stream_id, END_HEADERS, block)

    def _choose_encoding(self, compression: grpc.Compression | None) -> None:
        """Take an encoding for the response if the client can read it."""
        encoding = encoding_of(compression)
        accepts = encoding != IDENTITY and encoding in accepted_encodings(self.head.accept_encoding)
        self._encoding = encoding if accepts else ""

    def end(self, code: int, details: str = "") -> None:
        """Send a status, after what is still to be sent; nothing if one was sent."""
        if self.ended:
            return
        self._code, self._details = code, details
        block = OK_BLOCK if not code and not details else _status_block(code, details)
        if not self._initial_sent:
            block = RESPONSE_BLOCK + block
        self._initial_sent = True
        self._send_last(block + self._trailing_block)

    def end_as_set(self) -> None:
        """Send the status that the handler has set, OK without."""
        self.end(self._code, self._details)

    def refuse_http(self, status: int, reason: str) -> None:
        """Answer what is no gRPC request with an HTTP status and a line of text (gRPC over HTTP/2, Content-Type)."""
        if self.ended:
            return
        block = encode_field(b":status", b"%d" % status) + encode_field(b"content-type", b"text/plain")
        self.connection.write(self.connection.head_frames(self.stream_id, END_HEADERS, block))
        self.connection.output.send_data(self, reason.encode())
        self._send_tail(frame(DATA, END_STREAM, self.stream_id))

    def refuse_encoding(self, details: str) -> None:
        """Answer a request in an encoding that we do not know (gRPC's compression.md)."""
        if self.ended:
            return
        block = RESPONSE_BLOCK + encode_field(b"grpc-accept-encoding", ACCEPT_ENCODING)
        self._code, self._details = CODE_BY_STATUS[grpc.StatusCode.UNIMPLEMENTED], details
        self._send_last(block + _status_block(self._code, details))

    def _send_last(self, block: bytes) -> None:
        self._send_tail(self.connection.head_frames(self.stream_id, END_HEADERS | END_STREAM, block))

    def _send_tail(self, tail: bytes) -> None:
        if not self.half_closed:
            tail += reset_frame(self.stream_id, ErrorCode.NO_ERROR)  # RFC 9113 section 8.1: send no more of it
        self.ended = True
        if self.connection.output.paused:
            self.connection.reading.charge_reply()
        self.connection.output.send_tail(self, tail)

    def on_sent(self) -> None:
        self.connection.streams.pop(self.stream_id, None)
        if self.inbox is not None:
            self.inbox.discard()
        self.refusal = None  # it holds the call
        self._finish()

    def _finish(self) -> None:
        self.ended = True
        if self.connection.attentive:
            self.connection.stream_ended(self)

    def _require_open(self) -> None:
        if self._abort_error is not None:
            raise self._abort_error
        if self._gone:
            raise asyncio.CancelledError
        if self.ended:
            raise UsageError(_ALREADY_FINISHED)

    # ---- the ways to end early

    def end_early(self, code: int, details: str) -> None:
        """Send a status, and stop the handler."""
        if self.unsent is None:
            self.end(code, details)
        else:
            self._cut(code, details)
        self._interrupt()

    def _cut(self, code: int, details: str) -> None:
        """Reset the stream: what is unsent waits for the peer, perhaps for ever, and a status would wait behind it."""
        if not self.ended:
            self._code, self._details = code, details
        self.connection.reset(self, ErrorCode(status_to_reset(STATUS_BY_CODE[code])))
        self._finish()

    def on_deadline(self) -> None:
        self.end_early(_DEADLINE_EXCEEDED, "Deadline Exceeded")

    def on_reset(self, code: ErrorCode) -> None:
        self._go(_DEADLINE_EXCEEDED if self.connection.is_due(self) else _CANCELLED)

    def on_lost(self, reason: str) -> None:
        self._go(_CANCELLED)

    def _go(self, code: int) -> None:
        """The client has gone: nobody will read what would be sent."""
        self._gone = True
        if not self.ended:
            self._code = code
        self.refusal = None
        self._finish()
        self._interrupt()

    def _interrupt(self) -> None:
        task = self.task
        if task is not None and not task.done():
            task.cancel()
            if self.running:
                self._lingers = True
                self.connection.linger(self)
            else:  # its first step was still to come, and never will
                self.handler_ended()

    def handler_ended(self) -> None:
        """Called once the handler has returned or raised, whichever way."""
        self.running = False
        self.task = None  # its context holds this call, as the ambient: no cycle is left for the garbage collector
        if self._lingers or self.connection.attentive:
            self.connection.handler_ended(self)
        for callback in self._callbacks:
            try:
                callback(self)
            except Exception:
                _logger.exception("Error in callback for method [%s]", self.head.path)

    # ---- the rest of grpc.aio.ServicerContext

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Any = ()) -> NoReturn:
        """End the call with an error status, by raising `grpc.aio.AbortError`."""
        if self._abort_error is not None:
            raise UsageError("Abort already called!")
        if trailing_metadata:
            self.set_trailing_metadata(trailing_metadata)
        _require_text(details)
        self._abort_error = AbortError("Locally aborted.")
        number = _number(code)
        if number == _OK:
            number, details = _UNKNOWN, "abort() called with StatusCode.OK"
        self.end(number, details or self._details)
        raise self._abort_error

    async def abort_with_status(self, status: grpc.Status) -> NoReturn:
        await self.abort(status.code, status.details, status.trailing_metadata)

    def set_trailing_metadata(self, trailing_metadata: Any) -> None:
        pairs = metadata_pairs(trailing_metadata)
        self._trailing_block = b"".join(encode_field(*field) for field in encode_metadata(pairs))
        self._trailing_metadata = pairs
        self._plain = False

    def invocation_metadata(self) -> Any:
        return decode_metadata(self.fields)

    def set_code(self, code: Any) -> None:
        self._code = _number(code)
        self.failed = self._code != _OK
        self._plain = False

    def set_details(self, details: str) -> None:
        _require_text(details)
        self._details = details or ""
        self._plain = False

    def set_compression(self, compression: grpc.Compression) -> None:
        if self._initial_sent:
            raise RuntimeError("Compression setting must be specified before sending initial metadata")
        self._choose_encoding(compression)
        self._plain = False

    def disable_next_message_compression(self) -> None:
        self._compress_next = False

    def peer(self) -> str:
        return self.connection.peer

    def peer_identities(self) -> Iterable[bytes] | None:
        key = self.peer_identity_key()
        return self.auth_context().get(key) if key else None

    def peer_identity_key(self) -> str | None:
        return peer_identity_key(self.connection.auth_context)

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        return self.connection.auth_context

    def time_remaining(self) -> Any:
        """Return the seconds left until the deadline, at least 0; None when there is none."""
        return None if self.deadline == math.inf else max(0.0, self.deadline - time.monotonic())

    def trailing_metadata(self) -> Any:
        return self._trailing_metadata

    def code(self) -> Any:
        """Return the status code that was set, None before, as grpc.aio does."""
        return STATUS_BY_CODE[self._code] if self._code else None

    def details(self) -> str:
        return self._details

    def add_done_callback(self, callback: Callable[["ServerCall"], None]) -> None:
        self._callbacks = (*self._callbacks, callback)

    def cancelled(self) -> bool:
        return self._code == _CANCELLED

    def done(self) -> bool:
        return self.ended

    # ---- signals

    def started_signal(self) -> CallStarted:
        return CallStarted("server", self.head.path, self.peer(), "first")

    def finished_signal(self) -> CallFinished:
        return CallFinished(
            "server",
            self.head.path,
            self.peer(),
            "first",
            STATUS_BY_CODE[self._code].name,
            time.monotonic() - self.started_at,
            self.response_bytes,
            self.request_bytes,
            self.span,
            self.parent,
            recorded_since(),
        )


def status_of(error: MessageError) -> tuple[int, str]:
    """Return the status of a call that ends with an error of a message; a size is told in grpc-core's words."""
    side = "SERVER: " if isinstance(error, MessageTooLarge) else ""
    return CODE_BY_STATUS[error.code], f"{side}{error}"


def _number(code: Any) -> int:
    """Return a status code's number; what is no status code is UNKNOWN, as in grpc.aio."""
    if isinstance(code, grpc.StatusCode):
        return CODE_BY_STATUS[code]
    return code if isinstance(code, int) and code in STATUS_BY_CODE else _UNKNOWN


def _require_text(details: Any) -> None:
    if not isinstance(details, str | None):
        raise TypeError(f"Argument 'details' has incorrect type (expected str, got {type(details).__name__})")


def _status_block(code: int, details: str) -> bytes:
    block = encode_field(b"grpc-status", b"%d" % code)
    return block + encode_field(b"grpc-message", percent_encode(details)) if details else block
