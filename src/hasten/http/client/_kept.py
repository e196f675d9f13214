"""Responses as the client's cache keeps them, and requests as it sees them, without I/O.

Source: RFC 9111 sections 3 (storing), 4.1 (Vary), 4.2 (freshness), 4.3 (validation); RFC 5861.
"""

from collections.abc import Iterable

from hasten.http._cache_control import asked_directives, is_accepted
from hasten.http._conditions import opaque_tag, tag_matches
from hasten.http._fields import combined, compared, http_date, values
from hasten.http._freshness import (
    Head,
    Life,
    birth,
    for_credentials,
    kept_fields,
    may_keep_privately,
    needs_validation,
    private_fields,
    private_life,
)
from hasten.http._request import BEYOND_US, CONDITIONS

Pair = tuple[bytes, bytes]

_CREDENTIALS = frozenset((b"authorization", b"cookie"))
_PASSING = BEYOND_US | CONDITIONS
_EACH_CALLS_OWN = frozenset((b"traceparent", b"tracestate", b"x-request-timeout-ms"))
"""Fields that the client gives each request: what depends on one of them is for that request alone."""
_OWN_BYTES = 500
"""Of a kept response beside its fields, body and URL."""
# What is about the body that is kept, not about the one that the 304 stands for (RFC 9111 section 3.2); a tag that
# differs in its mark of weakness alone says nothing new.
_NOT_RENEWED = frozenset((b"content-encoding", b"content-length", b"content-range", b"etag"))


class Asked:
    """What a request asks of the cache.

    Attributes:
      directives: Of its Cache-Control.
      credentials: It has Authorization or a Cookie.
      passes: It is the service's alone: it has conditions of the caller's own, wants a part, or nothing to be kept.
    """

    __slots__ = ("_headers", "credentials", "directives", "passes")

    def __init__(self, headers: Iterable[Pair]) -> None:
        """Look at all fields of a request, in whichever case."""
        self._headers = [(name.lower(), value) for name, value in headers]
        names = {name for name, _ in self._headers}
        self.directives = asked_directives(self._headers)
        self.credentials = not names.isdisjoint(_CREDENTIALS)
        self.passes = "no-store" in self.directives or not names.isdisjoint(_PASSING)

    def value(self, name: bytes) -> bytes | None:
        """Return a field's value as Vary compares it; None without it."""
        return compared(name, combined(self._headers, name))


class Kept:
    """A response that is kept.

    Attributes:
      status, lines, content, host: As in `Response`; `lines` without those of one hop, and Age.
      born: When its age was 0, by the cache's clock.
      lifetime: It is fresh until its age is that much, in seconds.
      stale, stale_if_error: Served for so long after, while it is renewed; if the call fails.
      condition: Request fields that ask whether it still holds; empty if it has no validator.
      renew_at: No renewal in the background begins before it, by the cache's clock.
      size_bytes: That it takes, nearly.
    """

    __slots__ = (
        "_etag", "_for_credentials", "_modified", "_strict", "_vary", "born", "condition", "content", "host",
        "lifetime", "lines", "renew_at", "size_bytes", "stale", "stale_if_error", "status",
    )  # fmt: skip

    def __init__(self, head: Head, life: Life, content: bytes, host: str, asked: Asked, *, born: float) -> None:
        self.status, self.content, self.host = head.status, content, host
        self.lines = as_lines(kept_fields(head, private_fields(head.directives)))
        self.born = born
        self.lifetime, self.stale, self.stale_if_error = life.lifetime, life.stale, life.stale_if_error
        self._strict = needs_validation(head)
        self._vary = tuple([(name, asked.value(name)) for name in sorted(head.vary)])
        self._for_credentials = for_credentials(head)
        self._etag, self._modified = _only(head, b"etag"), _only(head, b"last-modified")
        self.condition = _condition(self._etag, self._modified)
        self.renew_at = 0.0
        self.size_bytes = len(content) + len(self.lines) + _OWN_BYTES

    def is_for(self, asked: Asked) -> bool:
        """Whether it answers requests with such fields, if it is good enough (section 4.1).

        What was said without knowing whom it is for is not told to who says it: the service may have more for them.
        """
        if asked.credentials and not self._for_credentials:
            return False
        return not self._vary or all(asked.value(name) == value for name, value in self._vary)

    def serves(self, asked: Asked, age: float) -> bool:
        """Whether it answers a request without asking the service."""
        if age >= self.lifetime + self.stale and (self._strict or "max-stale" not in asked.directives):
            return False
        return is_accepted(asked.directives, age, self.lifetime)

    def serves_failure(self, age: float) -> bool:
        """Whether it answers a request for which the service has failed (RFC 5861 section 4)."""
        return self.stale_if_error > 0.0 and age < self.lifetime + self.stale_if_error

    def holds(self, answer: Head) -> bool:
        """Whether a 304 is about this response (section 4.3.4)."""
        etag = _only(answer, b"etag")
        return etag is None or tag_matches([etag], self._etag)

    def is_described_by(self, answer: Head) -> bool:
        """Whether an answer to HEAD is about this response (section 4.3.5)."""
        length = _only(answer, b"content-length")
        return (
            answer.status == self.status
            and _only(answer, b"etag") == self._etag
            and _only(answer, b"last-modified") == self._modified
            and (length is None or length == b"%d" % len(self.content))
        )

    def renewed(self, answer: Head) -> Head:
        """Return its status and fields with those of the answer that says that it holds (section 3.2)."""
        kept = Head(self.status, as_pairs(self.lines))
        new = [pair for pair in answer.headers if pair[0] not in _NOT_RENEWED]
        replaced = {b"date", *(name for name, _ in new)}  # an older Date would make Expires a time from now
        return Head(self.status, [pair for pair in kept.headers if pair[0] not in replaced] + new)


def kept_response(head: Head, content: bytes, host: str, asked: Asked, *, born: float, now: float) -> Kept | None:
    """Return what is kept of a response to GET; None if it may not be, or would be of no use.

    Args:
      born, now: When its age was 0, and the time, by the cache's clock.
    """
    if head.vary & _EACH_CALLS_OWN:
        return None
    life = private_life(head, now)
    served_for = life.lifetime + max(life.stale, life.stale_if_error)
    if now - born >= served_for and not _condition(_only(head, b"etag"), _only(head, b"last-modified")):
        return None
    if not may_keep_privately(head, life, credentials=asked.credentials):
        return None
    return Kept(head, life, content, host, asked, born=born)


def born_of(answer: Head, began: float, now: float) -> float:
    """Return when the age of an answer was 0, never later than now."""
    return min(birth(answer, began, now), now)


def as_pairs(lines: bytes) -> list[Pair]:
    """Return lines, each behind a line end, as pairs."""
    parted = [line.partition(b":") for line in lines.split(b"\r\n") if line]
    return [(name, value.strip(b" \t")) for name, _, value in parted]


def as_lines(headers: Iterable[Pair]) -> bytes:
    """Return fields as lines, each behind a line end."""
    return b"".join([b"\r\n%b: %b" % pair for pair in headers])


def _only(head: Head, name: bytes) -> bytes | None:
    """Return a field's value, if there is one line of it."""
    lines = values(head.headers, name)
    return lines[0] if len(lines) == 1 else None


def _condition(etag: bytes | None, modified: bytes | None) -> bytes:
    """Return the lines of a conditional request (section 4.3.1), of validators that are what they should be."""
    lines = b""
    if etag is not None and opaque_tag(etag) is not None:
        lines = b"if-none-match: %b\r\n" % etag
    if modified is not None and http_date(modified) is not None:
        lines += b"if-modified-since: %b\r\n" % modified
    return lines
