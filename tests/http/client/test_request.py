"""A request is what its caller says, and nothing that a caller gives can be taken for another one."""

from typing import Any

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten._core.errors import ConfigurationError
from hasten.http.client._address import parse_address
from hasten.http.client._request import make_request

OWN = b" HTTP/1.1\r\nhost: shop\r\n"


class Order(msgspec.Struct):
    item: int


class Model(pydantic.BaseModel):
    item: int


def head(method: str = "GET", target: str = "/", left: float = 0.2, path: bytes = b"", **options: Any) -> list[str]:
    """Return the lines of a request's head."""
    request = make_request(method, target, options, options.pop("trace", ""), options.pop("state", ""))  # type: ignore[arg-type]
    text = request.message(path, OWN, left).removesuffix(request.body)
    assert text.endswith(b"\r\n\r\n")
    assert text.count(b"\r\n\r\n") == 1
    return text[:-4].decode("latin-1").split("\r\n")


def test_lines() -> None:
    """A request has its target behind the host's path, the time that is left, and the caller's fields."""
    assert head(target="/prices?day=1", path=b"/api", fields={"Accept": "text/plain"}) == [
        "GET /api/prices?day=1 HTTP/1.1",
        "host: shop",
        "x-request-timeout-ms: 200",
        "Accept: text/plain",
    ]


def test_time_left() -> None:
    """A host is told at least a millisecond, and nothing where there is no end."""
    assert "x-request-timeout-ms: 1" in head(left=0.0004)
    assert not [line for line in head(left=float("inf")) if line.startswith("x-request")]


def test_trace() -> None:
    """The trace goes along, unless the caller has put another there."""
    assert head(trace="00-1", state="a=1")[-2:] == ["traceparent: 00-1", "tracestate: a=1"]
    assert head(trace="00-1", fields={"Traceparent": "00-2"})[2:] == ["x-request-timeout-ms: 200", "Traceparent: 00-2"]


@pytest.mark.parametrize(
    ("params", "target"),
    [
        ({"a": 1, "b": "x y&"}, "/p?a=1&b=x+y%26"),
        ({"a": [1, 2]}, "/p?a=1&a=2"),
        ([("a", "\u00fc")], "/p?a=%C3%BC"),
        ({"a": True, "b": 0.5, "c": (False, "d")}, "/p?a=true&b=0.5&c=false&c=d"),
        ({}, "/p"),
    ],
)
def test_parameters(params: Any, target: str) -> None:
    """Parameters are quoted, and lists repeat them."""
    assert head(target="/p", params=params)[0] == f"GET {target} HTTP/1.1"
    if params:
        assert head(target="/p?z=1", params=params)[0] == f"GET {target.replace('?', '?z=1&')} HTTP/1.1"


@pytest.mark.parametrize("value", [Order(7), Model(item=7), {"item": 7}])
def test_json(value: Any) -> None:
    """A body in JSON is made of Structs, pydantic models and plain values."""
    request = make_request("POST", "/", {"json": value}, "", "")
    assert request.body == b'{"item":7}'
    assert b"content-type: application/json\r\ncontent-length: 10\r\n" in request.rest
    nested = make_request("POST", "/", {"json": [value], "fields": {"Content-Type": "application/x"}}, "", "")
    assert nested.body == b'[{"item":7}]'
    assert nested.rest.startswith(b"Content-Type: application/x\r\ncontent-length")


@pytest.mark.parametrize(("method", "expected"), [("POST", True), ("PUT", True), ("GET", False), ("DELETE", False)])
def test_length_of_nothing(method: str, *, expected: bool) -> None:
    """A method that has a body says so if it is empty."""
    assert ("content-length: 0" in head(method)) is expected


@pytest.mark.parametrize(
    ("method", "fields", "repeatable"),
    [
        ("GET", {}, True),
        ("PUT", {}, True),
        ("POST", {}, False),
        ("PATCH", {}, False),
        ("POST", {"Idempotency-Key": "1"}, True),
    ],
)
def test_repeatable(method: str, fields: dict[str, str], *, repeatable: bool) -> None:
    """What may be carried out twice is known by its method, or its key."""
    assert make_request(method, "/", {"fields": fields}, "", "").repeatable is repeatable


@pytest.mark.parametrize(
    ("method", "target", "options"),
    [
        ("get", "/", {}),
        ("GET /", "/", {}),
        ("GET\r\n", "/", {}),
        ("", "/", {}),
        ("CONNECT", "/", {}),
        ("GET", "", {}),
        ("GET", "prices", {}),
        ("GET", "http://other/", {}),
        ("GET", "/a b", {}),
        ("GET", "/a\r\nX: y", {}),
        ("GET", "/a\0", {}),
        ("GET", "/\u00fc", {}),
        ("GET", "/a#b", {}),
        ("GET", "/", {"fields": {"X\r\nY": "a"}}),
        ("GET", "/", {"fields": {"X": "a\r\nY: b"}}),
        ("GET", "/", {"fields": {"X": "a\nb"}}),
        ("GET", "/", {"fields": {"X": "a\0"}}),
        ("GET", "/", {"fields": {"X": "\u20ac"}}),
        ("GET", "/", {"fields": {"": "a"}}),
        ("GET", "/", {"fields": {"X ": "a"}}),
        ("GET", "/", {"fields": {"Content-Length": "5"}}),
        ("GET", "/", {"fields": {"transfer-encoding": "chunked"}}),
        ("GET", "/", {"fields": {"HOST": "other"}}),
        ("GET", "/", {"fields": {"Connection": "close"}}),
        ("POST", "/", {"json": 1, "content": b"1"}),
        ("GET", "/", {"params": {"a": None}}),
        ("GET", "/", {"params": {"a": [b"x"]}}),
        ("POST", "/", {"coalesce": True}),
    ],
)
def test_refused(method: str, target: str, options: Any) -> None:
    """What could end a line, or frame the message anew, is refused before anything is sent."""
    with pytest.raises(ConfigurationError):
        make_request(method, target, options, "", "")


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30), st.text(max_size=10))
def test_any_text(target: str, name: str, value: str, method: str) -> None:
    """Whatever text a caller gives, the request has the lines that it is to have, or is refused."""
    choices: list[dict[str, Any]] = [{}, {"fields": {name: value}}]
    for options in choices:
        for verb, path in ((method, "/"), ("GET", "/" + target)):
            try:
                lines = head(verb, path, **options)
            except ConfigurationError:
                continue
            assert len(lines) <= 5
            assert lines[0] == f"{verb} {path} HTTP/1.1"
            assert all(line.isprintable() or "\t" in line or not line.isascii() for line in lines)


@pytest.mark.parametrize(
    ("url", "name", "port", "tls", "path"),
    [
        ("http://pricing:8000", "pricing:8000", 8000, False, ""),
        ("http://pricing", "pricing", 80, False, ""),
        ("https://Pricing/api/", "pricing", 443, True, "/api"),
        ("https://pricing:80", "pricing:80", 80, True, ""),
        ("http://[::1]:8000/v1", "[::1]:8000", 8000, False, "/v1"),
    ],
)
def test_address(url: str, name: str, port: int, path: str, *, tls: bool) -> None:
    """An address says where to connect, and what the Host field says."""
    found = parse_address(url)
    assert (found.name, found.port, found.tls, found.path) == (name, port, tls, path)


@pytest.mark.parametrize(
    "url",
    ["", "pricing", "pricing:8000", "ftp://pricing", "http://", "http://a:0", "http://a:99999", "http://a:x",
     "http://u:p@a", "http://a?b=1", "http://a#b", "http://a/\u00fc", "http://a/b c", "http://a\r\nX:y/", "http://[::1"],
)  # fmt: skip
def test_no_address(url: str) -> None:
    """A URL that is none of a service is refused, in one line."""
    with pytest.raises(ConfigurationError) as caught:
        parse_address(url)
    assert "\n" not in str(caught.value)
