"""What a server makes of a request's header block: RFC 9113 sections 8.2 and 8.3, and gRPC's own fields."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten.rpc._limits import Limits
from hasten.rpc.wire._hpack import (
    FIELD_OVERHEAD,
    TABLE_SIZE_ZERO,
    Fields,
    HeaderBlocks,
    are_values,
    encode_field,
    plain_fields,
)
from hasten.rpc.wire._request_head import FIXED, RequestHead, RequestHeads

METHOD = object()
FIRST: Fields = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/a.B/C"),
    (b":authority", b"host"),
    (b"te", b"trailers"),
    (b"content-type", b"application/grpc"),
]


def heads(header_list_bytes: int = 8192) -> RequestHeads:
    return RequestHeads({"/a.B/C": METHOD}.get, Limits(header_list_bytes=header_list_bytes))


def head_of(fields: Fields, **limits: int) -> RequestHead:
    return heads(**limits).extend(RequestHead(), fields)


def with_field(name: bytes, value: bytes) -> Fields:
    """Return a request's fields with one set, at its place or at the end."""
    if name in dict(FIRST):
        return [(each, value if each == name else old) for each, old in FIRST]
    return [*FIRST, (name, value)]


def test_a_request() -> None:
    """A gRPC request for a known method is ready, its user's fields are kept as they came."""
    head = head_of([*FIRST, (b"grpc-timeout", b"5S"), (b"user-agent", b"me"), (b"x", b"1"), (b"x", b"2")])
    assert head.is_ready
    assert not head.malformed
    assert (head.path, head.method, head.authority, head.scheme) == ("/a.B/C", METHOD, "host", "http")
    assert (head.timeout, head.encoding, head.content_length) == (5.0, "identity", -1)
    assert [each for each in head.fields if each[0] == b"x"] == [(b"x", b"1"), (b"x", b"2")]
    assert (b"te", b"trailers") not in head.fields
    assert head_of(FIRST).timeout == math.inf


def test_the_size() -> None:
    """A list counts each field with 32 bytes more (RFC 9113 section 6.5.2)."""
    assert head_of(FIRST).size == sum(len(name) + len(value) + 32 for name, value in FIRST)


MALFORMED: dict[str, Fields] = {
    "unknown pseudo-header field": [(b":foo", b"x"), *FIRST],
    ":status": [(b":status", b"200"), *FIRST],
    "method twice": [(b":method", b"POST"), *FIRST],
    "path twice": [*FIRST[:4], (b":path", b"/b"), *FIRST[4:]],
    "pseudo-header field after te": [FIRST[4], *FIRST[:4], FIRST[5]],
    "pseudo-header field after grpc-timeout": [(b"grpc-timeout", b"1S"), *FIRST],
    "pseudo-header field after metadata": [(b"x", b"1"), *FIRST],
    "pseudo-header field at the end": [*FIRST, (b":authority", b"host")],
    "upper case": with_field(b"X-User", b"1"),
    "no name": with_field(b"", b"1"),
    "a space in a name": with_field(b"x user", b"1"),
    "a colon in a name": with_field(b"x:user", b"1"),
    "a byte above ASCII in a name": with_field(b"x\xe4", b"1"),
    "connection": with_field(b"connection", b"close"),
    "proxy-connection": with_field(b"proxy-connection", b"close"),
    "keep-alive": with_field(b"keep-alive", b"1"),
    "transfer-encoding": with_field(b"transfer-encoding", b"chunked"),
    "upgrade": with_field(b"upgrade", b"h2c"),
    "te": with_field(b"te", b"gzip"),
    "a line break": with_field(b"x", b"1\r\nx-admin: 1"),
    "a line feed": with_field(b"x", b"1\n2"),
    "a NUL": with_field(b"x", b"1\x002"),
    "a line break in the path": with_field(b":path", b"/a.B/C\r\n"),
    "grpc-timeout": with_field(b"grpc-timeout", b"5"),
    "content-length of no number": with_field(b"content-length", b"five"),
    "negative content-length": with_field(b"content-length", b"-1"),
    "content-length of other digits": with_field(b"content-length", "5²".encode("latin-1")),
    "endless content-length": with_field(b"content-length", b"9" * 5000),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed(name: str) -> None:
    """What RFC 9113 calls malformed is, and says why; nothing of it runs."""
    head = head_of(MALFORMED[name])
    assert head.malformed
    assert not head.is_ready


@pytest.mark.parametrize("name", [b":method", b":scheme", b":path"])
def test_incomplete(name: bytes) -> None:
    """A request without one of the pseudo-header fields is incomplete (RFC 9113 section 8.3.1)."""
    head = head_of([each for each in FIRST if each[0] != name])
    assert head.is_incomplete
    assert not head.is_ready
    assert head_of([(each, b"" if each == name else value) for each, value in FIRST]).is_incomplete


REFUSED = {
    "method": with_field(b":method", b"GET"),
    "path": with_field(b":path", b"/a.B/D"),
    "no content type": [each for each in FIRST if each[0] != b"content-type"],
    "content type": with_field(b"content-type", b"application/json"),
    "a longer content type": with_field(b"content-type", b"application/grpc-web"),
    "encoding": with_field(b"grpc-encoding", b"snappy"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    """A request that is well formed and not one for us is not ready."""
    head = head_of(REFUSED[name])
    assert not head.malformed
    assert not head.is_ready


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"content-type", b"application/grpc+proto"),
        (b"content-type", b"application/grpc;charset=utf-8"),
        (b"grpc-encoding", b"gzip"),
        (b"grpc-encoding", b"identity"),
        (b"content-length", b"0"),
        (b"accept-encoding", b"identity"),
        (b"grpc-accept-encoding", b"gzip"),
        (b"x", b"\x01 \xff\t"),
        (b"x-bin", b"AAAA"),
    ],
)
def test_accepted(name: bytes, value: bytes) -> None:
    """What gRPC lets a client send is taken."""
    assert head_of(with_field(name, value)).is_ready


def test_a_large_list() -> None:
    """A list above the soft bound is not ready, without being malformed."""
    size = head_of(FIRST).size
    assert head_of(FIRST, header_list_bytes=size).is_ready
    head = head_of(FIRST, header_list_bytes=size - 1)
    assert not head.is_ready
    assert not head.malformed


def test_heads_are_not_shared() -> None:
    """What extends a head leaves it as it was, since many calls share it."""
    made = heads()
    first = made.extend(RequestHead(), FIRST)
    made.extend(first, [(b"x", b"1"), (b"grpc-timeout", b"1S"), (b"content-type", b"text/html")])
    assert first.is_ready
    assert (first.timeout, first.content_type) == (math.inf, "application/grpc")
    assert all(name != b"x" for name, _ in first.fields)


def test_names_of_metadata_are_bounded() -> None:
    """Of names that were seen to be metadata no more than 256 are remembered, and none that could be misread."""
    made = heads()
    for number in range(1000):
        made.extend(RequestHead(), [*FIRST, (b"x-%d" % number, b""), (b"y" * (number % 300 + 1), b"")])
    assert len(made.plain) == 256
    assert all(len(name) <= 0x7E for name in made.plain)
    assert not made.plain & {b"te", b"content-type", b"grpc-timeout", b"grpc-encoding", b":path", b"content-length"}


STRANGE = st.sampled_from(
    [
        (b"x", b"1"),
        (b"x", b"a\nb"),
        (b"traceparent", b"00-1"),
        (b"user-agent", b"me"),
        (b"content-type", b"text/html"),
        (b"content-type", b"application/grpc"),
        (b"grpc-encoding", b"snappy"),
        (b"grpc-encoding", b"gzip"),
        (b"grpc-timeout", b"3S"),
        (b"grpc-timeout", b"soon"),
        (b"content-length", b"7"),
        (b"connection", b"close"),
        (b"te", b"gzip"),
        (b":path", b"/a.B/C"),
        (b":path", b"/a.B/D"),
        (b":method", b"GET"),
        (b"Upper", b"x"),
        (b"grpc-accept-encoding", b"gzip"),
    ]
)


def told(head: RequestHead, rest: Fields) -> dict[str, Any]:
    """Return all that a head says, with the fields that were left for later."""
    found = {name: getattr(head, name) for name in head.__slots__ if name not in {"fields", "size", "malformed"}}
    return {**found, "malformed": bool(head.malformed), "fields": [*head.fields, *rest]}


@given(st.lists(st.lists(STRANGE, max_size=5), min_size=1, max_size=8))
def test_the_cache_tells_the_same(tails: list[Fields]) -> None:
    """A request means the same whatever was remembered before: by its whole block, by its beginning, or by names."""
    made = heads()
    blocks = HeaderBlocks(Limits(), RequestHead(), made.extend, FIXED, made.plain)
    blocks.settings_acknowledged()
    blocks.decode(TABLE_SIZE_ZERO)
    for tail in tails * 2:
        fields = [*FIRST, *tail]
        block = b"".join(encode_field(*each) for each in fields)
        expected = told(head_of(fields), [])
        split = blocks.split(block)
        if split is not None and split[0].is_ready:
            head, rest, size = split
            if are_values(fields):
                assert told(head, plain_fields(rest)) == expected
            assert are_values(plain_fields(rest))
            assert head.size + size == sum(len(name) + len(value) + FIELD_OVERHEAD for name, value in fields)
        assert told(blocks.known.get(block) or blocks.decode(block), []) == expected
