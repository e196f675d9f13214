"""One kind of request of a plan, and the checks that let it be sent as it stands."""

import math
import re
from collections.abc import Callable

import msgspec

from hasten._core.errors import ConfigurationError
from hasten.load._parameters import Parameter, Range, Values, Zipf
from hasten.load._rpc_kind import check_rpc
from hasten.load._status_names import OK
from hasten.load._template_text import PLACEHOLDER

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VISIBLE = re.compile(r"/[!-~]*")
_OURS = ("connection", "content-length", "transfer-encoding", "x-request-id")
_LARGEST_INTEGER = 2**62

Where = Callable[[str], str]


class RequestKind(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of request.

    Attributes:
      name: Its row in the results.
      method: Of HTTP, or `package.Service/Method` for a gRPC call.
      path: HTTP only: absolute, with its query, `{parameter}` where a value goes.
      weight: Its share of all requests, relative to the other kinds' weights.
      expect: Statuses that count as an answer, gRPC's by their numbers; empty for every HTTP status below 400, for OK.
      headers: Names with values, as they are sent; over gRPC the metadata, `-bin` values as base64.
      body: HTTP only: text with `{parameter}` where a value goes; sent as UTF-8.
      data: gRPC only: the request as JSON text with `{parameter}` where a value goes; "" for an empty message.
      parameters: By name; each request draws a value of each.
    """

    name: str
    method: str = "GET"
    path: str = "/"
    weight: float = 1.0
    expect: tuple[int, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    data: str = ""
    parameters: dict[str, Parameter] = {}

    @property
    def rpc(self) -> bool:
        """It is a gRPC call."""
        return "/" in self.method

    def accepts(self, status: int) -> bool:
        """Tell whether `status` is an answer as expected."""
        if self.expect:
            return status in self.expect
        return status == OK if self.rpc else status < 400


def check_requests(kinds: tuple[RequestKind, ...], where: Where) -> None:
    """Raise ConfigurationError for the first request that cannot be sent; `where` gives a key its place."""
    if not kinds:
        raise ConfigurationError(where("request"), "there is none", "add a [[request]] with a path")
    names: set[str] = set()
    for index, kind in enumerate(kinds):

        def place(key: str, index: int = index) -> str:
            return where(f"request[{index}].{key}")

        if kind.name in names:
            raise ConfigurationError(place("name"), f"{kind.name!r} is taken by another request")
        names.add(kind.name)
        if kind.rpc != kinds[0].rpc:
            raise ConfigurationError(place("method"), "HTTP and gRPC do not go together", "write a plan for each")
        _check_kind(kind, place)


def _check_kind(kind: RequestKind, where: Where) -> None:
    if not math.isfinite(kind.weight) or kind.weight <= 0:
        raise ConfigurationError(where("weight"), f"{kind.weight:g} is not above 0")
    _check_parameters(kind, where)
    if kind.rpc:
        check_rpc(kind, where)
    else:
        _check_http(kind, where)
    _check_use(kind, where)


def _check_http(kind: RequestKind, where: Where) -> None:
    if kind.method not in METHODS:
        remedy = "methods are upper case" if kind.method.upper() in METHODS else f"one of {', '.join(METHODS)}"
        raise ConfigurationError(where("method"), f"{kind.method!r} is unknown", remedy)
    for position, status in enumerate(kind.expect):
        if not 200 <= status <= 599:
            raise ConfigurationError(where(f"expect[{position}]"), f"{status} is no final status (200 to 599)")
    if kind.data:
        raise ConfigurationError(where("data"), "belongs to a gRPC method", "write an HTTP request's text as body")
    _check_headers(kind, where)
    _check_path(kind, where)


def _check_headers(kind: RequestKind, where: Where) -> None:
    for name, value in kind.headers:
        place = where(f"headers.{name}")
        if _TOKEN.fullmatch(name) is None:
            raise ConfigurationError(place, "no header name")
        if name.lower() in _OURS:
            raise ConfigurationError(place, "hasten sets this header itself")
        if not value.isprintable() or not value.isascii():
            raise ConfigurationError(place, f"the value {value!r} holds a character that no header may")


def _check_path(kind: RequestKind, where: Where) -> None:
    if _VISIBLE.fullmatch(kind.path) is None or "#" in kind.path:
        problem = f"{kind.path!r} is no absolute path of visible ASCII characters"
        raise ConfigurationError(where("path"), problem, "begin it with / and percent-encode the rest")
    for name in PLACEHOLDER.findall(kind.path):
        if name not in kind.parameters:
            problem = f"{{{name}}} is no declared parameter"
            raise ConfigurationError(where("path"), problem, f"declare it in [request.parameters]: {name} = ...")


def _check_parameters(kind: RequestKind, where: Where) -> None:
    for name, parameter in kind.parameters.items():
        place = f"parameters.{name}"
        if _NAME.fullmatch(name) is None:
            raise ConfigurationError(where(place), "no parameter name: letters, digits and _ only")
        if isinstance(parameter, Values):
            if not parameter.values:
                raise ConfigurationError(where(f"{place}.values"), "the list is empty")
        else:
            _check_bounds(parameter, place, where)


def _check_use(kind: RequestKind, where: Where) -> None:
    used = {name for text in (kind.path, kind.body, kind.data) for name in PLACEHOLDER.findall(text)}
    for name in kind.parameters:
        if name not in used:
            places = "data" if kind.rpc else "path or body"
            raise ConfigurationError(
                where(f"parameters.{name}"), "unused", f"write {{{name}}} into {places}, or remove it"
            )


def _check_bounds(parameter: Range | Zipf, place: str, where: Where) -> None:
    key = f"{place}.{'zipf' if isinstance(parameter, Zipf) else 'range'}"
    if parameter.low > parameter.high:
        raise ConfigurationError(where(key), f"low {parameter.low} exceeds high {parameter.high}")
    if max(abs(parameter.low), abs(parameter.high)) > _LARGEST_INTEGER:
        raise ConfigurationError(where(key), "a bound is beyond 2 ** 62")
    if isinstance(parameter, Zipf) and not 0 < parameter.exponent <= 20:
        raise ConfigurationError(where(f"{place}.exponent"), f"{parameter.exponent:g} is not above 0 and up to 20")
