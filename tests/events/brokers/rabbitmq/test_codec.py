"""Tables, methods and frames, against pamqp as another implementation, and against what is no AMQP at all."""

from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import body, commands, decode, encode, frame, header

from hasten.events.brokers import _amqp_methods as amqp
from hasten.events.brokers._amqp_frames import MOST_BODY, Reader, method_frame
from hasten.events.brokers._amqp_table import MOST_NESTED, Garbled, decode_table, decode_value, encode_table

NAMES = st.text(max_size=32)  # at most 128 bytes, which is what pamqp takes
NUMBERS = st.integers(-(2**63), 2**63 - 1)
LEAVES = st.none() | st.booleans() | NUMBERS | st.text(max_size=50)


def tables(floats: st.SearchStrategy[float]) -> st.SearchStrategy[dict[str, Any]]:
    """Make tables in tables."""

    def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4)

    return st.dictionaries(NAMES, st.recursive(LEAVES | floats, nested, max_leaves=6), max_size=6)


TABLES = tables(st.floats(allow_nan=False))


# ---- tables


@given(TABLES)
def test_a_table_and_back(table: dict[str, Any]) -> None:
    """A table is the same after it was written and read, and pamqp reads the same in it."""
    written = encode_table(table)
    assert decode_table(written) == (table, len(written))
    assert decode.field_table(written)[1] == table


@given(tables(st.floats(allow_nan=False, width=32)))  # pamqp writes no others
def test_a_table_of_another(table: dict[str, Any]) -> None:
    """What pamqp has written is read as what it was."""
    written = encode.field_table(table)
    assert decode_table(written) == (table, len(written))


def test_values_that_only_others_write() -> None:
    """Numbers of all sizes, timestamps, decimals and bytes are read; text that is no UTF-8 stays bytes."""
    assert decode_value(b"b\xff", 0) == (-1, 2)
    assert decode_value(b"B\xff", 0) == (255, 2)
    assert decode_value(b"s\xff\xfe", 0) == (-2, 3)
    assert decode_value(b"u\xff\xfe", 0) == (65534, 3)
    assert decode_value(b"i\xff\xff\xff\xfe", 0) == (2**32 - 2, 5)
    assert decode_value(b"f\x3f\x80\0\0", 0) == (1.0, 5)
    assert decode_value(encode.encode_table_value(datetime.fromtimestamp(1_700_000_000, UTC)), 0) == (1_700_000_000, 9)
    assert decode_value(encode.encode_table_value(Decimal("3.14")), 0) == (Decimal("3.14"), 6)
    assert decode_value(b"x\0\0\0\2\0\xff", 0) == (b"\0\xff", 7)
    assert decode_value(b"S\0\0\0\2\0\xff", 0) == (b"\0\xff", 7)


@given(TABLES, st.data())
def test_a_table_that_is_cut(table: dict[str, Any], data: st.DataObject) -> None:
    """A table without its end is refused, wherever it is cut."""
    written = encode_table(table)
    with pytest.raises(Garbled):
        decode_table(written[: data.draw(st.integers(0, len(written) - 1))])


@given(st.binary(max_size=200))
def test_no_table(data: bytes) -> None:
    """Any bytes are a table or refused; nothing else happens."""
    with suppress(Garbled):
        decode_table(len(data).to_bytes(4, "big") + data)


def test_a_deep_table() -> None:
    """Tables in tables are read to a depth that no peer of ours has; deeper ones are refused, and end no stack."""
    table: dict[str, Any] = {}
    for _ in range(MOST_NESTED):
        table = {"in": table}
    assert decode_table(encode_table(table))[0] == table
    data = b""
    for _ in range(10_000):
        data = b"A" + len(data).to_bytes(4, "big") + data
    with pytest.raises(Garbled, match="in each other"):
        decode_value(data, 0)


def test_what_has_no_place() -> None:
    """A value that AMQP cannot have is refused when it is written."""
    for value in ({"a": object()}, {"a": 2**63}, {"x" * 256: 1}):
        with pytest.raises(ValueError, match=r"AMQP|64 bits"):
            encode_table(value)


# ---- methods

SHORT = st.text(max_size=60)


@given(SHORT, st.booleans(), st.booleans(), TABLES)
def test_methods_of_ours(name: str, passive: bool, durable: bool, table: dict[str, Any]) -> None:  # noqa: FBT001
    """pamqp reads in our methods what we have written."""
    written = method_frame(7, amqp.QUEUE_DECLARE(0, name, passive, durable, 0, 1, 0, table))
    size, channel, said = frame.unmarshal(written)
    assert (size, channel) == (len(written), 7)
    assert isinstance(said, commands.Queue.Declare)
    assert (said.queue, said.passive, said.durable, said.exclusive, said.auto_delete, said.nowait, said.arguments) == (
        *(name, passive, durable, False, True, False),
        table,
    )


@given(SHORT, st.integers(0, 2**63 - 1), st.booleans(), SHORT)  # pamqp takes the number for a signed one
def test_methods_of_others(tag: str, number: int, redelivered: bool, key: str) -> None:  # noqa: FBT001
    """What pamqp has written is read as what it was."""
    written = frame.marshal(commands.Basic.Deliver(tag, number, redelivered, "hasten", key), 3)
    assert amqp.BASIC_DELIVER.read(written[11:-1]) == [tag, number, redelivered, "hasten", key]


METHODS = [each for each in vars(amqp).values() if isinstance(each, amqp.Method)]


@given(st.sampled_from(METHODS), st.binary(max_size=60))
def test_no_arguments(method: amqp.Method, data: bytes) -> None:
    """Any bytes are a method's arguments or refused; nothing else happens."""
    with suppress(Garbled):
        method.read(data)


# ---- frames


class Heard:
    """A channel that writes down what it is told."""

    def __init__(self) -> None:
        self.all: list[tuple[Any, ...]] = []

    def on_method(self, *said: Any) -> None:
        self.all.append(said)

    on_content = on_confirm = on_method


def delivery(number: int, payload: bytes, step: int) -> bytes:
    """Return the frames of a delivery, its body in pieces."""
    properties = commands.Basic.Properties(message_id=str(number))
    pieces = [payload[at : at + step] for at in range(0, len(payload), step)]
    parts: tuple[Any, ...] = (
        commands.Basic.Deliver("hasten", number, exchange="hasten", routing_key="orders.paid"),
        header.ContentHeader(0, len(payload), properties),
        *(body.ContentBody(piece) for piece in pieces),
    )
    return b"".join(frame.marshal(part, 3) for part in parts)


STREAM = b"".join(
    (
        delivery(1, b"abc" * 10, 7),
        frame.marshal(commands.Basic.Ack(17, multiple=True), 3),
        b"\x08\0\0\0\0\0\0\xce",
        delivery(2, b"", 7),
        frame.marshal(commands.Basic.Nack(18), 3),
        frame.marshal(commands.Basic.QosOk(), 3),
        delivery(3, b"xyz", 100),
    )
)


def heard(*pieces: bytes) -> list[tuple[Any, ...]]:
    """Return what a channel is told of a stream that comes in pieces."""
    reader, channel = Reader(), Heard()
    reader.sinks[3] = channel
    for piece in pieces:
        reader.feed(piece)
    return channel.all


def test_a_stream() -> None:
    """Messages, confirms and methods come as they were sent, heartbeats not at all."""
    told = heard(STREAM)
    assert [said[3] for said in told if len(said) == 4] == [b"abc" * 10, b"", b"xyz"]
    assert [said for said in told if len(said) == 3] == [(17, True, True), (18, False, False)]
    assert [said for said in told if len(said) == 2] == [(amqp.BASIC_QOS_OK.kind, b"")]
    assert all(amqp.BASIC_DELIVER.read(said[1])[4] == "orders.paid" for said in told if len(said) == 4)


def test_byte_by_byte() -> None:
    """However a stream is cut into pieces, the same is told."""
    whole = heard(STREAM)
    assert heard(*(STREAM[at : at + 1] for at in range(len(STREAM)))) == whole
    for at in range(len(STREAM)):
        assert heard(STREAM[:at], STREAM[at:]) == whole


@given(
    st.binary(max_size=400)
    | st.builds(
        lambda at, some: STREAM[:at] + some + STREAM[at:], st.integers(0, 200), st.binary(min_size=1, max_size=8)
    )
)
def test_hostile(data: bytes) -> None:
    """Any bytes are frames or refused, at once or byte by byte, in the same way; nothing else happens."""

    def outcome(*pieces: bytes) -> str:
        try:
            return repr(heard(*pieces))
        except Garbled as error:
            return str(error)

    at_once = outcome(data)
    by_bytes = outcome(*(data[at : at + 1] for at in range(len(data))))
    assert at_once.startswith("[") == by_bytes.startswith("[")


@pytest.mark.parametrize("at", range(7))
def test_a_changed_head(at: int) -> None:
    """A frame's head that is changed anywhere is never the same message."""
    changed = bytearray(STREAM)
    changed[at] ^= 0xFF
    with suppress(Garbled):
        assert heard(bytes(changed)) != heard(STREAM)


def test_a_body_that_never_ends() -> None:
    """A size that no broker takes is refused before its first byte."""
    parts: tuple[Any, ...] = (
        commands.Basic.Deliver("hasten", 1, exchange="", routing_key=""),
        header.ContentHeader(0, MOST_BODY + 1, None),
    )
    with pytest.raises(Garbled, match="bytes"):
        heard(b"".join(frame.marshal(part, 3) for part in parts))


def test_a_frame_that_never_ends() -> None:
    """A frame that is larger than was agreed is refused by its head, and nothing is kept of it."""
    with pytest.raises(Garbled, match="131072 were agreed"):
        heard(b"\x03\0\3\0\2\0\1\0")
