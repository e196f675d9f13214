"""A response as it is kept, and the messages that answer with it."""

import re
from hashlib import blake2b
from typing import Any

import msgspec

from hasten.http._asgi import Message
from hasten.http._conditions import strong_tag
from hasten.http._fields import values
from hasten.http._freshness import Head, Life, for_authorized, for_cookies, kept_fields, private_fields
from hasten.http._rules import Rule

Pair = tuple[bytes, bytes]
Key = tuple[Any, ...]
"""Scheme, host, root path, path, raw path and query; then, if there are any, the request fields that count with their
values."""
_RAW_PATH, _URL = 4, slice(6)

# RFC 9110 section 15.4.5, with what a 304 has from us.
_OF_NOT_MODIFIED = frozenset(b"cache-control content-location date etag expires vary".split())
_UNREADABLE = re.compile(r"[^A-Za-z0-9_.@+=/-]")
WITHOUT_BODY = frozenset((204, 304))
_TAGGED = frozenset((200, 203))


class _Beside:
    """A place beside the fields of a struct: what is there is in no payload and no copy, and goes with the struct."""

    __slots__ = ("lines",)
    lines: bytes | None


class StoredResponse(_Beside, msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A response for everybody whose request has the same key.

    Attributes:
      lines: Its fields as they go over the wire, not set before they were wanted; see `hasten.http._heads`.
      status, headers, body: As they are sent, but for Age and X-Cache.
      born: When its age was 0, by `time.time()`.
      lifetime: It is fresh until its age is that much, in seconds.
      for_authorized, for_cookies: It is for requests with Authorization, with a Cookie, too.
    """

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    born: float
    lifetime: float
    for_authorized: bool
    for_cookies: bool

    def field(self, name: bytes) -> bytes | None:
        """Return a field's value; None without it."""
        return next((value for key, value in self.headers if key == name), None)


def stored_response(head: Head, body: bytes, life: Life, born: float, rule: Rule, key: Key) -> StoredResponse:
    """Return what is kept of a whole response: without the fields of one hop, and those that are not for everybody.

    One without an ETag gets a strong one, if its status is 200 or 203; one without Content-Length gets that.
    """
    names = {name for name, _ in head.headers}
    headers = kept_fields(head, private_fields(head.directives))
    if b"content-length" not in names and head.status not in WITHOUT_BODY:
        headers.append((b"content-length", b"%d" % len(body)))
    if b"etag" not in names and head.status in _TAGGED:
        headers.append((b"etag", strong_tag(_identity(head, key), body)))
    return StoredResponse(
        head.status, tuple(headers), body, born, life.lifetime, for_authorized(head), for_cookies(head, life, rule)
    )


class ResponseTexts:
    """Makes keys of the second tier: the path to read them by, and a digest of everything; 2 µs each.

    What request fields hold, a Cookie as like as not, is in the digest alone.
    """

    def __init__(self, namespace: str, region: str) -> None:
        self._prefix = f"{_readable(namespace, 32)}:{_readable(region, 64)}"
        self._begun = blake2b(ascii((namespace, region)).encode(), digest_size=20)

    def __call__(self, key: Any) -> str:
        """Return the text of a key: at most 200 printable ASCII characters."""
        digest = self._begun.copy()
        digest.update(ascii(key).encode())
        return f"{self._prefix}:{_readable(key[_RAW_PATH].decode('latin-1'), 40)}:{digest.hexdigest()}"


def _readable(text: str, most: int) -> str:
    return _UNREADABLE.sub("_", text[:most])


def whole_answer(stored: StoredResponse, extra: tuple[Pair, ...], *, head_only: bool) -> tuple[Message, Message]:
    """Return the messages of a whole response.

    They are new each time, with a list of their own: layers outside of the cache change both in place.
    """
    start = {"type": "http.response.start", "status": stored.status, "headers": [*stored.headers, *extra]}
    return start, {"type": "http.response.body", "body": b"" if head_only else stored.body}


def not_modified(stored: StoredResponse, extra: tuple[Pair, ...]) -> tuple[Message, Message]:
    """Return the messages that say that the client has the response already."""
    headers = [pair for pair in stored.headers if pair[0] in _OF_NOT_MODIFIED]
    start = {"type": "http.response.start", "status": 304, "headers": [*headers, *extra]}
    return start, {"type": "http.response.body", "body": b""}


def age_field(age: float) -> Pair:
    """Return the Age field for an age in seconds (RFC 9111 section 5.1)."""
    return b"age", b"%d" % age if age > 0.0 else b"0"


def _identity(head: Head, key: Key) -> bytes:
    """Return what makes a representation another one though it has the same body: the URL, its coding and type."""
    about = [values(head.headers, name) for name in (b"content-encoding", b"content-type", b"content-language")]
    return ascii((key[_URL], about)).encode()
