"""Header blocks against the hpack package: decoded alike, remembered only when that is safe."""

import contextlib
from dataclasses import dataclass, replace

import pytest
from hpack import Decoder, Encoder
from hypothesis import given
from hypothesis import strategies as st

from hasten.rpc import Limits
from hasten.rpc.wire import ConnectionViolation, ErrorCode
from hasten.rpc.wire._hpack import (
    STATIC_TABLE,
    TABLE_SIZE_ZERO,
    Fields,
    HeaderBlocks,
    decode_integer,
    encode_field,
    parse_stateless,
    plain_fields,
)

FIXED = frozenset((b":path", b"te", b"content-type"))
names = st.one_of(st.sampled_from([name for name, _ in STATIC_TABLE[1:]]), st.binary(min_size=1, max_size=40))
values = st.one_of(st.just(b""), st.binary(max_size=60), st.binary(min_size=120, max_size=300))
field_lists = st.lists(st.tuples(names, values), min_size=1, max_size=12)


@dataclass(slots=True)
class Listed:
    """A head that is its fields."""

    fields: tuple[tuple[bytes, bytes], ...] = ()
    size: int = 0

    def __post_init__(self) -> None:
        self.size = sum(len(name) + len(value) + 32 for name, value in self.fields)


def blocks(limits: Limits | None = None, plain: frozenset[bytes] = frozenset()) -> HeaderBlocks[Listed]:
    """Return a decoder whose heads are the fields themselves."""
    wide = replace(Limits(), header_list_hard_bytes=1 << 20)
    return HeaderBlocks(limits or wide, Listed(), lambda head, more: Listed((*head.fields, *more)), FIXED, plain)


def stateless(plain: frozenset[bytes] = frozenset()) -> HeaderBlocks[Listed]:
    """Return a decoder whose peer has emptied its table."""
    made = blocks(plain=plain)
    made.settings_acknowledged()
    made.decode(TABLE_SIZE_ZERO + encode_field(b"te", b"trailers"))
    return made


@given(fields=field_lists)
def test_what_we_encode(fields: Fields) -> None:
    """Any decoder reads our literals, ours without a table too."""
    block = b"".join(encode_field(*field) for field in fields)
    assert [(bytes(pair[0]), bytes(pair[1])) for pair in Decoder(1 << 20).decode(block, raw=True)] == fields
    assert parse_stateless(block, 0) == (fields, 0)
    assert plain_fields(block) == fields


@given(
    lists=st.lists(field_lists, min_size=1, max_size=4), huffman=st.booleans(), size=st.sampled_from([0, 0, 60, 4096])
)
def test_what_a_peer_encodes(lists: list[Fields], huffman: bool, size: int) -> None:  # noqa: FBT001 - hypothesis gives it
    """Blocks of a full encoder are decoded as its fields, each twice: from the bytes and as remembered."""
    encoder, decoder = Encoder(), blocks()
    encoder.header_table_size = size
    if size == 0:
        decoder.settings_acknowledged()
    for fields in lists:
        for _ in range(2):
            block = encoder.encode(fields, huffman=huffman)
            known = decoder.known.get(block)
            assert (known if known is not None else decoder.decode(block)).fields == tuple(fields)


def test_a_block_is_remembered_when_the_table_is_empty() -> None:
    """Before that the same bytes may mean something else later."""
    block = b"\x40" + encode_field(b"te", b"trailers")[1:]
    early = blocks()
    early.decode(block)
    assert not early.known
    late = stateless()
    late.decode(block)
    assert late.known == {block: Listed(((b"te", b"trailers"),))}


def test_what_changes_is_left_out_of_what_is_remembered() -> None:
    """The part before the first field that changes is remembered; what follows is parsed, whatever it is."""
    decoder = stateless()
    prefix = encode_field(b":path", b"/a/b") + encode_field(b"te", b"trailers")
    for number in range(50):
        tail = encode_field(b"traceparent", b"%d" % number)
        assert decoder.decode(prefix + tail).fields[-1] == (b"traceparent", b"%d" % number)
    assert not decoder.known
    assert decoder.decoded_bytes == len(TABLE_SIZE_ZERO + encode_field(b"te", b"trailers"))


def test_a_plain_rest_need_not_be_parsed() -> None:
    """It is split off when all of its names are plain, with its size as a list; else it is decoded as a whole."""
    decoder = stateless(plain=frozenset({b"traceparent"}))
    prefix = encode_field(b":path", b"/a/b")
    decoder.decode(prefix + encode_field(b"traceparent", b"0"))
    rest = encode_field(b"traceparent", b"1")
    head = Listed(((b":path", b"/a/b"),))
    assert decoder.split(prefix + rest) == (head, rest, len(b"traceparent") + 1 + 32)
    assert decoder.split(prefix + encode_field(b"other", b"1")) is None
    assert decoder.split(prefix + rest[:-1]) is None
    assert decoder.split(b"\x82") is None


@pytest.mark.parametrize("size", [b"\x21", b"\x3f\xe1\x1f", b"\x20\x3f\x00"])
def test_a_table_above_what_we_allow(size: bytes) -> None:
    """Once the peer knows our table size of 0, an update above it is an error."""
    for decoder in (blocks(), stateless()):
        decoder.settings_acknowledged()
        with pytest.raises(ConnectionViolation) as caught:
            decoder.decode(size + encode_field(b"te", b"trailers"))
        assert caught.value.code is ErrorCode.COMPRESSION_ERROR


@given(block=st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused(block: bytes) -> None:
    """What is malformed ends the connection, and raises nothing else."""
    for decoder in (blocks(Limits()), stateless()):
        decoder.split(block)
        with contextlib.suppress(ConnectionViolation):
            decoder.decode(block)


def test_memory_is_bounded() -> None:
    """However many different blocks and beginnings come, so many are kept."""
    limits = Limits(header_cache_entries=10)
    decoder = blocks(limits)
    decoder.settings_acknowledged()
    decoder.decode(TABLE_SIZE_ZERO + encode_field(b"te", b"trailers"))
    for number in range(3000):
        decoder.decode(encode_field(b":path", b"/%d" % number))
        decoder.decode(encode_field(b":path", b"/%s" % (b"x" * (number % 100))) + encode_field(b"k", b"%d" % number))
        decoder.decode(encode_field(b":path", b"/p%d" % number) + encode_field(b"k", b"v"))
    assert len(decoder.known) <= 10
    assert len(decoder._prefixes) <= 16
    assert all(len(prefixes) <= 256 for prefixes in decoder._prefixes.values())


def test_integers() -> None:
    """The examples of RFC 7541 appendix C.1, and one that is too long."""
    assert decode_integer(b"\x0a", 0, 0x1F) == (10, 1)
    assert decode_integer(b"\x1f\x9a\x0a", 0, 0x1F) == (1337, 3)
    assert decode_integer(b"\x2a", 0, 0xFF) == (42, 1)
    with pytest.raises(ValueError, match="too long"):
        decode_integer(b"\x1f\xff\xff\xff\xff\xff\xff", 0, 0x1F)
