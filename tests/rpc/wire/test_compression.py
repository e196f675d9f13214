"""Compression of messages and its bound."""

import gzip
import tracemalloc
import zlib

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten.rpc.wire._compression import (
    ACCEPT_ENCODING,
    DEFLATE,
    GZIP,
    IDENTITY,
    MalformedMessage,
    MessageError,
    MessageTooLarge,
    UnknownEncoding,
    accepted_encodings,
    compress,
    decompress,
    encoding_of,
)

_MIB = 1024 * 1024
_WINDOW_BITS = {GZIP: 31, DEFLATE: 15}
_ENCODINGS = pytest.mark.parametrize("encoding", [GZIP, DEFLATE])
_MESSAGE = b"hasten " * 20


@_ENCODINGS
@given(data=st.binary())
def test_round_trip(encoding: str, data: bytes) -> None:
    """What was compressed comes out again, when the limit is exactly its size."""
    assert decompress(encoding, compress(encoding, data), len(data)) == data


@given(data=st.binary())
def test_formats(data: bytes) -> None:
    """gzip is RFC 1952 and deflate is RFC 1950, not the bare stream."""
    assert gzip.decompress(compress(GZIP, data)) == data
    assert zlib.decompress(compress(DEFLATE, data)) == data


def test_identity() -> None:
    """identity compresses nothing, and a message with the compressed flag cannot have it, in grpc-core's words."""
    assert compress(IDENTITY, _MESSAGE) is _MESSAGE
    with pytest.raises(MalformedMessage, match=r"^Compression bit set but no encoding configured$"):
        decompress(IDENTITY, _MESSAGE, 1000)


@_ENCODINGS
def test_nothing(encoding: str) -> None:
    """A compressed message without a byte is an empty one, as in grpc-core, and fits every limit."""
    assert decompress(encoding, b"", 0) == b""
    assert decompress(encoding, compress(encoding, b""), 0) == b""


@_ENCODINGS
@given(data=st.binary(min_size=1, max_size=5000), missing=st.integers(1, 5000))
def test_too_large(encoding: str, data: bytes, missing: int) -> None:
    """One byte more than the limit is refused with RESOURCE_EXHAUSTED."""
    limit = max(0, len(data) - missing)
    with pytest.raises(MessageTooLarge) as caught:
        decompress(encoding, compress(encoding, data), limit)
    assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert caught.value.limit_bytes == limit
    assert caught.value.size_bytes == limit + 1


def test_too_large_says_how_much() -> None:
    """The message is grpc-core's."""
    assert str(MessageTooLarge(5000, 4000)) == "Received message larger than max (5000 vs. 4000)"


@_ENCODINGS
def test_bomb(encoding: str) -> None:
    """A gigabyte of zeros in a megabyte is refused, and costs no more memory than a few messages at the limit."""
    # Behind a full flush nothing refers to what came before, so a part may be repeated: packing all takes seconds.
    packer = zlib.compressobj(wbits=_WINDOW_BITS[encoding])
    first, again = (packer.compress(bytes(_MIB)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    bomb = first + 1023 * again
    tracemalloc.start()
    try:
        with pytest.raises(MessageTooLarge):
            decompress(encoding, bomb, 4 * _MIB)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * 4 * _MIB


@_ENCODINGS
@pytest.mark.parametrize("behind", [b"\0", b"junk", "itself"])
def test_something_behind(encoding: str, behind: bytes | str) -> None:
    """Bytes behind the end are refused, a second member too, as in grpc-core."""
    compressed = compress(encoding, _MESSAGE)
    rest = compressed if isinstance(behind, str) else behind
    with pytest.raises(MalformedMessage, match="not all input consumed"):
        decompress(encoding, compressed + rest, 1000)


@_ENCODINGS
def test_cut_off(encoding: str) -> None:
    """A message that ends too early is malformed, wherever it is cut."""
    compressed = compress(encoding, _MESSAGE)
    for length in range(1, len(compressed)):
        with pytest.raises(MalformedMessage, match="data error"):
            decompress(encoding, compressed[:length], 1000)


@_ENCODINGS
def test_damaged_checksum(encoding: str) -> None:
    """A message whose checksum is wrong is malformed; its status is INTERNAL."""
    compressed = bytearray(compress(encoding, _MESSAGE))
    compressed[-5 if encoding == GZIP else -1] ^= 1  # gzip ends with the size, four bytes
    with pytest.raises(MalformedMessage, match="zlib error") as caught:
        decompress(encoding, bytes(compressed), 1000)
    assert caught.value.code is grpc.StatusCode.INTERNAL


@pytest.mark.parametrize(("encoding", "other"), [(GZIP, DEFLATE), (DEFLATE, GZIP)])
def test_other_format(encoding: str, other: str) -> None:
    """A message in another format than its encoding says is malformed."""
    with pytest.raises(MalformedMessage):
        decompress(encoding, compress(other, _MESSAGE), 1000)


@_ENCODINGS
@given(data=st.binary(min_size=1))
def test_anything(encoding: str, data: bytes) -> None:
    """Whatever comes is a message within the limit or a MessageError."""
    try:
        assert len(decompress(encoding, data, 100)) <= 100
    except MessageError:
        return


@pytest.mark.parametrize("encoding", ["br", "GZIP", "", "x" * 10_000])
def test_unknown(encoding: str) -> None:
    """An encoding that is none of ours is UNIMPLEMENTED, and the message stays short."""
    for arguments in ((encoding, b""), (encoding, b"", 10)):
        with pytest.raises(UnknownEncoding) as caught:
            compress(*arguments) if len(arguments) == 2 else decompress(*arguments)
        assert caught.value.code is grpc.StatusCode.UNIMPLEMENTED
        assert caught.value.encoding == encoding
        assert len(str(caught.value)) < 120


def test_names() -> None:
    """What users give as compression has its name, and nothing given is identity."""
    assert [encoding_of(compression) for compression in grpc.Compression] == [IDENTITY, DEFLATE, GZIP]
    assert encoding_of(None) == IDENTITY


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (ACCEPT_ENCODING.decode(), {IDENTITY, DEFLATE, GZIP}),
        ("gzip,br", {IDENTITY, GZIP, "br"}),
        (" gzip ,, ", {IDENTITY, GZIP}),
        ("", {IDENTITY}),
    ],
)
def test_accepted(value: str, names: set[str]) -> None:
    """What a peer accepts is what it lists, and always identity."""
    assert accepted_encodings(value) == names
