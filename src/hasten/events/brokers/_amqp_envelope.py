"""Envelopes as messages of AMQP 0-9-1, and back; pure. `rabbitmq` says what is put where.

A message with id, key, time and trace takes 3 µs to write and 7 to read, on a machine that is busy: aio-pika takes 310
there to publish and 300 to consume one.
"""

import math
import re
import struct
from collections.abc import Callable
from decimal import Decimal
from hashlib import blake2b
from typing import Any

from hasten.events._envelope import NO_DEADLINE, Envelope, Ids
from hasten.events._errors import BrokerError
from hasten.events._payload import BYTES
from hasten.events.brokers._amqp_frames import BODY, FRAME_END, HEADER, OVERHEAD, body_frames, method_frame
from hasten.events.brokers._amqp_methods import BASIC_PUBLISH
from hasten.events.brokers._amqp_table import Garbled, decode_value, long_text, short_text

MOST_REASON = 4000
"""Characters of a reason; RabbitMQ wants a message's headers in one frame."""
GARBLED = "application/x-garbled-amqp"
"""Content type of a message whose properties cannot be read: no consumer knows it, so it goes to the dead letters."""
_ID = re.compile(r"[!-~]{1,128}")
_PERSISTENT = b"\x02"

# The order of the properties on the wire, which is that of the bits in their flags.
_CONTENT_TYPE, _CONTENT_ENCODING, _HEADERS, _DELIVERY_MODE = 0x8000, 0x4000, 0x2000, 0x1000
_PRIORITY, _CORRELATION, _REPLY_TO, _EXPIRATION = 0x0800, 0x0400, 0x0200, 0x0100
_MESSAGE_ID, _TIMESTAMP, _TYPE, _USER_ID, _APP_ID = 0x0080, 0x0040, 0x0020, 0x0010, 0x0008
_MORE_FLAGS = 0x0001
_BEFORE_ID = (_CORRELATION, _REPLY_TO, _EXPIRATION)
_ANY_BEFORE_ID = _CORRELATION | _REPLY_TO | _EXPIRATION
_USUAL = _CONTENT_TYPE | _HEADERS | _DELIVERY_MODE | _MESSAGE_ID | _TYPE | _APP_ID

_HEAD = struct.Struct(">BHIHHQH")  # of the frame, and of the header in it
_FRAME_AND_FRAME = struct.Struct(">BBHI")  # the end of one, the beginning of the next
_LONG = struct.Struct(">I")
_DOUBLE = struct.Struct(">d")
_SECONDS = struct.Struct(">Q")
_TIME_ENTRY = short_text("hasten.time") + b"d"
_DEADLINE_ENTRY = short_text("hasten.deadline") + b"d"
_ATTEMPT_ENTRY = short_text("hasten.attempt") + b"I"
_KEY_ENTRY = short_text("hasten.key") + b"S"
_REASON_ENTRY = short_text("hasten.reason") + b"S"
_TRACE_ENTRY = short_text("traceparent") + b"S"


class Route:
    """Where messages are published to, with the bytes that say so.

    Args:
      channel: The publisher's.
      exchange, key: Of AMQP; without an exchange the key is a queue's name.
      topic: The messages' type.
      missing: Makes the error for a message that the broker gives back, because there is no queue for it; None does
        not want it back.
    """

    __slots__ = ("key", "method", "missing", "type")

    def __init__(
        self, channel: int, exchange: str, key: str, topic: str, missing: Callable[[], BrokerError] | None
    ) -> None:
        self.key = key
        self.missing = missing
        mandatory = missing is not None
        self.method = method_frame(channel, BASIC_PUBLISH(0, exchange, key, mandatory, False))  # noqa: FBT003  a bit
        self.type = short_text(topic)


class MessageWriter:
    """Makes the frames of messages.

    Args:
      channel: The publisher's.
    Attributes:
      frame_max: Bytes of a frame, as agreed with the server.
    """

    def __init__(self, channel: int) -> None:
        self.frame_max = 2**17
        self._channel = channel
        self._content_types: dict[str, bytes] = {}
        self._origin = ""
        self._app_id = short_text("")

    def __call__(self, envelope: Envelope, route: Route, expiration: bytes = b"") -> bytes:
        """Return all frames of a message.

        Args:
          expiration: Milliseconds in digits, with their number before them.
        Raises:
          ValueError: a text is too long for its place.
        """
        properties = self._properties(envelope, route, expiration)
        size = 14 + len(properties)
        if size > self.frame_max - OVERHEAD:
            raise ValueError(f"{size} bytes of headers, where the broker takes {self.frame_max - OVERHEAD}")
        body, channel = envelope.body, self._channel
        flags = _USUAL | _EXPIRATION if expiration else _USUAL
        head = _HEAD.pack(HEADER, channel, size, 60, 0, len(body), flags)
        if not body:
            return b"".join((route.method, head, properties, b"\xce"))
        if len(body) > self.frame_max - OVERHEAD:
            return b"".join((route.method, head, properties, b"\xce", *body_frames(channel, body, self.frame_max)))
        between = _FRAME_AND_FRAME.pack(FRAME_END, BODY, channel, len(body))
        return b"".join((route.method, head, properties, between, body, b"\xce"))

    def _properties(self, envelope: Envelope, route: Route, expiration: bytes) -> bytes:
        if envelope.origin != self._origin:
            self._app_id, self._origin = short_text(envelope.origin), envelope.origin
        content_type = self._content_types.get(envelope.content_type) or self._content_type(envelope.content_type)
        table = _table_of(envelope)
        message_id = envelope.id.encode()
        parts = (
            content_type,
            _LONG.pack(len(table)),
            table,
            _PERSISTENT,
            expiration,
            short_text(message_id),
            route.type,
            self._app_id,
        )
        return b"".join(parts)

    def _content_type(self, text: str) -> bytes:
        if len(self._content_types) > 100:  # somebody puts what changes into it
            self._content_types.clear()
        written = self._content_types[text] = short_text(text)
        return written


def _table_of(envelope: Envelope) -> bytes:
    """Return the entries of a message's table, without their length."""
    table = _TIME_ENTRY + _DOUBLE.pack(envelope.time)
    if envelope.key:
        table += _KEY_ENTRY + long_text(envelope.key)
    if envelope.traceparent:
        table += _TRACE_ENTRY + long_text(envelope.traceparent)
    if envelope.deadline != NO_DEADLINE:
        table += _DEADLINE_ENTRY + _DOUBLE.pack(envelope.deadline)
    if envelope.attempt != 1:
        table += _ATTEMPT_ENTRY + struct.pack(">i", min(envelope.attempt, 2**31 - 1))
    if envelope.reason:
        table += _REASON_ENTRY + long_text(envelope.reason[:MOST_REASON])
    for name, text in envelope.headers.items():
        table += short_text(name) + b"S" + long_text(text)
    return table


class MessageReader:
    """Makes envelopes of messages.

    Args:
      topic: Of all of them.
    """

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._new_id = Ids()

    def __call__(self, header: bytes, body: bytes) -> tuple[Envelope, int]:
        """Return a message, and how often it came back unsettled.

        One whose properties cannot be read is a message too: the broker would send it again and again otherwise.

        Args:
          header: The payload of its frame.
        """
        try:
            return self._read(header, body)
        except (Garbled, IndexError, struct.error):
            return Envelope(topic=self._topic, body=body, content_type=GARBLED, id=self._new_id()), 0

    def _read(self, header: bytes, body: bytes) -> tuple[Envelope, int]:
        envelope = Envelope(topic=self._topic, body=body, content_type=BYTES, id="")
        flags, at, returned = header[12] << 8 | header[13], 14, 0
        if flags & _CONTENT_TYPE:
            end = at + 1 + header[at]
            envelope.content_type = str(header[at + 1 : end], "utf-8", "ignore")
            at = end
        if flags & _CONTENT_ENCODING:
            at += 1 + header[at]
        if flags & _HEADERS:
            returned, at = _read_table(header, at, envelope)
        at += bool(flags & _DELIVERY_MODE) + bool(flags & _PRIORITY)
        for flag in _BEFORE_ID if flags & _ANY_BEFORE_ID else ():
            if flags & flag:
                at += 1 + header[at]
        message_id = b""
        if flags & _MESSAGE_ID:
            end = at + 1 + header[at]
            message_id, at = header[at + 1 : end], end
        envelope.id = self._id(message_id)
        if flags & _TIMESTAMP:
            envelope.time = envelope.time or float(_SECONDS.unpack_from(header, at)[0])
            at += 8
        if flags & _TYPE:
            at += 1 + header[at]
        if flags & _USER_ID:
            at += 1 + header[at]
        if flags & _APP_ID:
            end = at + 1 + header[at]
            envelope.origin = str(header[at + 1 : end], "utf-8", "ignore")
            at = end
        if at > len(header) or flags & _MORE_FLAGS:
            raise Garbled("properties that are cut off, or more than there are")
        return envelope, returned

    def _id(self, given: bytes) -> str:
        """Return a message's id; one that is none of ours is made into one, the same for the same."""
        if not given:
            return self._new_id()
        text = str(given, "ascii", "replace")
        return text if _ID.fullmatch(text) else blake2b(given, digest_size=16).hexdigest()


def _read_table(header: bytes, at: int, envelope: Envelope) -> tuple[int, int]:
    """Put the entries of a message's table into its envelope; return how often it came back, and the place behind."""
    end = at + 4 + int(_LONG.unpack_from(header, at)[0])
    if end > len(header):
        raise Garbled("a table that is longer than its message")
    at += 4
    returned = 0
    headers: dict[str, str] = {}
    while at < end:
        behind = at + 1 + header[at]
        name = header[at + 1 : behind]
        if name in _TEXTS and header[behind] == _LONG_TEXT:  # most of what there is
            begin = behind + 5
            at = begin + int(_LONG.unpack_from(header, behind + 1)[0])
            setattr(envelope, _TEXTS[name], str(header[begin:at], "utf-8", "replace"))
            continue
        value, at = decode_value(header, behind)
        read = _OURS.get(name)
        if read is not None:
            read(envelope, value)
        elif name == b"x-delivery-count":
            returned = value if isinstance(value, int) else 0
        elif not name.startswith(_OF_THE_BROKER) and (text := _text_of(value)) is not None:
            headers[str(name, "utf-8", "ignore")] = text
    if at != end:
        raise Garbled("a table whose last value is longer than the table")
    if headers:
        envelope.headers = headers
    return max(0, returned), at


def _text_of(value: Any) -> str | None:
    """Return a foreign header's value as text; None for what has no text: tables, lists, bytes."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float | Decimal) else None


def _read_time(envelope: Envelope, value: Any) -> None:
    if isinstance(value, float) and math.isfinite(value):
        envelope.time = value


def _read_deadline(envelope: Envelope, value: Any) -> None:
    if isinstance(value, float) and not math.isnan(value):
        envelope.deadline = value


def _read_attempt(envelope: Envelope, value: Any) -> None:
    if isinstance(value, int) and value >= 1:
        envelope.attempt = int(value)


def _read_deaths(envelope: Envelope, value: Any) -> None:
    """Take the reason of a message that the broker itself has put among the dead letters, not one that waited."""
    last = value[0] if isinstance(value, list) and value else None
    reason = last.get("reason") if isinstance(last, dict) else None
    if isinstance(reason, str) and reason != "expired" and not envelope.reason:
        envelope.reason = f"returned: {reason}, says the broker"


_OURS: dict[bytes, Callable[[Envelope, Any], None]] = {
    b"hasten.time": _read_time,
    b"hasten.deadline": _read_deadline,
    b"hasten.attempt": _read_attempt,
    b"x-death": _read_deaths,
}
_TEXTS = {b"hasten.key": "key", b"hasten.reason": "reason", b"traceparent": "traceparent"}
_LONG_TEXT = ord("S")
_OF_THE_BROKER = (b"x-first-death-", b"x-last-death-", b"x-acquired-count", b"hasten.", b"traceparent")


def message_id_of(header: bytes) -> str:
    """Return the id of a message of our own from the payload of its header's frame."""
    return MessageReader("")(header, b"")[0].id
