"""The checks of a request that is a gRPC call: method, data, metadata and statuses, as far as they need no schema."""

import base64
import json
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from hasten._core.errors import ConfigurationError
from hasten.load._parameters import Parameter, extremes, json_escaped
from hasten.load._status_names import is_status
from hasten.load._template_text import fill

if TYPE_CHECKING:
    from hasten.load._request_kind import RequestKind

_METHOD = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*/[A-Za-z_]\w*", re.ASCII)
_KEY = re.compile(r"[0-9a-z_.-]+")
_OURS = ("content-type", "host", "te", "user-agent", "x-request-id")

Where = Callable[[str], str]
Metadata = tuple[tuple[str, str | bytes], ...]


def check_rpc(kind: "RequestKind", where: Where) -> None:
    """Raise ConfigurationError for the first thing about a gRPC request that cannot be sent."""
    if _METHOD.fullmatch(kind.method) is None:
        raise ConfigurationError(where("method"), f"{kind.method!r} is no gRPC method", "write package.Service/Method")
    if kind.path not in ("", "/"):
        raise ConfigurationError(where("path"), "belongs to HTTP; a gRPC method has none", "leave it out")
    if kind.body:
        raise ConfigurationError(where("body"), "belongs to HTTP", "write a gRPC method's request as data")
    for position, code in enumerate(kind.expect):
        if not is_status(code):
            raise ConfigurationError(where(f"expect[{position}]"), f"{code} is no gRPC status (0 to 16)")
    metadata_of(kind, where)
    check_json(kind.data, kind.parameters, where("data"))


def metadata_of(kind: "RequestKind", where: Where = str) -> Metadata:
    """Return the headers as gRPC metadata: keys in lower case, `-bin` values from base64.

    Raises:
      ConfigurationError: one cannot be sent.
    """
    metadata: list[tuple[str, str | bytes]] = []
    for name, value in kind.headers:
        key, place = name.lower(), where(f"headers.{name}")
        if _KEY.fullmatch(key) is None:
            raise ConfigurationError(place, "no metadata key", "letters, digits and - _ . only")
        if key in _OURS or key.startswith("grpc-"):
            raise ConfigurationError(place, "hasten sets this header itself")
        if not key.endswith("-bin") and not (value.isascii() and value.isprintable()):
            raise ConfigurationError(place, f"the value {value!r} holds a character that no metadata may")
        metadata.append((key, _decoded(value, place) if key.endswith("-bin") else value))
    return tuple(metadata)


def check_json(data: str, parameters: Mapping[str, Parameter], place: str) -> None:
    """Raise ConfigurationError if `data`, with a value for each parameter, is no JSON."""
    if not data:
        return
    values = {name: json_escaped(next(iter(extremes(parameter)), "")) for name, parameter in parameters.items()}
    try:
        json.loads(fill(data, values))
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(place, f"not valid JSON: {error}") from error


def _decoded(value: str, place: str) -> bytes:
    try:
        return base64.b64decode(value + "=" * (-len(value) % 4), validate=True)
    except ValueError as error:
        raise ConfigurationError(place, f"{value!r} is no base64", "a key that ends in -bin holds bytes") from error
