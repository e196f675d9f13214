"""Requests from JSON and responses as JSON; a wrong request is refused by its field."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten._core.errors import ConfigurationError
from hasten.rpc.schema import MethodSchema, Schema
from tests.rpc.schema.servers import FILES

SCHEMA = Schema(FILES)


@pytest.fixture
def get() -> MethodSchema:
    return SCHEMA.method("shop.Stock/Get")


def test_method(get: MethodSchema) -> None:
    """A method is known by its name, its path on the wire, and how many messages go each way."""
    assert (get.name, get.path) == ("shop.Stock/Get", "/shop.Stock/Get")
    streams = {}
    for name in ("Get", "Watch", "Count", "Chat"):
        method = SCHEMA.method(f"/shop.Stock/{name}")
        streams[name] = (method.client_streaming, method.server_streaming)
    expected = {"Get": (False, False), "Watch": (False, True), "Count": (True, False), "Chat": (True, True)}
    assert streams == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({}, {}),
        ({"product_id": 7, "who": "ü"}, {"product_id": 7, "who": "ü"}),
        ({"productId": "7"}, {"product_id": 7}),
        ({"colour": "BLUE", "urgent": True}, {"colour": 1, "urgent": True}),
        ({"lines": [{"quantity": 2}], "by_name": {"a": {}}}, {"lines": [{"quantity": 2}], "by_name": {"a": {}}}),
        ({"at": "2020-01-01T00:00:00Z"}, {"at": {"seconds": 1577836800}}),
    ],
)
def test_request(get: MethodSchema, data: dict[str, Any], expected: dict[str, Any]) -> None:
    """A request is what protobuf's JSON form says, whichever way the fields are spelt."""
    assert get.request.FromString(get.request_bytes(data)) == get.request(**expected)


def test_any_holds_a_message_of_the_schema(get: MethodSchema) -> None:
    """An Any may hold each message that the schema knows."""
    data = get.request_bytes({"extra": {"@type": "type.googleapis.com/shop.Line", "quantity": 3}})
    message: Any = get.request.FromString(data)
    assert (message.extra.type_url, message.extra.value) == ("type.googleapis.com/shop.Line", b"\x10\x03")


def test_well_known_type_as_the_request() -> None:
    """A request of a well-known type is written in that type's own JSON form."""
    find = SCHEMA.method("shop.Stock/Find")
    assert find.request_bytes('"seven"') == b"\x0a\x05seven"


@given(product_id=st.integers(-(2**31), 2**31 - 1), who=st.text(st.characters(exclude_categories=["Cs"])))
def test_response_is_the_request_read_back(product_id: int, who: str) -> None:
    """What a response's bytes hold stands in its JSON text, in one line."""
    get = SCHEMA.method("shop.Stock/Get")
    message = get.response(product_id=product_id, name=who)
    text = get.response_text(message.SerializeToString())
    assert "\n" not in text
    reply = MethodSchema("a/B", get.response, get.response, False, False, get._pool)  # noqa: FBT003
    assert reply.request_bytes(text) == message.SerializeToString()


def test_response_of_another_schema(get: MethodSchema) -> None:
    """Bytes that are no response of the method are refused with the method's name."""
    with pytest.raises(ConfigurationError, match=r"^shop\.Stock/Get: the response is no shop\.Level; are the .proto"):
        get.response_text(b"\xff\xff")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("{", "data: not valid JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("[1]", "data: [1] is no JSON object; write a shop.Query: {...}"),
        ("[" * 100_000, "data: not valid JSON: nested too deeply"),
        ({"product": 1}, "data.product: no field of shop.Query; did you mean productId?"),
        ({"x": 1}, "data.x: no field of shop.Query; it has productId, who, lines, "),
        ({"lines": [{"count": 1}]}, "data.lines[0].count: no field of shop.Line; it has productId, quantity"),
        ({"by_name": {"a.b": {"count": 1}}}, "data.by_name[a.b].count: no field of shop.Line; "),
        ({"product_id": "a"}, "data.product_id: 'a' is no integer"),
        ({"product_id": 1.5}, "data.product_id: 1.5 is no integer"),
        ({"product_id": 2**31}, "data.product_id: out of range: 2147483648"),
        ({"lines": [{"quantity": -1}]}, "data.lines.quantity: out of range: -1"),
        ({"lines": [3]}, "data.lines: expected an object, got int"),
        ({"lines": {}}, "data.lines: repeated field lines must be in [] which is {}"),
        ({"who": 3}, "data.who: expected text, got int"),
        ({"colour": "GREEN"}, "data.colour: invalid enum value GREEN for enum type shop.Colour"),
        ({"urgent": "true"}, "data.urgent: expected true or false"),
        ({"discount": "much"}, "data.discount: "),
        ({"at": "noon"}, "data.at: failed to parse timestamp"),
        ({"extra": {"@type": "x/shop.Nothing"}}, "data.extra: can not find message descriptor by type_url: x/shop.No"),
        ('{"colour": 1e999}', "data: a number is out of range"),
    ],
)
def test_wrong_request(get: MethodSchema, data: str | dict[str, Any], message: str) -> None:
    """A request that is no such message is refused in one line that names the field and what is wrong with it."""
    with pytest.raises(ConfigurationError) as caught:
        get.request_bytes(data)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda c: st.dictionaries(st.text(), c)))
def test_any_json_is_taken_or_refused(value: Any) -> None:
    """Whatever JSON comes, it becomes a request or a ConfigurationError, nothing else."""
    get = SCHEMA.method("shop.Stock/Get")
    for field in ("who", "lines", "colour", "at", "extra", "by_name", "discount"):
        with contextlib.suppress(ConfigurationError):
            assert isinstance(get.request_bytes({field: value}), bytes)
