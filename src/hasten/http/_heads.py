"""Heads of kept responses as they go over the wire, made of lines that stay the same for a while."""

import msgspec
from uvicorn.protocols.http.httptools_impl import HEADER_RE, HEADER_VALUE_RE, STATUS_LINE

from hasten.http._fields import Headers, values
from hasten.http._stored import WITHOUT_BODY, Pair, StoredResponse

_FRAMING = frozenset((b"connection", b"transfer-encoding"))
"""Fields that change what uvicorn writes beside them; Content-Length is looked at apart."""


class Heads:
    """Makes the heads of a cache's hits, 0.5 µs each.

    Args:
      hit, stale: The field that says where the response came from.
    """

    def __init__(self, hit: Pair, stale: Pair) -> None:
        self._fit = _lines([hit, stale]) is not None
        self._hit, self._stale = _form(hit), _form(stale)
        self._server: list[Pair] = []
        self._server_lines: bytes | None = None

    def __call__(self, stored: StoredResponse, age: float, *, fresh: bool, server: list[Pair]) -> bytes | None:
        """Return a head; None if it is not fit to be sent without another look.

        Args:
          server: The server's own fields. uvicorn makes a new list each second, one for all connections.
        """
        try:
            lines = stored.lines
        except AttributeError:
            lines = _keep_lines(stored)
        if server is not self._server:
            self._look_at(server)
        if lines is None or self._server_lines is None:
            return None
        form = self._hit if fresh else self._stale
        return form % (STATUS_LINE[stored.status], self._server_lines, lines, age if age > 0.0 else 0)

    def _look_at(self, server: list[Pair]) -> None:
        fit = self._fit and not values(server, b"content-length")
        self._server, self._server_lines = server, _lines(server) if fit else None


def _keep_lines(stored: StoredResponse) -> bytes | None:
    """Make the lines of a response's fields, and keep them with it."""
    lines = _lines(stored.headers) if _is_framed(stored) else None
    msgspec.structs.force_setattr(stored, "lines", lines)
    return lines


def _is_framed(stored: StoredResponse) -> bool:
    """Tell whether a response's fields say how long its body is."""
    if stored.status not in STATUS_LINE:
        return False
    lengths = values(stored.headers, b"content-length")
    if not lengths and stored.status in WITHOUT_BODY:
        return not stored.body
    return lengths == [b"%d" % len(stored.body)]


def _lines(headers: Headers) -> bytes | None:
    """Return fields as lines; None if uvicorn would refuse one of them, or do more than write it."""
    lines: list[bytes] = []
    for name, value in headers:
        if name in _FRAMING or HEADER_RE.search(name) or HEADER_VALUE_RE.search(value):
            return None
        lines += (name.lower(), b": ", value, b"\r\n")
    return b"".join(lines)


def _form(state: Pair) -> bytes:
    """Return a head with places for the status line, the server's fields, the kept ones, and the age."""
    name, word = state
    return b"%%b%%b%%bage: %%d\r\n%b: %b\r\n\r\n" % (name.replace(b"%", b"%%"), word)
