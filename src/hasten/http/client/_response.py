"""An answer that has come whole."""

import re
from typing import Any, Self, TypeVar

import msgspec

from hasten.http.client._decoding import Decoders
from hasten.http.client._errors import DecodeFailed, HttpStatusError
from hasten.http.client._fields import Fields

T = TypeVar("T")
_CHARSET = re.compile(r"charset=\"?([\w.:-]{1,40})", re.ASCII | re.IGNORECASE)


class Response:
    """What a service has answered.

    Attributes:
      status: Three digits.
      content: The body as it came: nothing is decompressed, and nothing compressed is asked for.
      host, method, target: What it answers.
      from_cache: It comes from the client's cache: no call was made, or one that said that it holds still.
    """

    __slots__ = ("_decoders", "_fields", "_lines", "content", "from_cache", "host", "method", "status", "target")

    def __init__(
        self,
        status: int,
        lines: bytes,
        content: bytes,
        *,
        host: str = "",
        method: str = "GET",
        target: str = "/",
        decoders: Decoders | None = None,
        from_cache: bool = False,
    ) -> None:
        """Make one of its parts; `lines` are the fields, each behind a line end."""
        self.status = status
        self.content = content
        self.host, self.method, self.target = host, method, target
        self.from_cache = from_cache
        self._lines = lines
        self._fields: Fields | None = None
        self._decoders = decoders

    @property
    def ok(self) -> bool:
        """Whether the status is one of success."""
        return 200 <= self.status < 300

    @property
    def fields(self) -> Fields:
        """The header fields, parted when they are first asked for."""
        if self._fields is None:
            self._fields = Fields(self._lines)
        return self._fields

    def text(self) -> str:
        """Return the body as text, in the charset that Content-Type names, else UTF-8; what is no text is replaced."""
        found = _CHARSET.search(self.fields.get("content-type", ""))
        try:
            return self.content.decode(found[1] if found else "utf-8", "replace")
        except LookupError:
            return self.content.decode("utf-8", "replace")

    def json(self) -> Any:
        """Return the body as JSON's own types.

        Raises:
          DecodeFailed: it is no JSON.
        """
        return self._decoded(Any)

    def decode(self, kind: type[T]) -> T:
        """Return the body as a `kind`: a msgspec Struct, a pydantic model, or what else msgspec takes.

        Raises:
          DecodeFailed: it is none.
        """
        value: T = self._decoded(kind)
        return value

    def _decoded(self, kind: Any) -> Any:
        if self._decoders is None:
            self._decoders = Decoders()
        try:
            return self._decoders.decode(self.content, kind)
        except ValueError as error:
            name = getattr(kind, "__name__", str(kind))
            reason = " ".join(str(error).split())
            raise DecodeFailed(self.host, f"{self.method} {self.target}: the body is no {name}: {reason}") from error

    def problem(self) -> dict[str, Any]:
        """Return the members of an `application/problem+json` body; empty for any other (RFC 9457)."""
        if self.fields.get("content-type", "").partition(";")[0].strip().lower() != "application/problem+json":
            return {}
        try:
            return msgspec.json.decode(self.content, type=dict[str, Any])
        except ValueError:
            return {}

    def raise_for_status(self) -> Self:
        """Return the response itself, if its status is one of success.

        Raises:
          HttpStatusError: it is another, redirections among them: they are not followed.
        """
        if not self.ok:
            raise HttpStatusError(self)
        return self

    def __repr__(self) -> str:
        return f"<Response {self.status} of {self.method} {self.target}, {len(self.content)} bytes>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without the decoders."""
        return _response, (self.status, self._lines, self.content, self.host, self.method, self.target, self.from_cache)


def _response(
    status: int, lines: bytes, content: bytes, host: str, method: str, target: str, from_cache: Any
) -> Response:
    return Response(status, lines, content, host=host, method=method, target=target, from_cache=from_cache)
