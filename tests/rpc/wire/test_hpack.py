"""Header blocks against the hpack package, which encodes them in all the ways it can, on one connection."""

from dataclasses import dataclass, field

import pytest
from hpack import Decoder, Encoder, HeaderTuple, NeverIndexedHeaderTuple
from hypothesis import given
from hypothesis import strategies as st

from hasten.rpc._limits import Limits
from hasten.rpc.wire._frames import ConnectionViolation, ErrorCode
from hasten.rpc.wire._hpack import (
    FIELD_OVERHEAD,
    TABLE_SIZE_ZERO,
    Field,
    Fields,
    HeaderBlocks,
    are_values,
    decode_integer,
    encode_field,
    is_name,
    parse_stateless,
    plain_fields,
)


@dataclass
class Listed:
    """A head that keeps the fields as they are."""

    fields: Fields = field(default_factory=list)
    size: int = 0


def extend(head: Listed, fields: Fields) -> Listed:
    size = sum(len(name) + len(value) + FIELD_OVERHEAD for name, value in fields)
    return Listed([*head.fields, *fields], head.size + size)


FIXED = frozenset((b":method", b":path", b"te", b"content-type"))
PLAIN = frozenset((b"traceparent", b"x-user", b"a" * 126))
NAMES = st.one_of(
    st.sampled_from([*sorted(FIXED), *sorted(PLAIN), b":authority", b"cookie", b"accept-language"]),
    st.binary(min_size=1, max_size=300),
)
VALUES = st.one_of(st.sampled_from([b"", b"POST", b"GET", b"/", b"trailers"]), st.binary(max_size=300))
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=10)


def blocks(plain: frozenset[bytes] = PLAIN, **limits: int) -> HeaderBlocks[Listed]:
    chosen = Limits(**{"header_list_hard_bytes": 1 << 20, **limits})  # type: ignore[arg-type]
    return HeaderBlocks(chosen, Listed(), extend, FIXED, plain)


def stateless_blocks(plain: frozenset[bytes] = PLAIN, **limits: int) -> HeaderBlocks[Listed]:
    """Return a decoder whose peer has emptied its table."""
    found = blocks(plain, **limits)
    found.settings_acknowledged()
    found.decode(TABLE_SIZE_ZERO)
    return found


def stateless_encoder() -> Encoder:
    encoder = Encoder()
    encoder.header_table_size = 0
    encoder.encode([])  # its size update is in the first block
    return encoder


def tuples(fields: Fields, never: set[int]) -> list[HeaderTuple]:
    """Return fields as hpack takes them, some of them never to be indexed."""
    return [(NeverIndexedHeaderTuple if at in never else HeaderTuple)(*each) for at, each in enumerate(fields)]


@given(st.lists(st.tuples(FIELDS, st.booleans(), st.sets(st.integers(0, 9))), min_size=1, max_size=8))
def test_without_a_table(lists: list[tuple[Fields, bool, set[int]]]) -> None:
    """Whatever is encoded without a table is decoded as it was, the first time and when it comes again."""
    encoder, found = stateless_encoder(), stateless_blocks()
    encoded = [(fields, encoder.encode(tuples(fields, never), huffman)) for fields, huffman, never in lists]
    for fields, block in encoded * 2:
        head = found.known.get(block) or found.decode(block)
        assert head == extend(Listed(), fields)


@given(st.lists(st.tuples(FIELDS, st.booleans()), min_size=1, max_size=12), st.integers(0, 12), st.integers(0, 12))
def test_a_table_before_the_acknowledgement(lists: list[tuple[Fields, bool]], acknowledged: int, emptied: int) -> None:
    """A peer may use a table until it has emptied it after its acknowledgement, however late, and nothing is cached."""
    encoder, found = Encoder(), blocks()
    for number, (fields, huffman) in enumerate(lists):
        if number == emptied:
            encoder.header_table_size = 0
        if number == acknowledged:
            found.settings_acknowledged()
        block = encoder.encode(fields, huffman)
        assert found.decode(block) == extend(Listed(), fields)
        if number < max(acknowledged, emptied):
            assert not found.known
            assert not found._prefixes


@given(FIELDS, st.lists(st.tuples(FIELDS, st.booleans()), min_size=2, max_size=6))
def test_changing_tails(beginning: Fields, tails: list[tuple[Fields, bool]]) -> None:
    """Blocks that share their beginning are decoded as they are, however they go on."""
    encoder, found = stateless_encoder(), stateless_blocks()
    for tail, huffman in tails * 2:
        block = encoder.encode(beginning, huffman=False) + encoder.encode(tail, huffman)
        head = found.known.get(block) or found.decode(block)
        assert head == extend(Listed(), [*beginning, *tail])


PLAIN_TAILS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(sorted(PLAIN)), st.binary(max_size=140)),
        st.tuples(st.sampled_from([b"other", b":path", b"te"]), st.binary(max_size=10)),
    ),
    max_size=4,
)


@given(st.lists(PLAIN_TAILS, min_size=1, max_size=6), st.booleans())
def test_tails_that_are_not_parsed(tails: list[Fields], huffman: bool) -> None:  # noqa: FBT001
    """A tail that is left for later gives the same fields then, but for values that are none, and has the same size."""
    encoder, found = stateless_encoder(), stateless_blocks()
    beginning = [(b":method", b"POST"), (b":path", b"/a")]
    for tail in tails:
        block = encoder.encode(beginning, huffman=False) + encoder.encode(tail, huffman)
        split = found.split(block)
        if split is not None:
            head, rest, size = split
            later = plain_fields(rest)
            left = [*beginning, *tail][len(head.fields) :]
            assert later == [each for each in left if are_values([each])]
            assert {name for name, _ in later} <= PLAIN
            assert extend(head, left) == Listed([*beginning, *tail], head.size + size)
        assert found.decode(block) == extend(Listed(), [*beginning, *tail])


@given(st.binary(max_size=60))
def test_any_tail(tail: bytes) -> None:
    """Any bytes behind a known beginning are left for later only if they are what `decode` finds."""
    found = stateless_blocks()
    beginning = encode_field(b":method", b"POST")
    found.decode(beginning + encode_field(b"x-user", b"1"))
    for rest in (tail, encode_field(b"x-user", tail), encode_field(b"x-user", b"1") + tail):
        split = found.split(beginning + rest)
        if split is not None:
            fields = found.decode(beginning + rest).fields[1:]
            assert plain_fields(split[1]) == [each for each in fields if are_values([each])]
            assert split[2] == extend(Listed(), fields).size


@pytest.mark.parametrize("length", [0x7F, 0x85])
@pytest.mark.parametrize("first", [b"!", b"a"])
def test_a_name_in_another_coding_is_not_plain(first: bytes, length: int) -> None:
    """A name's length that stands for Huffman code, or goes on, is not taken for a plain one's."""
    found = stateless_blocks()
    beginning = encode_field(b":method", b"POST")
    found.decode(beginning + encode_field(b"x-user", b"1"))
    assert found.split(beginning + b"\x00" + bytes((length,)) + first * length + b"\x01v") is None


def outcome(found: HeaderBlocks[Listed], block: bytes) -> Fields | None:
    """Return a block's fields, None when it is malformed."""
    try:
        return (found.known.get(block) or found.decode(block)).fields
    except ConnectionViolation as violation:
        if violation.code is not ErrorCode.COMPRESSION_ERROR:
            raise
        return None


@given(st.binary(max_size=80), st.booleans())
def test_any_bytes(block: bytes, stateless: bool) -> None:  # noqa: FBT001
    """Any bytes are the list that the oracle finds, or a violation; twice the same."""
    found = stateless_blocks() if stateless else blocks()
    oracle = Decoder(max_header_list_size=1 << 20)
    if stateless:
        oracle.header_table_size = 0
    try:
        expected: list[Field] | None = [(bytes(name), bytes(value)) for name, value in oracle.decode(block, raw=True)]
    except Exception:  # whatever hpack raises
        expected = None
    for _ in range(2 if stateless else 1):
        decoded = outcome(found, block)
        assert decoded == expected or (decoded is None and oracle.header_table_size > 0)


def test_what_needs_the_table_is_never_remembered() -> None:
    """A block may be remembered if reading it neither reads nor changes a table: none before the table is empty."""
    found = blocks()
    indexed = b"\x40\x01a\x01b"  # literal with incremental indexing
    assert found.decode(indexed).fields == found.decode(b"\xbe").fields == [(b"a", b"b")]
    assert not found.known
    found.settings_acknowledged()
    found.decode(TABLE_SIZE_ZERO + b"\x83")
    assert not found.known
    assert found.decode(b"\x83").fields == [(b":method", b"POST")]
    assert list(found.known) == [b"\x83"]
    with pytest.raises(ConnectionViolation):
        found.decode(b"\xbe")


def test_containers_are_bounded() -> None:
    """However many different blocks come, what is remembered stays below its bounds, in number and in length."""
    found = stateless_blocks(header_cache_entries=10, header_cache_block_bytes=100)
    for number in range(2000):
        value = b"%d" % number
        found.decode(encode_field(b":path", value))
        found.decode(encode_field(b":path", value * (1 + number % 30)) + encode_field(b"x-user", b""))
        found.decode(encode_field(b":path", b"x" * 200 + value))
        assert len(found.known) <= 10
        assert len(found._prefixes) <= 16
        assert all(len(prefixes) <= 10 for prefixes in found._prefixes.values())
    assert all(len(block) <= 100 for block in found.known)
    assert all(length <= 100 for length in found._prefixes)


def test_dear_bytes_are_counted() -> None:
    """Huffman code counts by its length, what goes through a table by the block's, other bytes not at all."""
    found = stateless_blocks()
    before = found.decoded_bytes
    plain = encode_field(b"x-user", b"plain")
    found.decode(plain)
    assert found.decoded_bytes == before
    coded = stateless_encoder().encode([(b"x-user", b"a" * 80)], huffman=True)
    found.decode(coded)
    assert 50 <= found.decoded_bytes - before <= len(coded)
    stateful = blocks()
    stateful.decode(plain)
    assert stateful.decoded_bytes == len(plain)


@pytest.mark.parametrize("make", [blocks, stateless_blocks])
@pytest.mark.parametrize("block", [encode_field(b"a", bytes(1001)), b"\x83" * 40, encode_field(b"a", bytes(970))])
def test_lists_above_the_bound(make: type, block: bytes) -> None:
    """A list above the hard bound is a violation, by its block's length, by its number of fields, by its size."""
    found = make(header_list_bytes=500, header_list_hard_bytes=1000)
    with pytest.raises(ConnectionViolation) as raised:
        found.decode(block)
    assert raised.value.code is ErrorCode.ENHANCE_YOUR_CALM


def test_many_fields_are_not_parsed_to_the_end() -> None:
    """Of a block that says a field in each byte no more is parsed than the list may have."""
    found = stateless_blocks(header_list_bytes=500, header_list_hard_bytes=16_384)
    with pytest.raises(ConnectionViolation, match="header list too large"):
        found.decode(b"\x83" * 16_000 + b"\x00\xff")  # the end is malformed, and not looked at


@pytest.mark.parametrize("name", [b"a", b"x-user", b"grpc-status", b"!#$%&'*+-.^_`|~0"])
def test_names(name: bytes) -> None:
    """Lower case tokens are names."""
    assert is_name(name)


@pytest.mark.parametrize("name", [b"", b"A", b"a b", b"a:b", b":path", b"a\x7f", b"a\x00", b"\xc3\xa4"])
def test_no_names(name: bytes) -> None:
    """Upper case, colons, spaces and whatever is no visible ASCII are not (RFC 9113 section 8.2.1)."""
    assert not is_name(name)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=5))
def test_values(fields: Fields) -> None:
    """Values may hold anything but NUL, CR and LF."""
    assert are_values(fields) is not any(set(value) & {0, 10, 13} for _, value in fields)


@given(FIELDS)
def test_what_we_encode(fields: Fields) -> None:
    """Any decoder reads our literals, ours without a table too."""
    block = b"".join(encode_field(*field) for field in fields)
    assert [(bytes(pair[0]), bytes(pair[1])) for pair in Decoder(1 << 20).decode(block, raw=True)] == fields
    assert parse_stateless(block, 0) == (fields, 0)
    assert plain_fields(block) == [field for field in fields if are_values([field])]


def test_what_changes_is_left_out_of_what_is_remembered() -> None:
    """The part before the first field that changes is remembered; what follows is parsed, whatever it is."""
    decoder = stateless_blocks()
    prefix = encode_field(b":path", b"/a/b") + encode_field(b"te", b"trailers")
    for number in range(50):
        tail = encode_field(b"traceparent", b"%d" % number)
        assert decoder.decode(prefix + tail).fields[-1] == (b"traceparent", b"%d" % number)
    assert not decoder.known
    assert decoder.decoded_bytes == len(TABLE_SIZE_ZERO)


@pytest.mark.parametrize("size", [b"\x21", b"\x3f\xe1\x1f", b"\x20\x3f\x00"])
def test_a_table_above_what_we_allow(size: bytes) -> None:
    """Once the peer knows our table size of 0, an update above it is an error."""
    for decoder in (blocks(), stateless_blocks()):
        decoder.settings_acknowledged()
        with pytest.raises(ConnectionViolation) as caught:
            decoder.decode(size + encode_field(b"te", b"trailers"))
        assert caught.value.code is ErrorCode.COMPRESSION_ERROR


def test_integers() -> None:
    """The examples of RFC 7541 appendix C.1, and one that is too long."""
    assert decode_integer(b"\x0a", 0, 0x1F) == (10, 1)
    assert decode_integer(b"\x1f\x9a\x0a", 0, 0x1F) == (1337, 3)
    assert decode_integer(b"\x2a", 0, 0xFF) == (42, 1)
    with pytest.raises(ValueError, match="too long"):
        decode_integer(b"\x1f\xff\xff\xff\xff\xff\xff", 0, 0x1F)
