"""Heads of responses are read as RFC 9112 says, and what is none is refused."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten.http.client._fields import Fields
from hasten.http.client._head import CHUNKED, INTERIM, MOST_FIELDS, UNTIL_CLOSE, Heads, Malformed, parse_head


def head(*fields: str, status: str = "HTTP/1.1 200 OK") -> bytes:
    return "\r\n".join([status, *fields]).encode("latin-1")


@pytest.mark.parametrize(
    ("block", "length", "keep_alive"),
    [
        (head("Content-Length: 5"), 5, True),
        (head("content-length:5"), 5, True),
        (head("Content-Length: 5", "Content-Length: 5"), 5, True),
        (head("Content-Length: 5, 5"), 5, True),
        (head("Transfer-Encoding: Chunked"), CHUNKED, True),
        (head("Transfer-Encoding: chunked", "Content-Length: 5"), CHUNKED, False),
        (head(), UNTIL_CLOSE, True),
        (head("Content-Length: 5", status="HTTP/1.1 204 No Content"), 0, True),
        (head("Content-Length: 5", status="HTTP/1.1 304 Not Modified"), 0, True),
        (head(status="HTTP/1.1 100 Continue"), INTERIM, True),
        (head(status="HTTP/1.1 103"), INTERIM, True),
        (head("Content-Length: 5", "Connection: close"), 5, False),
        (head("Content-Length: 5", "Connection: upgrade, Close"), 5, False),
        (head("Content-Length: 5", "X-Connection: close"), 5, True),
        (head("Content-Length: 5", status="HTTP/1.0 200 OK"), 5, False),
        (head("Content-Length: 5", "Connection: keep-alive", status="HTTP/1.0 200 OK"), 5, True),
        (head("Transfer-Encoding: chunked", "Connection: keep-alive", status="HTTP/1.0 200 OK"), CHUNKED, False),
    ],
)
def test_framing(block: bytes, length: int, *, keep_alive: bool) -> None:
    """A head says how long its body is, and whether the connection may be used again."""
    found = parse_head(block)
    assert (found.length, found.keep_alive) == (length, keep_alive)


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"HTTP/2 200 OK",
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 2000 OK",
        b"HTTP/1.1 600 OK",
        b"http/1.1 200 OK",
        b"HTTP/1.1  200 OK",
        head("Content-Length: -1"),
        head("Content-Length: +5"),
        head("Content-Length: 5", "Content-Length: 6"),
        head("Content-Length: 5, 6"),
        head("Content-Length: 0x5"),
        head("Content-Length: "),
        head("Content-Length: 9999999999999999999"),
        head("Content-Length : 5"),
        head(" Content-Length: 5"),
        head("X: a", " folded"),
        head("X: a\rb"),
        head("X: a\nContent-Length: 5"),
        head("X: a\0"),
        head(": a"),
        head("no colon"),
        head("Transfer-Encoding: gzip, chunked"),
        head("Transfer-Encoding: gzip"),
        head("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        head(status="HTTP/1.1 101 Switching Protocols"),
        head(*(["X: a"] * (MOST_FIELDS + 1))),
    ],
)
def test_malformed(block: bytes) -> None:
    """What one side could take for something else than the other is refused."""
    with pytest.raises(Malformed):
        parse_head(block)


@pytest.mark.parametrize(
    ("field", "seconds"),
    [
        ("Keep-Alive: timeout=5", 5.0),
        ("keep-alive: max=100, Timeout=30", 30.0),
        ('Keep-Alive: timeout="7", max=3', 7.0),
        ("Keep-Alive: max=3", math.inf),
        ("X-Keep-Alive: timeout=5", math.inf),
    ],
)
def test_idle(field: str, seconds: float) -> None:
    """The server's word of how long it keeps an idle connection is heard."""
    assert parse_head(head(field, "Server: timeout=1")).idle == seconds


@given(st.binary(max_size=300))
def test_any_bytes(block: bytes) -> None:
    """Whatever bytes come, they are a head or are refused."""
    heads = Heads()
    try:
        found = heads.parse(b"HTTP/1.1 200 OK\r\n" + block)
    except Malformed:
        return
    assert found.length >= INTERIM
    assert heads.parse(b"HTTP/1.1 200 OK\r\n" + block) is found
    assert len(Fields(found.lines).raw) <= MOST_FIELDS


def test_memory_is_bounded() -> None:
    """Heads that never come again are not kept for ever."""
    heads = Heads()
    for number in range(1000):
        heads.parse(head(f"X-Request: {number}"))
    assert len(heads._heads) <= 256


def test_fields() -> None:
    """Fields are found whatever their case, joined by commas or one by one, and raw."""
    fields = Fields(b"\r\nSet-Thing: a\r\nset-thing:\tb \r\nX: caf\xe9\r\nempty:")
    assert fields["SET-THING"] == "a, b"
    assert fields.all("Set-Thing") == ["a", "b"]
    assert fields["x"] == "caf\u00e9"
    assert fields["Empty"] == ""
    assert "X" in fields
    assert "y" not in fields
    assert fields.get("y") is None
    assert list(fields) == ["set-thing", "x", "empty"]
    assert fields.raw[1] == (b"set-thing", b"b")
    assert not Fields(b"")
