"""A channel's HTTP/2 connection: calls in, responses out."""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Iterable
from itertools import chain
from typing import TYPE_CHECKING, Protocol

import grpc

from hasten.rpc._limits import Limits
from hasten.rpc._peer import peer_name
from hasten.rpc.channel._call import ClientCall
from hasten.rpc.transport._connection import Connection
from hasten.rpc.wire._frames import (
    END_HEADERS,
    END_STREAM,
    MESSAGE_PREFIX,
    PREFACE,
    ConnectionViolation,
    ErrorCode,
    headers_frames,
    reset_frame,
    unpack_u32,
)
from hasten.rpc.wire._hpack import TABLE_SIZE_ZERO, HeaderBlocks
from hasten.rpc.wire._response_head import FIXED, ResponseHead, ResponseHeads

if TYPE_CHECKING:
    from hasten.rpc.channel._encoding import RequestEncoder


class Owner(Protocol):
    """What a connection tells its subchannel."""

    def connection_ready(self, connection: "ClientConnection") -> None:
        """The server's settings have come: calls may be sent."""

    def connection_closing(self, connection: "ClientConnection") -> None:
        """No more calls may be sent; those that are open go on."""

    def connection_gone(self, connection: "ClientConnection") -> None:
        """The connection is lost."""


class ClientConnection(Connection[ClientCall]):
    """One connection to a server.

    Attributes:
      timeout_field: Makes the grpc-timeout field for a deadline.
      waiting: Calls that wait for the server's SETTINGS_MAX_CONCURRENT_STREAMS to allow them, or for it to read on.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, limits: Limits, encoder: "RequestEncoder", owner: Owner
    ) -> None:
        super().__init__(loop, limits)
        self.peer = "unknown"
        self.waiting: OrderedDict[ClientCall, None] = OrderedDict()
        self.timeout_field = encoder.timeout
        self._owner = owner
        self._next_id = 1
        self._blocks = HeaderBlocks(limits, ResponseHead(), ResponseHeads(limits).extend, FIXED)
        self._first_block = True
        self._whole_message_bytes = MESSAGE_PREFIX + min(
            limits.message_bytes, limits.stream_window_bytes - MESSAGE_PREFIX
        )
        self._most_streams = self.peer_settings.concurrent_streams
        self._half_open: set[int] = set()
        self._told_closing = False
        self._ready = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.peer = peer_name(transport)

    def _first_words(self) -> bytes:
        return PREFACE + super()._first_words()

    def settings_acknowledged(self) -> None:
        self._blocks.settings_acknowledged()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._most_streams = 0  # a server that reads nothing gets no further calls to pile up before it

    def resume_writing(self) -> None:
        super().resume_writing()
        self._most_streams = self.peer_settings.concurrent_streams
        self._start_waiting()

    def on_settings(self) -> None:
        if not self.output.paused:
            self._most_streams = self.peer_settings.concurrent_streams
        if not self._ready:
            self._ready = True
            self._owner.connection_ready(self)
        self._start_waiting()

    def charge_reset(self) -> None:
        """Let the server reset as many streams as it likes: each was a call of ours."""

    @property
    def sent_calls(self) -> int:
        """Streams opened since the connection began."""
        return self._next_id // 2

    @property
    def is_used_up(self) -> bool:
        """Whether its stream ids have run out: it ends by no fault of the server's."""
        return self._next_id > self.limits.last_stream_id

    def was_opened(self, stream_id: int) -> bool:
        return stream_id & 1 == 1 and stream_id < self._next_id

    # ---- requests

    def start(self, call: ClientCall) -> None:
        """Open a stream for a call, or let it wait until the server takes one more; not to be called when `closing`."""
        if call.deadline < math.inf and call.deadline <= time.monotonic():
            call.on_deadline()
            return
        stream_id = self._next_id
        if len(self.streams) >= self._most_streams:
            call.wait_in(self.waiting)
            self.deadlines.watch(call.deadline)
            return
        self._next_id = stream_id + 2
        call.stream_id = stream_id
        call.connection = self
        self.streams[stream_id] = call
        if self._first_block:
            self._first_block = False
            call.send(self, TABLE_SIZE_ZERO)
        else:
            call.send(self)
        if call.deadline < self.deadlines.next_sweep:
            self.deadlines.watch(call.deadline)
        if stream_id + 2 > self.limits.last_stream_id:
            self.retire()

    def head_frames(self, stream_id: int, block: bytes) -> bytes:
        """Return the frames of a header block."""
        return headers_frames(stream_id, END_HEADERS, block, self.output.frame_size)

    def open_streams(self) -> Iterable[ClientCall]:
        return chain(self.streams.values(), self.waiting)

    # ---- responses

    def on_headers(self, stream_id: int, block: bytes, *, ends_stream: bool) -> None:
        head = self._blocks.known.get(block)
        if head is None:
            head = self._decode(block)
        call = self.streams.get(stream_id)
        if call is None:
            self.check_was_opened(stream_id)
        elif ends_stream:
            del self.streams[stream_id]
            call.on_trailers(head)
            if self.waiting or self.closing:
                self.stream_ended()
        else:
            call.on_initial(head)

    def _decode(self, block: bytes) -> ResponseHead:
        blocks = self._blocks
        before = blocks.decoded_bytes
        head = blocks.decode(block)
        if blocks.decoded_bytes != before:
            self.reading.charge_work(blocks.decoded_bytes - before)
        return head

    def on_data(self, stream_id: int, flags: int, data: bytes, start: int, end: int) -> None:
        call = self.streams.get(stream_id)
        if call is None:
            self.check_was_opened(stream_id)
        elif (
            not flags
            and call.inbox is None
            and end - start >= MESSAGE_PREFIX
            and not data[start]
            and unpack_u32(data, start + 1)[0] == end - start - MESSAGE_PREFIX
            and end - start <= self._whole_message_bytes
        ):
            call.on_message(data[start + MESSAGE_PREFIX : end])
        else:
            self._take_data(call, flags, data[start:end])

    def _take_data(self, call: ClientCall, flags: int, payload: bytes) -> None:
        if self.held_bytes + len(payload) > self.limits.held_bytes:
            self.violated(call.stream_id, ErrorCode.ENHANCE_YOUR_CALM)
            return
        call.on_data(flags, payload)
        if flags & END_STREAM and self.streams.pop(call.stream_id, None) is not None:
            if call.unsent is not None:
                self.end_early(call)
            if call.inbox is not None:
                call.inbox.end()
            call.finish(grpc.StatusCode.UNKNOWN, "No status received")
            self.stream_ended()

    def stream_ended(self) -> None:
        """Called when a stream has ended while calls wait, or while the connection closes."""
        if not self.closing:
            self._start_waiting()
        elif not self.streams:
            self.close()

    def end_early(self, call: ClientCall) -> None:
        """Let go of a stream that the server has ended before it had the whole request.

        Most servers reset it behind their status (RFC 9113 section 8.1), so we do only for those that do not: else
        the stream would stay half open with them.
        """
        self.output.drop(call)
        self._half_open.add(call.stream_id)
        self.loop.call_soon(self._reset_half_open, call.stream_id)

    def _reset_half_open(self, stream_id: int) -> None:
        if stream_id in self._half_open and not self.lost.done():
            self._half_open.discard(stream_id)
            self.write(reset_frame(stream_id, ErrorCode.NO_ERROR))

    def _on_rst_stream(self, stream_id: int, payload: bytes) -> None:
        self._half_open.discard(stream_id)
        super()._on_rst_stream(stream_id, payload)

    def _start_waiting(self) -> None:
        while self.waiting and len(self.streams) < self._most_streams and not self.closing:
            call, _ = self.waiting.popitem(last=False)
            self.start(call)
        if self.closing:
            self._give_back()

    def _give_back(self) -> None:
        """Hand the calls that wait here back to the channel."""
        while self.waiting:
            call, _ = self.waiting.popitem(last=False)
            call.restart()

    # ---- the end

    def on_goaway(self, last_stream_id: int) -> None:
        self.closing = True
        self._tell_closing()
        refused = [stream_id for stream_id in self.streams if stream_id > last_stream_id]
        calls = [self.streams.pop(stream_id) for stream_id in refused]
        for call in calls:
            self.abandon(call)
            call.on_refused()
        self.stream_ended()

    def retire(self) -> None:
        """Take no more calls and close once the open ones have ended."""
        self.closing = True
        self._tell_closing()
        self.stream_ended()

    def _tell_closing(self) -> None:
        if not self._told_closing:
            self._told_closing = True
            self._owner.connection_closing(self)
        self._give_back()

    def fail(self, violation: ConnectionViolation) -> None:
        if not self._ready:
            reason = f"the server does not speak HTTP/2: {violation.reason}"
            violation = ConnectionViolation(violation.code, reason)
        super().fail(violation)
        self._tell_closing()

    def eof_received(self) -> None:
        self.closing = True
        self._tell_closing()
        self.abort()  # no answer can come to what we might still send

    def connection_lost(self, exc: Exception | None) -> None:
        self.closing = True
        self.goaway_reason = self.goaway_reason or (str(exc) if exc else "")
        self._tell_closing()  # before its calls are told, and send others
        super().connection_lost(exc)
        self._owner.connection_gone(self)
