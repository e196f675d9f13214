"""The methods of AMQP 0-9-1 that a client of ours sends and gets, as bytes and back; pure.

For what is not hot; publishing, deliveries and acknowledgements have their own code. A dozen lines instead of pamqp,
which would bring objects for each method and a dependency for every user.

Source: the grammar of AMQP 0-9-1, sections 1.4 and 4.2, with RabbitMQ's extensions: confirm, nack, blocked.
"""

import struct
from collections.abc import Sequence
from typing import Any

from hasten.events.brokers._amqp_table import Garbled, decode_short, decode_table, encode_table, long_text, short_text

_NUMBERS = {"o": struct.Struct(">B"), "h": struct.Struct(">H"), "l": struct.Struct(">I"), "q": struct.Struct(">Q")}


class Method:
    """A method: its place in the grammar, and the types of its arguments.

    Args:
      place: Class and method.
      fields: A letter for each argument: o h l q numbers of 1, 2, 4, 8 bytes; s S short and long strings; t a table;
        b a bit, of which those beside each other share a byte.
    Attributes:
      kind: Its four bytes at the beginning of a frame's payload.
    """

    def __init__(self, place: tuple[int, int], fields: str = "") -> None:
        self.kind = struct.pack(">HH", *place)
        self._fields = fields

    def __call__(self, *values: Any) -> bytes:
        """Return the payload of a frame.

        Raises:
          ValueError: a value does not fit.
        """
        parts, bits, count = [self.kind], 0, 0
        for field, value in zip(self._fields, values, strict=True):
            if field == "b":
                bits |= bool(value) << count
                count += 1
                continue
            if count:
                parts.append(bytes((bits,)))
                bits = count = 0
            parts.append(_encode(field, value))
        if count:
            parts.append(bytes((bits,)))
        return b"".join(parts)

    def read(self, arguments: bytes) -> Sequence[Any]:
        """Return the arguments in a frame's payload, behind its kind.

        Raises:
          Garbled: they are not there.
        """
        values: list[Any] = []
        at, bit = 0, 0
        for field in self._fields:
            if field == "b":
                if at >= len(arguments):
                    raise Garbled("bits that are cut off")
                values.append(bool(arguments[at] >> bit & 1))
                bit += 1
                continue
            if bit:
                at, bit = at + 1, 0
            value, at = _decode(field, arguments, at)
            values.append(value)
        return values


def _encode(field: str, value: Any) -> bytes:
    if field == "s":
        return short_text(value)
    if field == "S":
        return long_text(value)
    if field == "t":
        return encode_table(value)
    try:
        return _NUMBERS[field].pack(value)
    except struct.error as error:
        raise ValueError(f"{value} does not fit: {error}") from error


def _decode(field: str, data: bytes, at: int) -> tuple[Any, int]:
    if field == "s":
        return decode_short(data, at)
    if field == "t":
        return decode_table(data, at)
    number = _NUMBERS["l" if field == "S" else field]
    if at + number.size > len(data):
        raise Garbled("arguments that are cut off")
    value, at = number.unpack_from(data, at)[0], at + number.size
    if field != "S":
        return value, at
    if at + value > len(data):
        raise Garbled("a long string that is cut off")
    return data[at : at + value], at + value


CONNECTION_START = Method((10, 10), "ootSS")
CONNECTION_START_OK = Method((10, 11), "tsSs")
CONNECTION_TUNE = Method((10, 30), "hlh")
CONNECTION_TUNE_OK = Method((10, 31), "hlh")
CONNECTION_OPEN = Method((10, 40), "ssb")
CONNECTION_OPEN_OK = Method((10, 41), "s")
CONNECTION_CLOSE = Method((10, 50), "hshh")
CONNECTION_CLOSE_OK = Method((10, 51))
CONNECTION_BLOCKED = Method((10, 60), "s")
CONNECTION_UNBLOCKED = Method((10, 61))
CHANNEL_OPEN = Method((20, 10), "s")
CHANNEL_OPEN_OK = Method((20, 11), "S")
CHANNEL_FLOW = Method((20, 20), "b")
CHANNEL_FLOW_OK = Method((20, 21), "b")
CHANNEL_CLOSE = Method((20, 40), "hshh")
CHANNEL_CLOSE_OK = Method((20, 41))
EXCHANGE_DECLARE = Method((40, 10), "hssbbbbbt")  # -, name, type, passive, durable, auto-delete, internal, no-wait
EXCHANGE_DECLARE_OK = Method((40, 11))
QUEUE_DECLARE = Method((50, 10), "hsbbbbbt")  # -, name, passive, durable, exclusive, auto-delete, no-wait
QUEUE_DECLARE_OK = Method((50, 11), "sll")  # name, messages, consumers
QUEUE_BIND = Method((50, 20), "hsssbt")  # -, queue, exchange, routing key, no-wait
QUEUE_BIND_OK = Method((50, 21))
BASIC_QOS = Method((60, 10), "lhb")  # bytes, messages, for the channel
BASIC_QOS_OK = Method((60, 11))
BASIC_CONSUME = Method((60, 20), "hssbbbbt")  # -, queue, tag, no-local, no-ack, exclusive, no-wait
BASIC_CONSUME_OK = Method((60, 21), "s")
BASIC_CANCEL = Method((60, 30), "sb")
BASIC_CANCEL_OK = Method((60, 31), "s")
BASIC_PUBLISH = Method((60, 40), "hssbb")  # -, exchange, routing key, mandatory, immediate
BASIC_RETURN = Method((60, 50), "hsss")  # code, text, exchange, routing key
BASIC_DELIVER = Method((60, 60), "sqbss")  # consumer, tag, redelivered, exchange, routing key
BASIC_GET = Method((60, 70), "hsb")  # -, queue, no-ack
BASIC_GET_OK = Method((60, 71), "qbssl")  # tag, redelivered, exchange, routing key, messages left
BASIC_GET_EMPTY = Method((60, 72), "s")
BASIC_ACK = Method((60, 80), "qb")
BASIC_NACK = Method((60, 120), "qbb")  # tag, multiple, requeue
CONFIRM_SELECT = Method((85, 10), "b")
CONFIRM_SELECT_OK = Method((85, 11))
