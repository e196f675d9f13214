"""Requests as bytes: what a call says, checked once, and put between the parts that its host and deadline add.

Nothing that a caller gives can end a line: a method, target, field name or value with CR, LF or NUL is refused, and so
are the fields that frame a message (RFC 9112 section 11.1, response splitting; 11.2, request smuggling).
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict
from urllib.parse import urlencode

import msgspec

from hasten._core.errors import ConfigurationError

FieldsGiven = Mapping[str, str] | Iterable[tuple[str, str]]
ParametersGiven = Mapping[str, Any] | Iterable[tuple[str, Any]]

IDEMPOTENT = frozenset(("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"))
"""Methods whose requests may be carried out twice (RFC 9110 section 9.2.2)."""
_WITH_BODY = frozenset(("POST", "PUT", "PATCH"))
WHOLE_BYTES = 65_536
"""A body up to this is written together with its head; a longer one is not copied for that."""

_METHOD = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Z]+")
_TARGET = re.compile(r"/[!$-;=?-Z_a-z~\[\]]*")
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_NO_VALUE = re.compile(r"[\0-\x08\x0a-\x1f\x7f]")
_FRAMING = frozenset(
    ("connection", "content-length", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade",
     "x-request-timeout-ms")
)  # fmt: skip


class CallOptions(TypedDict, total=False):
    """What a call may say beside its method and target.

    Attributes:
      params: Of the query: text, numbers, booleans (`true`, `false`), and lists of them, whose members repeat the name.
      fields: Header fields.
      json: The body: anything that msgspec can encode, or a pydantic model.
      content: The body as bytes; give a `content-type` with it.
      timeout: Seconds for all of the call, in place of the client's; an ambient deadline that is nearer holds.
      coalesce: Share the answer with calls that ask for just the same while this one is under way; for GET.
    """

    params: ParametersGiven
    fields: FieldsGiven
    json: Any
    content: bytes
    timeout: float
    coalesce: bool


class Request(msgspec.Struct, gc=False):
    """A request that is fit to be sent, to whichever host.

    Attributes:
      method, target: As the caller gave them, the query among it.
      start, rest: Before the host's path, and behind the field that says what time is left.
      body: Of the request.
      repeatable: It may be carried out twice.
      overrides: Names of its fields, in lower case: the client's own ones with these names are not sent.
      shared: What tells it from other requests of its target, where answers are shared; else empty.
      attempts, host: How often it was sent, and where to the last time.
      span, parent: The trace that it is within, as signals have it.
    """

    method: str
    target: str
    start: bytes
    rest: bytes
    body: bytes
    repeatable: bool
    overrides: frozenset[str] = frozenset()
    shared: bytes = b""
    attempts: int = 0
    host: str = ""
    span: str = ""
    parent: str = ""

    def message(self, path: bytes, own_fields: bytes, left: float) -> bytes:
        """Return the head as it is sent, with the body if that has at most `WHOLE_BYTES`; 0.5 µs.

        Args:
          path: Of the host, before the target.
          own_fields: Behind the target: the version, and the fields that all requests to the host have.
          left: Seconds until the caller waits no more.
        """
        timeout = b"x-request-timeout-ms: %d\r\n" % max(1, int(left * 1000.0)) if left < 1e9 else b""
        body = self.body if len(self.body) <= WHOLE_BYTES else b""
        return b"".join((self.start, path, self.target.encode("ascii"), own_fields, timeout, self.rest, body))


def make_request(method: str, target: str, options: CallOptions, trace: str, tracestate: str) -> Request:
    """Return a call's request; 1 µs for a GET.

    Args:
      trace, tracestate: Passed on; empty for none, and where the caller has a `traceparent` of its own.
    Raises:
      ConfigurationError: a part has a character that cannot be sent, or the caller gives what frames the message.
    """
    if _METHOD.fullmatch(method) is None or method == "CONNECT":
        raise ConfigurationError(f"method {method!r}", "none that can be sent", "for example GET")
    if "params" in options:
        target = _with_query(target, options["params"])
    if _TARGET.fullmatch(target) is None:
        raise ConfigurationError(
            f"target {target!r}", "must begin with a slash, and be quoted", "urllib.parse.quote does that"
        )
    lines: list[str] = []
    names: set[str] = set()
    if "fields" in options:
        lines, names = field_lines(options["fields"])
    body = _encoded(options, lines, names) if "json" in options else options.get("content", b"")
    if body or method in _WITH_BODY:
        lines.append(f"content-length: {len(body)}\r\n")
    if options.get("coalesce") and method != "GET":
        raise ConfigurationError(f"coalesce with {method}", "answers are shared for GET only")
    shared = "".join(lines).encode("latin-1") if options.get("coalesce") else b""
    if trace and "traceparent" not in names:
        lines.append(f"traceparent: {trace}\r\n")
        if tracestate:
            lines.append(f"tracestate: {tracestate}\r\n")
    lines.append("\r\n")
    repeatable = method in IDEMPOTENT or "idempotency-key" in names
    rest = "".join(lines).encode("latin-1")
    return Request(method, target, b"%b " % method.encode(), rest, body, repeatable, frozenset(names), shared)


def field_lines(fields: FieldsGiven) -> tuple[list[str], set[str]]:
    """Return fields as lines, and their names in lower case.

    Raises:
      ConfigurationError: one cannot be sent, or is not the caller's to set.
    """
    lines: list[str] = []
    names: set[str] = set()
    for name, value in fields.items() if isinstance(fields, Mapping) else fields:
        lowered = name.lower()
        if _NAME.fullmatch(name) is None or _NO_VALUE.search(value) or not _is_latin(value):
            raise ConfigurationError(f"field {name!r}", "its name or value has a character that cannot be sent")
        if lowered in _FRAMING:
            raise ConfigurationError(f"field {name!r}", "is the client's own")
        names.add(lowered)
        lines.append(f"{name}: {value.strip()}\r\n")
    return lines, names


def _is_latin(value: str) -> bool:
    return value.isascii() or max(value) < "\u0100"


def _with_query(target: str, params: ParametersGiven) -> str:
    pairs = [
        (name, _parameter(name, one))
        for name, value in (params.items() if isinstance(params, Mapping) else params)
        for one in (value if isinstance(value, list | tuple) else (value,))
    ]
    return f"{target}{'&' if '?' in target else '?'}{urlencode(pairs)}" if pairs else target


def _parameter(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int | float):
        raise ConfigurationError(f"parameter {name!r}", f"{type(value).__name__} is no text, number or list of them")
    return str(value)


def _encoded(options: CallOptions, lines: list[str], names: set[str]) -> bytes:
    """Return a body in JSON, and add the field that says so."""
    if "content" in options:
        raise ConfigurationError("json and content", "only one of them can be the body")
    if "content-type" not in names:
        lines.append("content-type: application/json\r\n")
    value = options["json"]
    dump = getattr(value, "model_dump_json", None)
    if dump is not None:
        return str(dump()).encode()
    return msgspec.json.encode(value, enc_hook=_plain)


def _plain(value: Any) -> Any:
    """Return a pydantic model within a body as plain values."""
    dump = getattr(value, "model_dump", None)
    if dump is None:
        raise NotImplementedError(f"{type(value).__name__} cannot be encoded as JSON")
    return dump(mode="json")
