"""The HTTP/2 connection (RFC 9113) that servers and channels share: bytes to frames, and all frames of no stream.

A side extends it with what HEADERS, DATA, RST_STREAM and GOAWAY mean there. The parser is one loop over the bytes of
a read, because a function call for each frame's header would double its cost: server and client spend 1.7 µs each on
parsing and building a unary call.
"""

import asyncio
from abc import abstractmethod
from collections.abc import Iterable
from typing import Generic, TypeVar, cast

from hasten.rpc._limits import LARGEST_STREAM_ID, Limits
from hasten.rpc.transport._deadlines import Deadlines
from hasten.rpc.transport._guards import PingStrikes, ResetBudget
from hasten.rpc.transport._keepalive import Keepalive
from hasten.rpc.transport._output import Output, send_without_delay
from hasten.rpc.transport._parted_block import PartedBlock
from hasten.rpc.transport._peer_settings import PeerSettings
from hasten.rpc.transport._reading import Reading
from hasten.rpc.transport._stream import Stream
from hasten.rpc.wire._frames import (
    ACK,
    CONTINUATION,
    DATA,
    DEFAULT_FRAME_SIZE,
    DEFAULT_WINDOW,
    ENABLE_PUSH,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADER_TABLE_SIZE,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_FRAME_SIZE,
    MAX_HEADER_LIST_SIZE,
    PADDED,
    PING,
    PRIORITISED,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    SETTINGS_ACK,
    WINDOW_UPDATE,
    ConnectionViolation,
    ErrorCode,
    frame,
    goaway_frame,
    reset_frame,
    settings_frame,
    unpack_header,
    window_frame,
)
from hasten.rpc.wire._payloads import (
    check_priority,
    check_settings_ack,
    goaway,
    header_block,
    ping_data,
    reset_code,
    settings,
    unpadded,
    window_increment,
)

AnyStream = TypeVar("AnyStream", bound=Stream)

_CLOSE_SECONDS = 1.0  # what a peer has to read our last words
_FRAME_HEADER = 9
_WAKING_COST = 4  # of a stream, in header bytes to decode: 1.3 µs, perhaps for a frame of a single byte
NOTHING = -1  # no kind of frame


class Connection(asyncio.Protocol, Generic[AnyStream]):
    """One HTTP/2 connection.

    Attributes:
      loop: The loop it lives in.
      streams: Open streams by id.
      output: What goes out.
      write: `output.write`, bound once.
      deadlines: Of the streams.
      held_bytes: Bytes received that wait in inboxes.
      last_peer_id: Highest stream id that the peer has opened.
      opened: Streams that the peer has opened; it may leave out ids.
      closing: No new streams: the connection ends with those that are open.
      lost: Done when the connection has gone.
      goaway_reason: Why it ended, in the peer's words or ours; empty while it stands.
    """

    _awaits_preface = b""  # what the peer must send before the first frame

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: Limits) -> None:
        self.loop = loop
        self.limits = limits
        self.streams: dict[int, AnyStream] = {}
        self.output = Output(loop, limits, self.streams)
        self.write = self.output.write
        self.held_bytes = 0
        self.last_peer_id = 0
        self.opened = 0
        self.closing = False
        self.lost: asyncio.Future[None] = loop.create_future()
        self.goaway_reason = ""
        self.peer_settings = PeerSettings(self.output)
        self._strikes = PingStrikes(limits.ping_strikes, limits.ping_seconds)
        self._transport: asyncio.Transport | None = None
        self._partial = bytearray()
        self._partial_needs = 0
        self._expected: int | None = SETTINGS  # the only kind of frame that may come next
        self._frame_bytes = DEFAULT_FRAME_SIZE if limits.frame_bytes < DEFAULT_FRAME_SIZE else limits.frame_bytes
        self._block = PartedBlock(limits)
        self._unwidened = 0
        self._widen_at = limits.connection_window_bytes // 2
        self._window = limits.connection_window_bytes
        self._resets = ResetBudget(limits.reset_burst, limits.reset_rate)
        self.reading = Reading(loop, limits)
        self.deadlines = Deadlines(loop, self.open_streams)
        self._patience: asyncio.TimerHandle | None = None
        self._keepalive = Keepalive(loop, limits, self._send_now, lambda: bool(self.streams), self._unheard)

    # ---- what a side adds

    @abstractmethod
    def on_headers(self, stream_id: int, block: bytes, *, ends_stream: bool) -> None:
        """A header block is complete."""

    @abstractmethod
    def on_data(self, stream_id: int, flags: int, data: bytes, start: int, end: int) -> None:
        """A DATA frame's payload, padding included, stands in data[start:end]."""

    def on_goaway(self, last_stream_id: int) -> None:
        """The peer takes no streams above `last_stream_id`; a server opens none anyway."""

    @abstractmethod
    def was_opened(self, stream_id: int) -> bool:
        """Whether a stream of this id was ever open; frames of one that was not are a violation."""

    def preface_complete(self) -> None:
        """The peer has sent its preface."""

    def on_settings(self) -> None:
        """The peer's settings have changed; those of the output are set already."""

    @abstractmethod
    def settings_acknowledged(self) -> None:
        """The peer knows our settings."""

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast("asyncio.Transport", transport)  # uvloop's are not derived from it
        transport.set_write_buffer_limits(high=self.limits.write_high_bytes)
        send_without_delay(transport)
        self.output.connect(transport)
        self.reading.connect(transport)
        transport.write(self._first_words())
        self._keepalive.start()

    def _first_words(self) -> bytes:
        limits = self.limits
        ours = {
            HEADER_TABLE_SIZE: 0,
            INITIAL_WINDOW_SIZE: limits.stream_window_bytes,
            MAX_FRAME_SIZE: limits.frame_bytes,
            MAX_HEADER_LIST_SIZE: limits.header_list_hard_bytes,
        }
        ours.update(self._side_settings())
        increment = limits.connection_window_bytes - DEFAULT_WINDOW
        return settings_frame(ours) + (window_frame(0, increment) if increment else b"")

    def _side_settings(self) -> dict[int, int]:
        return {ENABLE_PUSH: 0}

    def await_settings(self, seconds: float) -> None:
        """Give the peer so long for its first SETTINGS."""
        if self._patience is not None:
            self._patience.cancel()
        self._patience = self.loop.call_later(seconds, self._settings_late)

    def _settings_late(self) -> None:
        if self._expected == SETTINGS:
            self.fail(ConnectionViolation(ErrorCode.SETTINGS_TIMEOUT, "no SETTINGS came"))

    def data_received(self, data: bytes) -> None:
        self._keepalive.reads += 1
        try:
            position = 0
            if self._partial:
                position = self._complete_partial(data)
            elif self._awaits_preface:
                position = self._skip_preface(data)
            self._parse(data, position)
        except ConnectionViolation as violation:
            self.fail(violation)
        except Exception as error:  # a fault of ours: it must not take the process's other connections with it
            self.loop.call_exception_handler({"message": "hasten.rpc: error in a connection", "exception": error})
            self.fail(ConnectionViolation(ErrorCode.INTERNAL_ERROR, "internal error"))

    def _skip_preface(self, data: bytes) -> int:
        expected = self._awaits_preface
        if not expected.startswith(data[: len(expected)]):
            raise ConnectionViolation(ErrorCode.PROTOCOL_ERROR, "no HTTP/2 connection preface")
        count = min(len(data), len(expected))
        self._awaits_preface = expected[count:]
        if not self._awaits_preface:
            self.preface_complete()
        return count

    def _complete_partial(self, data: bytes) -> int:
        """Parse the frame that an earlier read has begun; return where the next one starts in `data`.

        Only that frame is copied, and not the whole read behind it.
        """
        partial, position = self._partial, 0
        while len(partial) < self._partial_needs and position < len(data):
            end = position + self._partial_needs - len(partial)
            partial += memoryview(data)[position:end]
            position = min(end, len(data))
            if len(partial) == _FRAME_HEADER:
                length = int.from_bytes(partial[:3], "big")
                self._check_length(length)
                self._partial_needs = _FRAME_HEADER + length
        if len(partial) >= self._partial_needs:
            frame_bytes = bytes(partial)
            partial.clear()
            self._parse(frame_bytes, 0)
        return position

    def _parse(self, data: bytes, position: int) -> None:
        # Over 40 lines because it is the hot path of both sides.
        size = len(data)
        largest = self._frame_bytes
        while size - position >= _FRAME_HEADER:
            high, low, kind, flags, stream_id = unpack_header(data, position)
            length = high << 8 | low
            start = position + _FRAME_HEADER
            position = start + length
            if position > size or length > largest:
                self._check_length(length)
                self._keep(data, start - _FRAME_HEADER, _FRAME_HEADER + length)
                return
            expected = self._expected
            if expected is not None and kind != expected:
                raise ConnectionViolation(ErrorCode.PROTOCOL_ERROR, f"frame type {kind}, expected {expected}")
            if kind == DATA:
                self._unwidened += length
                if self._unwidened >= self._widen_at:
                    self._widen()
                self.on_data(stream_id & LARGEST_STREAM_ID, flags, data, start, position)
            elif kind == HEADERS:
                end = position
                if flags & (PADDED | PRIORITISED):
                    start, end = header_block(data, start, end, flags, stream_id & LARGEST_STREAM_ID)
                if flags & END_HEADERS:
                    self.on_headers(stream_id & LARGEST_STREAM_ID, data[start:end], ends_stream=flags & END_STREAM != 0)
                else:
                    self._begin_block(stream_id & LARGEST_STREAM_ID, data[start:end], flags)
            else:
                self._control(kind, flags, stream_id & LARGEST_STREAM_ID, data[start:position])
        if position < size:
            self._keep(data, position, _FRAME_HEADER)

    def _check_length(self, length: int) -> None:
        if length > self._frame_bytes:
            raise ConnectionViolation(ErrorCode.FRAME_SIZE_ERROR, f"frame of {length} bytes")

    def _keep(self, data: bytes, position: int, needs: int) -> None:
        self._partial += memoryview(data)[position:]
        self._partial_needs = needs

    def pause_writing(self) -> None:
        self.output.pause()

    def resume_writing(self) -> None:
        self.reading.forgive_replies()
        self.output.resume()

    def eof_received(self) -> None:
        """The peer sends no more: nothing that is open here can end well."""
        self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closing = True
        self.deadlines.close()
        self._keepalive.close()
        if self._patience is not None:
            self._patience.cancel()
        streams = list(self.streams.values())
        self.streams.clear()
        reason = self.goaway_reason or (str(exc) if exc else "connection closed")
        for stream in streams:
            self.abandon(stream)
            stream.on_lost(reason)
        if not self.lost.done():
            self.lost.set_result(None)

    # ---- frames of the connection

    def _control(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if kind == WINDOW_UPDATE:
            self._on_window_update(stream_id, payload)
        elif kind == RST_STREAM:
            self._on_rst_stream(stream_id, payload)
        elif kind == PING:
            self._on_ping(flags, stream_id, payload)
        elif kind == SETTINGS:
            self._on_settings_frame(flags, stream_id, payload)
        elif kind == GOAWAY:
            self._on_goaway_frame(stream_id, payload)
        elif kind == CONTINUATION:
            self._on_continuation(flags, stream_id, payload)
        elif kind == PRIORITY:
            check_priority(stream_id, payload)
        elif kind == PUSH_PROMISE:
            raise ConnectionViolation(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE")
        # RFC 9113 section 4.1: frames of unknown types are ignored

    def _begin_block(self, stream_id: int, part: bytes, flags: int) -> None:
        self._block.begin(stream_id, part, ends_stream=flags & END_STREAM != 0)
        self._expected = CONTINUATION

    def _on_continuation(self, flags: int, stream_id: int, part: bytes) -> None:
        block = self._block
        if self._expected != CONTINUATION or stream_id != block.stream_id:
            raise ConnectionViolation(ErrorCode.PROTOCOL_ERROR, "CONTINUATION out of place")
        block.add(part)
        if flags & END_HEADERS:
            self._expected = None
            self.on_headers(stream_id, block.take(), ends_stream=block.ends_stream)

    def _on_window_update(self, stream_id: int, payload: bytes) -> None:
        increment = window_increment(payload)
        if not stream_id:
            if not increment:
                raise ConnectionViolation(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
            if not self.output.widen_connection(increment):
                raise ConnectionViolation(ErrorCode.FLOW_CONTROL_ERROR, "connection window overflows")
            return
        self.check_was_opened(stream_id)
        stream = self.streams.get(stream_id)
        if not increment:
            self.violated(stream_id, ErrorCode.PROTOCOL_ERROR)
        elif stream is not None and not self.output.widen_stream(stream, increment):
            self.violated(stream_id, ErrorCode.FLOW_CONTROL_ERROR)

    def check_was_opened(self, stream_id: int) -> None:
        """Raise ConnectionViolation if no stream of this id was ever opened."""
        if not self.was_opened(stream_id):
            raise ConnectionViolation(ErrorCode.PROTOCOL_ERROR, f"frame on idle stream {stream_id}")

    def _on_rst_stream(self, stream_id: int, payload: bytes) -> None:
        code = reset_code(payload)
        self.check_was_opened(stream_id)
        stream = self.streams.pop(stream_id, None)
        if stream is not None:
            self.abandon(stream)
            stream.on_reset(code)
            if not self.is_due(stream):
                self.charge_reset()

    def is_due(self, stream: AnyStream) -> bool:
        """Whether a peer that resets this stream only does what was to be expected."""
        return False

    def charge_reset(self) -> None:
        """Count a stream that ended early at the peer's will (CVE-2023-44487), or by its fault (CVE-2025-8671)."""
        if not self._resets.take(self.opened):
            raise ConnectionViolation(ErrorCode.ENHANCE_YOUR_CALM, "too many streams were reset")

    def _on_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        data = ping_data(stream_id, payload)
        if flags & ACK:
            self._keepalive.answered()
            self.on_ping_acknowledged(data)
        elif self._strikes.strike(self.output.sent_bytes):
            raise ConnectionViolation(ErrorCode.ENHANCE_YOUR_CALM, "too_many_pings")
        else:
            self._reply(frame(PING, ACK, 0, data))

    def on_ping_acknowledged(self, payload: bytes) -> None:
        """The peer has answered a PING of ours."""

    def _on_settings_frame(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._expected = None
        if flags & ACK:
            check_settings_ack(stream_id, payload)
            self.settings_acknowledged()
            return
        woken = self.peer_settings.take(settings(stream_id, payload, self.limits.settings_per_frame))
        self.reading.charge_work(_WAKING_COST * woken)
        self._reply(SETTINGS_ACK)
        self.on_settings()
        self.output.pump()

    def _on_goaway_frame(self, stream_id: int, payload: bytes) -> None:
        last_stream_id, code, reason = goaway(stream_id, payload)
        self.goaway_reason = f"GOAWAY {code.name}: {reason}" if reason else f"GOAWAY {code.name}"
        self.on_goaway(last_stream_id)

    def _reply(self, frames: bytes) -> None:
        """Answer a control frame; one who floods us with them and reads nothing is not read any more either."""
        self.write(frames)
        if self.output.paused:
            self.reading.charge_reply()

    # ---- streams

    def open_streams(self) -> Iterable[AnyStream]:
        """Return everything that has a deadline here."""
        return self.streams.values()

    def violated(self, stream_id: int, code: ErrorCode) -> None:
        """Reset a stream whose peer broke a rule (RFC 9113 section 5.4.2)."""
        self.charge_reset()
        self._reply(reset_frame(stream_id, code))
        stream = self.streams.pop(stream_id, None)
        if stream is not None:
            self.abandon(stream)
            stream.on_reset(code)

    def reset(self, stream: AnyStream, code: ErrorCode) -> None:
        """Reset a stream of our own will; it is not told."""
        if self.streams.pop(stream.stream_id, None) is not None:
            self.write(reset_frame(stream.stream_id, code))
            self.abandon(stream)

    def abandon(self, stream: AnyStream) -> None:
        """Forget what a stream had to send and what it has received."""
        self.output.drop(stream)
        if stream.inbox is not None:
            stream.inbox.discard()

    def data_on_closed_stream(self, stream_id: int, flags: int, payload: bytes) -> None:
        """Take a DATA frame of a stream that is not open: its bytes count (RFC 9113 section 6.9), it is refused."""
        self.check_was_opened(stream_id)
        if flags & PADDED:
            unpadded(payload)
        self._reply(reset_frame(stream_id, ErrorCode.STREAM_CLOSED))

    def _widen(self) -> None:
        received = self._unwidened
        if received > self._window:
            raise ConnectionViolation(ErrorCode.FLOW_CONTROL_ERROR, "more data than the connection window")
        self._unwidened = 0
        self.write(window_frame(0, received))

    def _send_now(self, frames: bytes) -> None:
        self.write(frames)
        self.output.flush()

    def _unheard(self) -> None:
        self.goaway_reason = "keepalive watchdog timeout"
        self.abort()

    # ---- the end

    def fail(self, violation: ConnectionViolation) -> None:
        """End the connection with a GOAWAY that says why; what still comes is not looked at, TLS may bring more."""
        if self._expected == NOTHING:
            return
        self._expected = NOTHING
        self.closing = True
        self.goaway_reason = self.goaway_reason or violation.reason
        self.write(goaway_frame(self.last_peer_id, violation.code, violation.reason))
        self.close()

    def close(self) -> None:
        """Send what is collected and close; a peer that does not read is cut off after a second."""
        self.closing = True
        transport = self._transport
        if transport is not None and not transport.is_closing():
            self.output.flush()
            transport.close()
            self._abort_soon()

    def _abort_soon(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
        self._patience = self.loop.call_later(_CLOSE_SECONDS, self.abort)

    def abort(self) -> None:
        """Cut the connection."""
        self.closing = True
        if self._transport is not None and not self.lost.done():
            self._transport.abort()

    def get_extra_info(self, name: str) -> object:
        """Return what the transport knows: `peername`, `ssl_object`."""
        return self._transport.get_extra_info(name) if self._transport is not None else None
