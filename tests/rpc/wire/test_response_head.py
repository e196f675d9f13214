"""What a client makes of a response's header blocks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten.rpc._limits import Limits
from hasten.rpc.wire._hpack import Fields
from hasten.rpc.wire._response_head import ResponseHead, ResponseHeads, extend

HEADERS: Fields = [(b":status", b"200"), (b"content-type", b"application/grpc")]
INTERNAL = 13


def head_of(fields: Fields) -> ResponseHead:
    return extend(ResponseHead(), fields)


def test_headers() -> None:
    """Headers of a gRPC response are ready for messages; the user's fields are kept as they came."""
    head = head_of([*HEADERS, (b"grpc-encoding", b"gzip"), (b"x", b"1"), (b"x", b"2"), (b"server", b"me")])
    assert head.is_ready
    assert (head.http_status, head.grpc_status, head.encoding) == (200, -1, "gzip")
    assert head.fields == [(b"x", b"1"), (b"x", b"2")]


def test_trailers() -> None:
    """Trailers have a status, a message as it came, and the user's fields."""
    head = head_of([(b"grpc-status", b"5"), (b"grpc-message", b"not%20here"), (b"x", b"1")])
    assert (head.grpc_status, head.grpc_message, head.fields) == (5, b"not%20here", [(b"x", b"1")])
    assert not head.is_ready


NOT_READY: dict[str, Fields] = {
    "no status": [(b"content-type", b"application/grpc")],
    "another status": [(b":status", b"404"), (b"content-type", b"application/grpc")],
    "a status of no number": [(b":status", b"abc"), (b"content-type", b"application/grpc")],
    "a long status": [(b":status", b"2000"), (b"content-type", b"application/grpc")],
    "no content type": [(b":status", b"200")],
    "another content type": [(b":status", b"200"), (b"content-type", b"text/html")],
    "another encoding": [*HEADERS, (b"grpc-encoding", b"snappy")],
}


@pytest.mark.parametrize("name", NOT_READY)
def test_not_ready(name: str) -> None:
    """What no gRPC server answers is not ready for messages."""
    assert not head_of(NOT_READY[name]).is_ready


MALFORMED: dict[str, Fields] = {
    "upper case": [*HEADERS, (b"Upper", b"1")],
    "no name": [*HEADERS, (b"", b"1")],
    "a space in a name": [*HEADERS, (b"x y", b"1")],
    "unknown pseudo-header field": [*HEADERS, (b":path", b"/")],
    "a line break": [*HEADERS, (b"x", b"1\r\n2")],
    "a NUL": [(b"grpc-status", b"0"), (b"x", b"\x00")],
    "a status of no number": [(b"grpc-status", b"zero")],
    "an endless status": [(b"grpc-status", b"1" * 5000)],
    "a negative status": [(b"grpc-status", b"-1")],
    "a status of other digits": [(b"grpc-status", "²".encode("latin-1"))],
    "binary metadata that is none": [(b"grpc-status", b"0"), (b"x-bin", b"???")],
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed(name: str) -> None:
    """A malformed list is INTERNAL, with a message that says why."""
    head = head_of(MALFORMED[name])
    assert head.malformed
    assert head.grpc_status == INTERNAL
    assert head.grpc_message
    assert not head.is_ready


@given(st.integers(0, 10**10 - 1))
def test_statuses(status: int) -> None:
    """A status of any number is kept, also one that gRPC does not know."""
    assert head_of([(b"grpc-status", b"%d" % status)]).grpc_status == status


@pytest.mark.parametrize("fields", [HEADERS, [(b"grpc-status", b"0")]])
def test_a_large_list(fields: Fields) -> None:
    """A list above the soft bound is RESOURCE_EXHAUSTED, whatever it says, and nothing of it is kept."""
    size = sum(len(name) + len(value) + 32 for name, value in fields)
    heads = ResponseHeads(Limits(header_list_bytes=size + 34))
    fitting = heads.extend(ResponseHead(), [*fields, (b"x", b"1")])
    assert fitting.fields == [(b"x", b"1")]
    large = heads.extend(ResponseHead(), [*fields, (b"x", b"12")])
    assert (large.grpc_status, large.fields, large.is_ready) == (8, [], False)
    assert b"soft limit" in large.grpc_message
    assert heads.extend(large, [(b"grpc-status", b"0")]).grpc_status == 8


def test_heads_are_not_shared() -> None:
    """What extends a head leaves it as it was, since many calls share it."""
    first = head_of(HEADERS)
    extend(first, [(b"x", b"1"), (b"content-type", b"text/html")])
    assert first.is_ready
    assert first.fields == []
