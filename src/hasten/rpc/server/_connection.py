"""A server's HTTP/2 connection: requests in, calls out."""

import asyncio
import random
import time
from collections.abc import Callable
from functools import partial
from struct import Struct
from typing import TYPE_CHECKING, Protocol

import grpc

from hasten._core.signals import CallHook, CallSignal
from hasten._core.tracing import Tracer
from hasten.rpc._auth_context import auth_context
from hasten.rpc._limits import KIB, LARGEST_STREAM_ID
from hasten.rpc._peer import peer_name
from hasten.rpc.server._call import OK_BLOCK, RESPONSE_BLOCK, ServerCall, status_of
from hasten.rpc.transport._connection import NOTHING, Connection
from hasten.rpc.transport._inbox import Inbox
from hasten.rpc.wire._compression import ENCODINGS, MessageError
from hasten.rpc.wire._frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    MAX_CONCURRENT_STREAMS,
    MESSAGE_PREFIX,
    PADDED,
    PING,
    PREFACE,
    ConnectionViolation,
    ErrorCode,
    frame,
    goaway_frame,
    headers_frames,
    unpack_u32,
)
from hasten.rpc.wire._hpack import TABLE_SIZE_ZERO, HeaderBlocks
from hasten.rpc.wire._payloads import unpadded
from hasten.rpc.wire._request_head import FIXED, RequestHead, RequestHeads
from hasten.rpc.wire._status import CODE_BY_STATUS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hasten.ledger import WorkRecorder
    from hasten.rpc._limits import Limits
    from hasten.rpc.server._method import Method

_CANCELLED = CODE_BY_STATUS[grpc.StatusCode.CANCELLED]
_INTERNAL = CODE_BY_STATUS[grpc.StatusCode.INTERNAL]
_RESOURCE_EXHAUSTED = CODE_BY_STATUS[grpc.StatusCode.RESOURCE_EXHAUSTED]
_UNIMPLEMENTED = CODE_BY_STATUS[grpc.StatusCode.UNIMPLEMENTED]
_LEAST_DUE_SECONDS = 0.01
_PASSED_OVER_BYTES = 64 * KIB  # of a request that is refused
_DRAIN_PING = b"hastenGA"
_DRAIN_SECONDS = 1.0  # what the peer has to answer the PING between the two GOAWAYs
_SHUTDOWN = "server is shutting down"

# Response headers, a DATA frame with one message, trailers: all that surrounds the message of a unary response.
_pack_answer = Struct(f">5sI{len(RESPONSE_BLOCK)}sHBBBIBI").pack
_pack_trailers = Struct(f">5sI{len(OK_BLOCK)}s").pack
_ANSWER = frame(HEADERS, END_HEADERS, 0, RESPONSE_BLOCK)[:5]
_TRAILERS = frame(HEADERS, END_HEADERS | END_STREAM, 0, OK_BLOCK)[:5]


class Service(Protocol):
    """What a connection asks of its server."""

    limits: "Limits"
    compression: grpc.Compression | None
    hooks: list[CallHook]
    tracer: Tracer | None
    recorder: "WorkRecorder | None"
    counts_calls: bool

    def resolve(self, path: str) -> "Method | None":
        """Return what a path calls, None when there is nothing."""

    def admit(self) -> bool:
        """Whether one more call may run on the server; it is counted then."""

    def release(self) -> None:
        """The handler of a call that was admitted has ended."""

    def tell(self, signal: CallSignal) -> None:
        """Hand a signal to the hooks."""

    def connection_made(self, connection: "ServerConnection") -> None:
        """A client has connected."""

    def connection_lost(self, connection: "ServerConnection") -> None:
        """A client has gone."""


class ServerConnection(Connection[ServerCall]):
    """One client's connection.

    Attributes:
      answers_at_once: A plain unary response may go out as one prebuilt write: the first block has told the peer that
        our table is empty, and no response is compressed or bounded.
      attentive: Somebody wants to know of each call: a hook, a bound on calls, or the drain.
      compression: What responses are compressed with if the client can read it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, service: Service) -> None:
        super().__init__(loop, service.limits)
        self._awaits_preface = PREFACE
        self._service = service
        heads = RequestHeads(service.resolve, service.limits)
        self._blocks = HeaderBlocks(service.limits, RequestHead(), heads.extend, FIXED, heads.plain)
        self._takes_up_to = LARGEST_STREAM_ID
        self._lingering: set[ServerCall] = set()
        self._draining: asyncio.TimerHandle | None = None
        self._age: asyncio.TimerHandle | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._whole_message_bytes = MESSAGE_PREFIX + min(
            service.limits.message_bytes, service.limits.stream_window_bytes - MESSAGE_PREFIX
        )
        self.answers_at_once = False
        self._told_table_size = False
        compresses = service.compression not in {None, grpc.Compression.NoCompression}
        self._answers_plainly = not compresses and not service.limits.sent_message_bytes
        self.attentive = bool(service.hooks) or service.counts_calls
        self.compression = service.compression
        self.peer = "unknown"
        self.auth_context: Mapping[str, list[bytes]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        limits = self.limits
        self.await_settings(limits.preface_seconds)
        self.peer = peer_name(transport)
        self.auth_context = auth_context(transport.get_extra_info("ssl_object"))
        if limits.connection_age_seconds:
            seconds = limits.connection_age_seconds * random.uniform(0.9, 1.1)
            self._age = self.loop.call_later(seconds, self._retire)
        if limits.connection_idle_seconds:
            self._idle = self.loop.call_later(limits.connection_idle_seconds, self._drain_if_idle, 0)
        self._service.connection_made(self)

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._draining, self._age, self._idle):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)
        self._service.connection_lost(self)

    def _side_settings(self) -> dict[int, int]:
        return {MAX_CONCURRENT_STREAMS: self.limits.concurrent_handlers}

    def preface_complete(self) -> None:
        self.await_settings(self.limits.settings_seconds)

    def settings_acknowledged(self) -> None:
        self._blocks.settings_acknowledged()

    def was_opened(self, stream_id: int) -> bool:
        return 0 < stream_id <= self.last_peer_id or self._takes_up_to < stream_id

    def is_due(self, stream: ServerCall) -> bool:
        """Whether a call's deadline is as good as over: a client then resets its stream.

        When a handler is stuck, all of its calls end so, which must not cost the connection. Deadlines below 10 ms
        count like any reset, or they would be a way around the bucket.
        """
        timeout = stream.head.timeout
        return timeout >= _LEAST_DUE_SECONDS and stream.deadline - time.monotonic() < timeout / 10

    # ---- requests

    def on_headers(self, stream_id: int, block: bytes, *, ends_stream: bool) -> None:
        head, rest = self._blocks.known.get(block), b""
        if head is None:
            head, rest = self._decode(block)
        if stream_id <= self.last_peer_id:
            self._on_trailers(stream_id, head, ends_stream=ends_stream)
            return
        if not stream_id & 1:
            raise ConnectionViolation(ErrorCode.PROTOCOL_ERROR, f"client opened stream {stream_id}")
        if stream_id > self._takes_up_to:
            return
        self.last_peer_id = stream_id
        self.opened += 1
        if len(self.streams) + len(self._lingering) >= self.limits.concurrent_handlers:
            self.violated(stream_id, ErrorCode.REFUSED_STREAM)
            return
        call = self.streams[stream_id] = ServerCall(self, stream_id, head, rest)
        if not head.is_ready or ends_stream:
            self._open_slowly(call, head, ends_stream=ends_stream)
            return
        method = call.method = head.method
        if not method.takes_whole_message:
            call.open_inbox()
            self._start(call, None)

    def _decode(self, block: bytes) -> tuple[RequestHead, bytes]:
        """Return a block's head, and what of the block it leaves to be parsed when somebody asks for it."""
        blocks = self._blocks
        split = blocks.split(block)
        if split is not None:
            head, rest, size = split
            if head.is_ready and head.size + size <= self.limits.header_list_bytes:
                return head, rest
        before = blocks.decoded_bytes
        head = blocks.decode(block)
        if blocks.decoded_bytes != before:
            self.reading.charge_work(blocks.decoded_bytes - before)
        return head, b""

    def _open_slowly(self, call: ServerCall, head: RequestHead, *, ends_stream: bool) -> None:
        """Open a stream whose request is refused or has no message, in the order of the protocols' checks."""
        if head.malformed or head.is_incomplete or (ends_stream and head.content_length > 0):
            self.violated(call.stream_id, ErrorCode.PROTOCOL_ERROR)
            return
        if head.size > self.limits.header_list_hard_bytes:
            raise ConnectionViolation(ErrorCode.ENHANCE_YOUR_CALM, "header list too large")
        if ends_stream:
            self._end_request(call)
        call.refusal = self._refusal(call, head)
        if call.refusal is None:
            call.method = head.method
            self._start(call, None)
            return
        if self._service.hooks and head.is_grpc and head.http_method == "POST":
            self._tell_start(call)
        if ends_stream:
            self.loop.call_soon(call.refusal)

    def _refusal(self, call: ServerCall, head: RequestHead) -> Callable[[], None] | None:
        """Return what answers a request that will not be run, None if it will be."""
        if head.size > self.limits.header_list_bytes:
            return partial(call.end, _RESOURCE_EXHAUSTED, "received metadata size exceeds soft limit")
        if head.http_method != "POST":
            return partial(call.refuse_http, 405, "gRPC requests are POST")
        if not head.is_grpc:
            return partial(call.refuse_http, 415, f"invalid content-type {head.content_type!r}")
        if head.encoding not in ENCODINGS:
            return partial(call.refuse_encoding, f"Compression encoding {head.encoding[:40]!r} is not supported")
        if head.method is None:
            return partial(call.end, _UNIMPLEMENTED, "Method not found!")
        return None

    def _on_trailers(self, stream_id: int, head: RequestHead, *, ends_stream: bool) -> None:
        call = self.streams.get(stream_id)
        if call is None or call.half_closed:
            raise ConnectionViolation(ErrorCode.STREAM_CLOSED, f"HEADERS on closed stream {stream_id}")
        if not ends_stream or head.has_pseudo_fields or head.malformed:
            self.violated(stream_id, ErrorCode.PROTOCOL_ERROR)
        else:
            self._on_request_end(call)

    def on_data(self, stream_id: int, flags: int, data: bytes, start: int, end: int) -> None:
        call = self.streams.get(stream_id)
        if call is None:
            self.data_on_closed_stream(stream_id, flags, data[start:end])
        elif call.half_closed:
            self.violated(stream_id, ErrorCode.STREAM_CLOSED)
        elif call.refusal is not None:
            self._pass_over(call, flags, data[start:end])
        elif (
            flags == END_STREAM
            and call.inbox is None
            and end - start >= MESSAGE_PREFIX
            and not data[start]
            and unpack_u32(data, start + 1)[0] == end - start - MESSAGE_PREFIX
            and end - start <= self._whole_message_bytes
            and call.head.content_length < 0
        ):
            call.half_closed = True
            call.request_bytes = end - start - MESSAGE_PREFIX
            self._start(call, data[start + MESSAGE_PREFIX : end])
        else:
            self._take_data(call, flags, data[start:end])

    def _pass_over(self, call: ServerCall, flags: int, payload: bytes) -> None:
        """Read over the body of a request that is refused; the answer comes at its end, or when it is long."""
        call.body_bytes += len(unpadded(payload)) if flags & PADDED else len(payload)
        if flags & END_STREAM:
            self._on_request_end(call)
        elif call.body_bytes > _PASSED_OVER_BYTES and call.refusal is not None and not call.ended:
            call.refusal()

    def _take_data(self, call: ServerCall, flags: int, payload: bytes) -> None:
        size = len(payload)
        if flags & PADDED:
            payload = unpadded(payload)
        call.body_bytes += len(payload)
        if self.held_bytes + len(payload) > self.limits.held_bytes:
            self.violated(call.stream_id, ErrorCode.ENHANCE_YOUR_CALM)
            return
        try:
            if not call.open_inbox().feed(payload, padding=size - len(payload)):
                self.violated(call.stream_id, ErrorCode.FLOW_CONTROL_ERROR)
                return
        except MessageError as error:
            call.end_early(*status_of(error))
            return
        if flags & END_STREAM:
            self._on_request_end(call)

    def _on_request_end(self, call: ServerCall) -> None:
        if call.head.content_length not in (-1, call.body_bytes):
            self.violated(call.stream_id, ErrorCode.PROTOCOL_ERROR)
            return
        inbox = self._end_request(call)
        if inbox.is_incomplete:
            call.end_early(_INTERNAL, "The request ended within a message")
        elif call.refusal is not None and not call.ended:
            call.refusal()
        elif call.task is None and not call.ended:
            self._start(call, None)

    def _end_request(self, call: ServerCall) -> Inbox:
        call.half_closed = True
        inbox = call.open_inbox()
        inbox.end()
        return inbox

    # ---- calls

    def _start(self, call: ServerCall, message: bytes | None) -> None:
        if self.attentive and not self._attend(call):
            return
        method, recorder = call.method, self._service.recorder
        if recorder is None or not recorder.wants(call.span):
            work = method.run(call, message)
        else:
            work = recorder.recorded(method.path, getattr(method, "behaviour", None), method.run, call, message)
        call.task = self.loop.create_task(work)

    def _attend(self, call: ServerCall) -> bool:
        service = self._service
        if service.hooks:
            self._tell_start(call)
        if not service.admit():
            call.end(_RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!")
            return False
        call.admitted = True
        return True

    def _tell_start(self, call: ServerCall) -> None:
        call.started_at = time.monotonic()
        tracer = self._service.tracer
        if tracer is not None:
            call.span, call.parent = tracer.begin(call.traceparent)
        self._service.tell(call.started_signal())

    def answer(self, call: ServerCall, payload: bytes, size: int) -> None:
        """Send a whole response: headers, one message, trailers with status OK; one write, the hot path."""
        stream_id = call.stream_id
        del self.streams[stream_id]
        high, low, length = size >> 8, size & 0xFF, size - MESSAGE_PREFIX
        answer = _pack_answer(_ANSWER, stream_id, RESPONSE_BLOCK, high, low, DATA, 0, stream_id, 0, length)
        self.write(answer, payload, _pack_trailers(_TRAILERS, stream_id, OK_BLOCK))

    def head_frames(self, stream_id: int, flags: int, block: bytes) -> bytes:
        """Return the frames of a header block; the first tells the peer that our table is empty."""
        if not self._told_table_size:
            self._told_table_size = True
            self.answers_at_once = self._answers_plainly
            block = TABLE_SIZE_ZERO + block
        return headers_frames(stream_id, flags, block, self.output.frame_size)

    def cancel_calls(self) -> None:
        """End all calls that are open with CANCELLED, and stop their handlers."""
        for call in list(self.streams.values()):
            call.end_early(_CANCELLED, "Server stopped")
        self._take_no_more()
        self._close_if_done()

    def linger(self, call: ServerCall) -> None:
        """Count a call whose stream is over and whose handler is not."""
        self._lingering.add(call)

    def stream_ended(self, call: ServerCall) -> None:
        """Called when a stream is over, if `attentive`."""
        if self._service.hooks and call.started_at:
            self._service.tell(call.finished_signal())
        self._close_if_done()

    def handler_ended(self, call: ServerCall) -> None:
        """Called when a handler has returned or raised, if `attentive` or if it lingers."""
        self._lingering.discard(call)
        if call.admitted:
            self._service.release()
        self._close_if_done()

    # ---- the end

    def drain(self) -> None:
        """Take no new calls, let those that are open finish, then close (RFC 9113 section 6.8).

        Two GOAWAYs: the first says that there will be a second, so that calls on the way are not lost; the second, a
        round trip later, names the last call that was taken. Clients send later ones elsewhere.
        """
        if self._draining is None and not self.closing:
            self.attentive = True
            self.write(goaway_frame(LARGEST_STREAM_ID, ErrorCode.NO_ERROR, _SHUTDOWN) + frame(PING, 0, 0, _DRAIN_PING))
            self.output.flush()
            self._draining = self.loop.call_later(_DRAIN_SECONDS, self._take_no_more)

    def on_ping_acknowledged(self, payload: bytes) -> None:
        if payload == _DRAIN_PING and self._draining is not None:
            self._take_no_more()

    def _take_no_more(self) -> None:
        if self._draining is not None and not self.closing:
            self._draining.cancel()
            self.closing = True
            self._takes_up_to = self.last_peer_id
            self.write(goaway_frame(self.last_peer_id, ErrorCode.NO_ERROR, _SHUTDOWN))
            self.output.flush()
            self._close_if_done()

    def _close_if_done(self) -> None:
        if self._takes_up_to < LARGEST_STREAM_ID and not self.streams and not self._lingering:
            self._close_gently()

    def _close_gently(self) -> None:
        """Close when the client has, a second later at most.

        A socket that is closed with bytes unread is reset (RFC 1122 section 4.2.2.13), for which the client may lose
        our last words: so only our half is closed, and what still comes is read and dropped. TLS has no halves.
        """
        transport = self._transport
        if self._expected == NOTHING:
            return
        if transport is None or transport.is_closing() or not transport.can_write_eof():
            self.close()
            return
        self._expected = NOTHING
        self._keepalive.close()
        self.output.flush()
        try:
            transport.write_eof()
        except OSError:  # the client has gone, which the loop has not told us yet
            self.abort()
        else:
            self._abort_soon()

    def _retire(self) -> None:
        """Drain at the connection's age, and cut it after the grace (gRFC A9)."""
        self.drain()
        self._age = self.loop.call_later(self.limits.connection_age_grace_seconds, self.abort)

    def _drain_if_idle(self, last_peer_id: int) -> None:
        if not self.streams and last_peer_id == self.last_peer_id:
            self.drain()
        else:
            seconds = self.limits.connection_idle_seconds
            self._idle = self.loop.call_later(seconds, self._drain_if_idle, self.last_peer_id)
