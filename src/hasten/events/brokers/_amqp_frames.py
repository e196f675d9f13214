"""Frames of AMQP 0-9-1: bytes into what they say to a channel, and back; pure.

    frame = kind (1 byte), channel (2), size (4), payload, 0xCE
    message = a method's frame, a header's (class, size of the body, properties), those of the body

Source: AMQP 0-9-1 section 2.3 and 4.2.3.
"""

import struct
from typing import Protocol

from hasten.events.brokers._amqp_methods import BASIC_ACK, BASIC_DELIVER, BASIC_GET_OK, BASIC_NACK, BASIC_RETURN
from hasten.events.brokers._amqp_table import Garbled

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
FRAME_END = 0xCE
OVERHEAD = 8
"""Bytes of a frame beside its payload."""
HEARTBEAT_FRAME = b"\x08\0\0\0\0\0\0\xce"
PROTOCOL_HEADER = b"AMQP\0\0\x09\x01"
MOST_BODY = 2**30
"""Bytes of a message; RabbitMQ itself has a limit of half of it at most."""
_HEAD = struct.Struct(">BHI")
_TAG = struct.Struct(">Q")
_SIZE = struct.Struct(">HHQH")
_ACK = BASIC_ACK.kind
_CONFIRMS = (BASIC_ACK.kind, BASIC_NACK.kind)
_BEFORE_CONTENT = frozenset((BASIC_DELIVER.kind, BASIC_GET_OK.kind, BASIC_RETURN.kind))


class Sink(Protocol):
    """What is said to one channel. Each takes it at once and raises nothing but Garbled."""

    def on_method(self, kind: bytes, arguments: bytes) -> None:
        """Take a method that no message follows."""

    def on_content(self, kind: bytes, arguments: bytes, header: bytes, body: bytes) -> None:
        """Take a message, with the method that came before it."""

    def on_confirm(self, tag: int, multiple: bool, accepted: bool) -> None:  # noqa: FBT001  called for each message
        """Take a publisher confirm."""


class _Incoming:
    """A message of which parts have come; one for each channel, used again and again."""

    __slots__ = ("arguments", "header", "kind", "left", "parts")

    def __init__(self) -> None:
        self.kind = b""
        self.arguments = self.header = b""
        self.left = 0
        self.parts: list[bytes] = []


class Reader:
    """Takes bytes as they come, and tells the channels what is in them.

    A delivery of 200 bytes takes 2.5 µs, on the busy machine of `_amqp_envelope`.

    Attributes:
      sinks: By the number of the channel; who uses the connection keeps it.
      most: Bytes of a payload; the peer keeps to what was agreed.
    """

    def __init__(self) -> None:
        self.sinks: dict[int, Sink] = {}
        self.most = 2**17
        self._rest = b""
        self._incoming: dict[int, _Incoming] = {}

    def feed(self, data: bytes) -> None:
        """Take bytes from the peer.

        Raises:
          Garbled: they are no frames, or none that can come here; nothing after it is read.
        """
        if self._rest:
            data = self._rest + data
        at, size = 0, len(data)
        unpack, most = _HEAD.unpack_from, self.most
        while size - at >= OVERHEAD:
            kind, channel, length = unpack(data, at)
            if length > most:
                raise Garbled(_explained(data, at, length, most))
            begin = at + 7
            end = begin + length
            if end >= size:
                break
            if data[end] != FRAME_END:
                raise Garbled("a frame without its end")
            if kind == METHOD:
                self._on_method(channel, data, begin, end)
            elif kind == BODY:
                self._on_body(channel, data[begin:end])
            elif kind == HEADER:
                self._on_header(channel, data[begin:end])
            elif kind != HEARTBEAT:
                raise Garbled(f"a frame of the unknown kind {kind}")
            at = end + 1
            most = self.most
        self._rest = data[at:] if at < size else b""

    def forget(self, channel: int) -> None:
        """Expect nothing more of a channel."""
        self.sinks.pop(channel, None)
        self._incoming.pop(channel, None)

    def _on_method(self, channel: int, data: bytes, begin: int, end: int) -> None:
        kind = data[begin : begin + 4]
        sink = self.sinks.get(channel)
        if sink is None:
            raise Garbled(f"a method for channel {channel}, which is not open")
        incoming = self._incoming.get(channel)
        if incoming is not None and incoming.kind:
            raise Garbled("a method in the middle of a message")
        if kind in _CONFIRMS:
            if end - begin != 13:
                raise Garbled("a confirm of the wrong size")
            sink.on_confirm(_TAG.unpack_from(data, begin + 4)[0], bool(data[begin + 12] & 1), kind == _ACK)
        elif kind in _BEFORE_CONTENT:
            if incoming is None:
                incoming = self._incoming[channel] = _Incoming()
            incoming.kind, incoming.arguments = kind, data[begin + 4 : end]
        else:
            sink.on_method(kind, data[begin + 4 : end])

    def _on_header(self, channel: int, payload: bytes) -> None:
        incoming = self._incoming.get(channel)
        if incoming is None or not incoming.kind or incoming.header or len(payload) < 14:
            raise Garbled("a header where there can be none")
        of, _, left, _ = _SIZE.unpack_from(payload)
        if of != 60 or left > MOST_BODY:
            raise Garbled(f"a message of class {of} with {left} bytes")
        incoming.header, incoming.left = payload, left
        if not left:
            self._finish(channel, incoming, b"")

    def _on_body(self, channel: int, payload: bytes) -> None:
        incoming = self._incoming.get(channel)
        if incoming is None or not incoming.header or len(payload) > incoming.left:
            raise Garbled("a body where there can be none")
        incoming.left -= len(payload)
        if incoming.left:
            incoming.parts.append(payload)
        elif incoming.parts:
            parts, incoming.parts = [*incoming.parts, payload], []
            self._finish(channel, incoming, b"".join(parts))
        else:
            self._finish(channel, incoming, payload)

    def _finish(self, channel: int, incoming: _Incoming, body: bytes) -> None:
        kind, arguments, header = incoming.kind, incoming.arguments, incoming.header
        incoming.kind = incoming.header = b""
        self.sinks[channel].on_content(kind, arguments, header, body)


def _explained(data: bytes, at: int, length: int, most: int) -> str:
    """Say what a frame that is too large may be instead."""
    begin = data[at : at + 8]
    if begin.startswith(b"AMQP"):
        return f"the server speaks another version of AMQP: {begin!r}"
    if begin.startswith((b"HTTP", b"\x15\x03")):
        return f"the server speaks no AMQP without TLS: {begin!r}"
    return f"a frame of {length} bytes, where {most} were agreed"


def method_frame(channel: int, payload: bytes) -> bytes:
    """Return the frame of a method."""
    return _HEAD.pack(METHOD, channel, len(payload)) + payload + b"\xce"


def body_frames(channel: int, body: bytes, frame_max: int) -> list[bytes]:
    """Return the frames of a body that is too large for one, as parts to be joined."""
    step = frame_max - OVERHEAD
    parts: list[bytes] = []
    for at in range(0, len(body), step):
        piece = body[at : at + step]
        parts += (_HEAD.pack(BODY, channel, len(piece)), piece, b"\xce")
    return parts
