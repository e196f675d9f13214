"""Responses come out of bytes as they went in, in whatever pieces they come, and nothing else does."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hasten.http.client._head import HEAD_BYTES, Heads, Malformed
from hasten.http.client._parser import ResponseParser, TooLong
from tests.http.client.services import response

MOST = 10_000
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def parsed(pieces: list[bytes], *, no_body: bool = False, most: int = MOST) -> tuple[ResponseParser, bytes, bool]:
    """Return the parser, the body, and whether the response was complete, after some pieces."""
    parser = ResponseParser(Heads())
    parser.begin(no_body=no_body, most_bytes=most)
    complete = False
    for piece in pieces:
        if not complete:
            complete = parser.feed(piece)
    return parser, parser.take(), complete


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Return data in pieces."""
    at = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[one:other] for one, other in pairwise(at)]


def chunked(body: bytes, sizes: list[int], trailer: bytes = b"") -> bytes:
    """Return a body in chunks of some sizes, the rest in one."""
    parts, at = [], 0
    for size in sizes:
        part = body[at : at + size]
        at += size
        if part:
            parts.append(b"%x;ext=1\r\n%b\r\n" % (len(part), part))
    rest = body[at:]
    if rest:
        parts.append(b"%X\r\n%b\r\n" % (len(rest), rest))
    return b"".join(parts) + b"0\r\n" + trailer + b"\r\n"


@given(st.binary(max_size=500), st.lists(st.integers(0, 700)))
def test_length(body: bytes, places: list[int]) -> None:
    """A body with a length comes out whole, however it is cut, also a second time on the same connection."""
    parser, found, complete = parsed(cut(response(body), places))
    assert (found, complete, parser.keep_alive) == (body, True, True)
    parser.begin(no_body=False, most_bytes=MOST)
    assert parser.feed(response(body))
    assert parser.take() == body


@given(st.binary(max_size=500), st.lists(st.integers(1, 60), max_size=8), st.lists(st.integers(0, 900)))
@example(b"", [], [])
def test_chunks(body: bytes, sizes: list[int], places: list[int]) -> None:
    """So does a chunked one; extensions and trailers are skipped."""
    data = CHUNKED + chunked(body, sizes, b"X-Checksum: 1\r\nY: 2\r\n")
    parser, found, complete = parsed(cut(data, places))
    assert (found, complete, parser.keep_alive) == (body, True, True)


@given(st.binary(max_size=300), st.lists(st.integers(0, 400)))
def test_until_close(body: bytes, places: list[int]) -> None:
    """Without a length all that comes until the end is the body, and the connection is over."""
    parser, found, complete = parsed(cut(b"HTTP/1.1 200 OK\r\n\r\n" + body, places))
    assert (found, complete, parser.keep_alive) == (body, False, False)
    assert parser.finish()


@pytest.mark.parametrize("data", [response(b"abc")[:-1], CHUNKED, CHUNKED + b"3\r\nabc\r\n", b"HTTP/1.1 2"])
def test_cut_off(data: bytes) -> None:
    """A response that ends before its end is not complete."""
    parser, _, complete = parsed([data])
    assert not complete
    assert parser.touched
    assert not parser.finish()
    assert not parser.keep_alive


def test_interim() -> None:
    """Interim responses are passed over."""
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 3
    parser, body, complete = parsed([hints + response(b"abc", status=201)])
    assert parser.head is not None
    assert (parser.head.status, body, complete, parser.keep_alive) == (201, b"abc", True, True)


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 204 None\r\n\r\n", b"HTTP/1.1 304 Same\r\nContent-Length: 5\r\n\r\n"],
)
def test_statuses_without_a_body(head: bytes) -> None:
    """204 and 304 have no body, whatever they say."""
    parser, body, complete = parsed([head])
    assert (body, complete, parser.keep_alive) == (b"", True, True)


@pytest.mark.parametrize("framing", [b"Content-Length: 500\r\n", b"Transfer-Encoding: chunked\r\n", b""])
def test_answer_to_head(framing: bytes) -> None:
    """An answer to HEAD has no body, whatever it says; the connection stays."""
    parser, body, complete = parsed([b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n"], no_body=True)
    assert (body, complete, parser.keep_alive) == (b"", True, True)


@pytest.mark.parametrize("data", [response(b"abc") + b"x", CHUNKED + b"0\r\n\r\n" + response(b"two")])
def test_bytes_behind(data: bytes) -> None:
    """Bytes behind a response end the use of the connection."""
    parser, _, complete = parsed([data])
    assert complete
    assert not parser.keep_alive


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\r\n\r\n",
        b"H\0",
        CHUNKED + b"-1\r\n",
        CHUNKED + b"0x5\r\n",
        CHUNKED + b"g\r\n",
        CHUNKED + b"\r\n",
        CHUNKED + b"3\r\nabcd\r\n",
        CHUNKED + b"f" * 16 + b"\r\n",
        CHUNKED + b"3;" + b"x" * 2000,
        CHUNKED + b"0\r\n" + b"X: a\r\n" * (HEAD_BYTES // 6 + 2),
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * (HEAD_BYTES + 10),
    ],
)
def test_malformed(data: bytes) -> None:
    """What is no response is refused as soon as that is known."""
    with pytest.raises(Malformed):
        parsed([data])
    with pytest.raises(Malformed):
        parsed([bytes([byte]) for byte in data])


@pytest.mark.parametrize(
    "data",
    [response(b"x" * 11), CHUNKED + chunked(b"x" * 11, [4, 4]), b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 11],
)
def test_too_long(data: bytes) -> None:
    """A body that is longer than allowed is refused, by its length before it has come."""
    with pytest.raises(TooLong):
        parsed([data], most=10)
    assert parsed([data], most=11)[1] == b"x" * 11
    with pytest.raises(TooLong):
        parsed([b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n"], most=10)


@given(st.binary(max_size=400), st.lists(st.integers(0, 500)))
def test_any_bytes(data: bytes, places: list[int]) -> None:
    """Whatever bytes come, they are a response, a part of one, or refused: the same in whatever pieces they come."""
    outcomes = []
    for start in (b"", b"HTTP/1.1 200 OK\r\n", CHUNKED):
        for pieces in ([start + data], cut(start + data, places)):
            try:
                parser, body, complete = parsed([piece for piece in pieces if piece])
            except (Malformed, TooLong) as error:
                outcomes.append(type(error))
            else:
                outcomes.append((body, complete, parser.head is not None))  # type: ignore[arg-type]
        assert outcomes[-1] == outcomes[-2]
