"""Metadata and header fields, and grpc-message."""

import base64
import string
from typing import Any

import grpc.aio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten.rpc.wire._metadata import (
    TRANSPORT_FIELDS,
    InvalidMetadata,
    decode_metadata,
    decode_value,
    encode_metadata,
    encode_pair,
    percent_decode,
    percent_encode,
)

_KEYS = st.text(string.ascii_lowercase + string.digits + "_.-", min_size=1).filter(
    lambda key: key not in TRANSPORT_FIELDS and not key.endswith("-bin")
)
_PRINTABLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E))


@given(_KEYS, _PRINTABLE)
def test_text_round_trip(key: str, value: str) -> None:
    """Printable ASCII arrives as it was sent."""
    assert decode_metadata([encode_pair(key, value)]) == ((key, value),)


@given(_KEYS, st.binary())
def test_binary_round_trip(key: str, value: bytes) -> None:
    """Bytes under a -bin key arrive as they were sent, and are sent as base64 without padding."""
    name, encoded = encode_pair(f"{key}-bin", value)
    assert not encoded.endswith(b"=")
    assert decode_metadata([(name, encoded)]) == ((f"{key}-bin", value),)


def test_bytes_under_a_text_key() -> None:
    """ASCII bytes under another key are sent as text, and None as nothing, as grpc.aio does."""
    assert encode_pair("key", b"value") == (b"key", b"value")
    assert encode_pair("key", None) == (b"key", b"")
    key: Any = b"key"
    assert encode_pair(key, "value") == (b"key", b"value")


class _Text(str):
    __slots__ = ()


def test_subclass_of_str() -> None:
    """An enumeration's or another subclass' text is text."""
    assert encode_pair(_Text("key"), _Text("value")) == (b"key", b"value")


@pytest.mark.parametrize("key", ["", "Key", "a b", "a*", ":path", "é", "k\n", "key:"])
def test_bad_key(key: str) -> None:
    """A key with other characters is refused as grpc.aio refuses it, and as sync gRPC does."""
    with pytest.raises(InvalidMetadata, match="keys have one or more of") as caught:
        encode_pair(key, "value")
    assert caught.value.key == key
    assert issubclass(InvalidMetadata, grpc.aio.InternalError)
    assert issubclass(InvalidMetadata, ValueError)


@pytest.mark.parametrize("value", ["a\nb", "a\tb", "é", "日本", "\x7f", "\x00", b"\xff"])
def test_bad_value(value: str | bytes) -> None:
    """A value beyond printable ASCII is refused, with the advice to use a -bin key."""
    with pytest.raises(grpc.aio.InternalError, match="use a key that ends with -bin"):
        encode_pair("key", value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("k-bin", "text", "Binary metadata key=\"k-bin\" expected bytes, got <class 'str'>"),
        ("k-bin", bytearray(b"a"), "Binary metadata key=\"k-bin\" expected bytes, got <class 'bytearray'>"),
        ("k", 5, "Expected str, not <class 'int'>"),
        (5, "v", "Expected str, not <class 'int'>"),
    ],
)
def test_bad_type(key: Any, value: Any, message: str) -> None:
    """A wrong type is a TypeError with grpc.aio's words."""
    with pytest.raises(TypeError) as caught:
        encode_pair(key, value)
    assert str(caught.value) == message


@pytest.mark.parametrize("key", sorted(TRANSPORT_FIELDS))
def test_fields_of_the_transport(key: str) -> None:
    """A field that the transport sets is refused alone, and left out of a user's metadata, as grpc.aio does."""
    with pytest.raises(InvalidMetadata, match="the transport sets it, or HTTP/2 forbids it"):
        encode_pair(key, "value")
    assert encode_metadata([(key, "value"), ("kept", "1")]) == [(b"kept", b"1")]


def test_metadata_of_a_user() -> None:
    """Order and repeated keys stay, and grpc- names that are users' pass."""
    metadata = grpc.aio.Metadata(("a", "1"), ("grpc-status-details-bin", b"\xff"), ("a", "2"), ("grpc-trace-bin", b""))
    fields = encode_metadata(metadata)
    assert sorted(fields) == [
        (b"a", b"1"),
        (b"a", b"2"),
        (b"grpc-status-details-bin", b"/w"),
        (b"grpc-trace-bin", b""),
    ]
    assert [value for key, value in fields if key == b"a"] == [b"1", b"2"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"plain", "plain"),
        ("é日".encode(), "é日"),
        (b"\xe9", "é"),
        (b"\xff\xfe", "ÿþ"),
        (b"a\x01b", "a\x01b"),
        (b" a ", " a "),
        (b"a,b", "a,b"),
        (b"", ""),
    ],
)
def test_received_text(value: bytes, text: str) -> None:
    """Text is UTF-8 where it can be, latin-1 where not, and never an error."""
    assert decode_value(b"key", value) == text


@pytest.mark.parametrize(
    ("value", "contents"),
    [(b"YQ==", b"a"), (b"YQ", b"a"), (b"YQ=", b"a"), (b"/+8=", b"\xff\xef"), (b"", b"")],
)
def test_received_base64(value: bytes, contents: bytes) -> None:
    """A -bin value may have its padding, or a part of it, or none."""
    assert decode_value(b"k-bin", value) == contents


@pytest.mark.parametrize("value", [b"a*bc", b"YWJjZ", b"_-8=", b"YQ== ", b"YQ\n", b"=", b"====", b"YQ==YQ==", b"YQ,YQ"])
def test_received_no_base64(value: bytes) -> None:
    """A -bin value that is no base64 is refused in grpc-core's words."""
    with pytest.raises(ValueError, match=r"^Error parsing 'k-bin' metadata: illegal base64 encoding$"):
        decode_value(b"k-bin", value)


def test_joined_binary_values() -> None:
    """Values of a -bin key that were joined by commas are pairs of their own; text is left as it is."""
    fields = [(b"a-bin", b"YQ==,Yg, Yw"), (b"b", b"x,y")]
    assert decode_metadata(fields) == (("a-bin", b"a"), ("a-bin", b"b"), ("a-bin", b"c"), ("b", "x,y"))


@given(st.lists(st.binary(), min_size=1))
def test_joined_round_trip(values: list[bytes]) -> None:
    """Any values joined by commas, padded or not, come apart again."""
    joined = b",".join(base64.b64encode(value).rstrip(b"=" * (index % 2)) for index, value in enumerate(values))
    assert decode_metadata([(b"k-bin", joined)]) == tuple(("k-bin", value) for value in values)


@given(st.binary(), st.binary())
def test_received_anything(key: bytes, value: bytes) -> None:
    """Whatever comes is metadata or a ValueError."""
    for name in (key, key + b"-bin"):
        try:
            pairs = decode_metadata([(name, value)])
        except ValueError:
            assert name.endswith(b"-bin")
        else:
            assert all(key == name.decode("latin-1") for key, _ in pairs)


@pytest.mark.parametrize(
    ("message", "value"),
    [
        ("plain, with ~ and +", b"plain, with ~ and +"),
        ("100 %", b"100 %25"),
        ("\t\ntest\r\n\x7f", b"%09%0Atest%0D%0A%7F"),
        ("日", b"%E6%97%A5"),
        ("\ud800", b"?"),
        ("", b""),
    ],
)
def test_percent_encode(message: str, value: bytes) -> None:
    """Everything but printable ASCII and the percent sign is escaped as UTF-8 in capitals."""
    assert percent_encode(message) == value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"a%20b", "a b"),
        (b"a%2", "a%2"),
        (b"%", "%"),
        (b"%zz%41", "%zzA"),
        (b"%e6%97%a5", "日"),
        (b"%ff", "ÿ"),
        (b"%e6%97", "æ\x97"),
        (b"\xe9", "é"),
        (b"a%00b", "a\x00b"),
        (b"+", "+"),
    ],
)
def test_percent_decode(value: bytes, message: str) -> None:
    """Escapes are bytes of UTF-8, else of latin-1, and what is no escape stays."""
    assert percent_decode(value) == message


@given(st.text())
def test_percent_round_trip(message: str) -> None:
    """Any details arrive as they were sent, and what is sent is printable ASCII."""
    value = percent_encode(message)
    assert value.decode("ascii").isprintable()
    assert percent_decode(value) == message


@given(st.binary())
def test_percent_decode_anything(value: bytes) -> None:
    """Decoding never raises."""
    assert isinstance(percent_decode(value), str)
