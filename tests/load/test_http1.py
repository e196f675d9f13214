"""The response parser: every framing of RFC 9112, any chunking, and garbage."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten.load._http1 import (
    CHUNK_LINE_BYTES,
    HEAD_BYTES,
    HeadCache,
    ProtocolError,
    ResponseParser,
    parse_head,
)

_LENGTH = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\ncontent-length: 5\r\n\r\nhello"
_CHUNKED = (
    b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;note=1\r\nhello\r\n00A \r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"
)
_INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
_RESPONSES = {
    "length": _LENGTH,
    "chunked": _CHUNKED,
    "interim": _INTERIM + _LENGTH,
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "not modified": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n",
    "empty": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "no reason": b"HTTP/1.1 500 \r\nContent-Length: 1\r\n\r\nx",
    "bare status": b"HTTP/1.1 500\r\nContent-Length: 1\r\n\r\nx",
    "closing": b"HTTP/1.1 200 OK\r\nConnection: foo, Close\r\nContent-Length: 1\r\n\r\nx",
    "excess": _LENGTH + b"more",
    "same length twice": b"HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\ncontent-length: 1\r\n\r\nx",
    "both framings": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
}
_GARBAGE = {
    "other protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
    "HTTP/2": b"HTTP/2 200\r\n\r\n",
    "status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "status 600": b"HTTP/1.1 600 OK\r\n\r\n",
    "no colon": b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
    "blank before colon": b"HTTP/1.1 200 OK\r\nname : x\r\n\r\n",
    "folded line": b"HTTP/1.1 200 OK\r\na: x\r\n y\r\n\r\n",
    "bare line feed": b"HTTP/1.1 200 OK\nContent-Length: 1\r\n\r\nx",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "no chunk size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "signed chunk size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n",
    "chunk too long": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nhello\r\n",
    "switched": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "endless head": b"HTTP/1.1 200 OK\r\nx: " + b"x" * HEAD_BYTES,
    "long head": b"HTTP/1.1 200 OK\r\nx: " + b"x" * HEAD_BYTES + b"\r\n\r\n",
    "endless chunk line": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"x" * CHUNK_LINE_BYTES,
    "endless trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * HEAD_BYTES,
}

Outcome = tuple[str, int, bool]


def outcome(pieces: list[bytes], *, no_body: bool = False, heads: HeadCache | None = None) -> Outcome:
    """Feed `pieces`; return how it ended, the status and whether the connection may be used again."""
    parser = ResponseParser(heads if heads is not None else HeadCache())
    parser.begin(no_body=no_body)
    complete = False
    try:
        for piece in pieces:
            complete = parser.feed(piece) or complete
    except ProtocolError:
        return "error", 0, False
    return ("complete", parser.status, parser.keep_alive) if complete else ("incomplete", 0, False)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Cut `data` at `places`."""
    edges = [0, *sorted(min(place, len(data)) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("length", ("complete", 200, True)),
        ("chunked", ("complete", 201, True)),
        ("interim", ("complete", 200, True)),
        ("no content", ("complete", 204, True)),
        ("not modified", ("complete", 304, True)),
        ("empty", ("complete", 200, True)),
        ("no reason", ("complete", 500, True)),
        ("bare status", ("complete", 500, True)),
        ("closing", ("complete", 200, False)),
        ("excess", ("complete", 200, False)),
        ("same length twice", ("complete", 200, True)),
        ("both framings", ("complete", 200, False)),
    ],
)
def test_framing(name: str, expected: Outcome) -> None:
    """Each framing of a response is understood, and whether the connection stays open after it."""
    assert outcome([_RESPONSES[name]]) == expected


@pytest.mark.parametrize("name", _GARBAGE)
def test_garbage(name: str) -> None:
    """What is no HTTP/1.1 response is a protocol error, even if it never ends."""
    assert outcome([_GARBAGE[name]])[0] == "error"


@given(
    data=st.sampled_from([*_RESPONSES.values(), *(value for value in _GARBAGE.values() if len(value) < 500)]),
    places=st.lists(st.integers(0, 200), max_size=40),
)
def test_any_chunking_gives_the_same_result(data: bytes, places: list[int]) -> None:
    """However the network cuts the bytes, the result is the same."""
    assert outcome(cut(data, places)) == outcome([data])


@given(data=st.sampled_from(list(_RESPONSES.values())))
def test_one_byte_at_a_time(data: bytes) -> None:
    """A server that sends single bytes is understood."""
    assert outcome([data[index : index + 1] for index in range(len(data))]) == outcome([data])


@given(
    data=st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=100).map(lambda tail: b"HTTP/1.1 200 OK\r\n" + tail),
        st.binary(max_size=100).map(lambda tail: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + tail),
        st.binary(max_size=50).map(lambda tail: b"HTTP/1.1 200 OK\r\nContent-Length: " + tail + b"\r\n\r\n"),
    ),
    places=st.lists(st.integers(0, 200), max_size=10),
)
def test_arbitrary_bytes_raise_nothing_but_protocol_errors(data: bytes, places: list[int]) -> None:
    """Any bytes end in a response, in waiting for more, or in a protocol error, whatever their chunking."""
    assert outcome(cut(data, places)) == outcome([data])


def test_large_bounds_hold_for_any_chunking() -> None:
    """A header block of exactly the largest size passes and one byte more fails, in one piece or in two."""
    start = b"HTTP/1.1 204 No Content\r\nx: "
    largest = start + b"x" * (HEAD_BYTES - len(start)) + b"\r\n\r\n"
    for places in ([], [HEAD_BYTES], [HEAD_BYTES + 3]):
        assert outcome(cut(largest, places))[0] == "complete"
        assert outcome(cut(largest.replace(b": ", b": x", 1), places))[0] == "error"


def test_head_has_no_body() -> None:
    """The response to HEAD ends with its header block, whatever length it names, and keeps the connection."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    assert outcome([head], no_body=True) == ("complete", 200, True)
    assert outcome([b"HTTP/1.1 200 OK\r\n\r\n"], no_body=True) == ("complete", 200, True)
    assert outcome([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"], no_body=True)[0] == "complete"


def test_body_until_close() -> None:
    """A body without a length ends with the connection, and only then."""
    parser = ResponseParser(HeadCache())
    parser.begin(no_body=False)
    assert not parser.feed(b"HTTP/1.1 200 OK\r\n\r\nhello")
    assert not parser.feed(b" world")
    assert parser.finish()
    assert (parser.status, parser.keep_alive) == (200, False)


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200", _LENGTH[:-1], _CHUNKED[:-1]])
def test_close_within_a_response_completes_nothing(data: bytes) -> None:
    """A connection that ends before the response does is no end of the response."""
    parser = ResponseParser(HeadCache())
    parser.begin(no_body=False)
    parser.feed(data)
    assert not parser.finish()
    assert parser.touched == bool(data)


@given(names=st.lists(st.sampled_from([name for name in _RESPONSES if name not in ("excess",)]), max_size=8))
def test_responses_in_a_row(names: list[str]) -> None:
    """Known header blocks give what they gave the first time, in any order on one connection."""
    heads = HeadCache()
    parser = ResponseParser(heads)
    for name in names:
        parser.begin(no_body=False)
        assert parser.feed(_RESPONSES[name])
        assert ("complete", parser.status, parser.keep_alive) == outcome([_RESPONSES[name]])


def test_http_1_0_closes_unless_it_says_keep_alive() -> None:
    """HTTP/1.0 connections end with the response unless the server says keep-alive."""
    assert not parse_head(b"HTTP/1.0 200 OK\r\nContent-Length: 1").keep_alive
    assert parse_head(b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1").keep_alive


def test_head_cache_is_bounded() -> None:
    """A server that never repeats a header block does not fill the memory."""
    heads = HeadCache()
    for number in range(1000):
        heads.parse(b"HTTP/1.1 200 OK\r\nx-request-id: %d" % number)
    assert len(heads._heads) <= 256
