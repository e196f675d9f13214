"""`bus.asyncapi()`: a valid AsyncAPI 3.0 document of what is subscribed."""

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pydantic
import pytest

from hasten._core.errors import ConfigurationError
from hasten.events import Batch, Bus, Message, RetryPolicy
from hasten.events.once import MemoryOnce
from tests.events.asyncapi.draft07 import Schema

OFFICIAL = Schema(json.loads(Path(__file__).with_name("asyncapi-3.0.0.json").read_text()))
KAFKA_HEADERS = {"ce_id", "ce_source", "ce_type", "ce_specversion", "content-type", "traceparent", "hasten-deadline"}
AMQP_HEADERS = {"hasten.key", "hasten.time", "hasten.deadline", "hasten.attempt", "traceparent"}
URLS = ["memory://", "amqp://mia:s3cret@rabbit.example/shop", "amqps://mia:s3cret@a,b:7", "kafka://mia:s3cret@a:1,b"]


class Line(msgspec.Struct):
    product: str
    count: int = 1


class OrderPaid(msgspec.Struct):
    number: int
    lines: list[Line] = []


@dataclass
class OrderSent:
    number: int
    line: Line | None = None


class Address(pydantic.BaseModel):
    city: str


class Customer(pydantic.BaseModel):
    name: str
    address: Address


def another_order() -> type[pydantic.BaseModel]:
    """Return a model with the name of a struct that is there."""

    class OrderPaid(pydantic.BaseModel):
        total: float

    return OrderPaid


OtherOrder = another_order()


def shop(url: str = "memory://") -> Bus:
    """Return a bus with subscriptions of all kinds."""
    bus = Bus(url)

    @bus.subscribe("orders.paid", group="billing", concurrency=64, retry=RetryPolicy(3, first=1.0), once=MemoryOnce())
    async def bill(order: OrderPaid, message: Message) -> None:
        """Bill an order.

        And more that is of no interest.
        """

    @bus.subscribe("orders.paid", group="stock", batch=Batch(50, 0.1))
    async def count(orders: list[OrderPaid]) -> None: ...

    @bus.subscribe("orders.paid", group="old", ordered=True)
    async def by_model(order: OtherOrder) -> None: ...  # type: ignore[valid-type]

    @bus.subscribe("orders.sent", group="mail")
    async def by_dataclass(order: OrderSent) -> None: ...

    @bus.subscribe("customers", group="mail")
    async def customers(customers: list[Customer]) -> None: ...

    @bus.subscribe("raw", group="as_bytes")
    async def as_bytes(body: bytes) -> None: ...

    @bus.subscribe("raw", group="anything")
    async def anything(body) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
        ...

    return bus


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for member in value.values():
            yield from references(member)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def resolved(document: dict[str, Any], reference: str) -> Any:
    found: Any = document
    for name in reference.removeprefix("#/").split("/"):
        found = found[name]
    return resolved(document, found["$ref"]) if set(found) == {"$ref"} else found


@pytest.mark.parametrize("url", URLS)
def test_it_is_valid(url: str) -> None:
    """The official schema has nothing against it, all its references lead somewhere, and no password is in it."""
    document = shop(url).asyncapi(title="shop", version="1.2.3")
    assert OFFICIAL.problems(document) == []
    assert len([resolved(document, each) for each in references(document)]) > 20
    assert json.loads(json.dumps(document)) == document
    assert "s3cret" not in json.dumps(document)
    assert "mia" not in json.dumps(document)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["info"], {"title": "shop"}),
        (["asyncapi"], "2.6.0"),
        (["operations", "orders.paid:billing", "action"], "subscribe"),
        (["operations", "orders.paid:billing", "group"], "billing"),
        (["channels", "orders.paid", "messages", "OrderPaid"], "OrderPaid"),
        (["components", "schemas", "OrderPaid", "type"], "struct"),
        (["servers", "amqp", "host"], 5672),
    ],
)
def test_the_official_schema_refuses(path: list[str], value: Any) -> None:
    """What is no AsyncAPI 3.0 is seen to be none: the check above can fail."""
    document = copy.deepcopy(shop(URLS[1]).asyncapi(title="shop", version="1"))
    place = document
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    assert OFFICIAL.problems(document) != []


def test_operations() -> None:
    """Each subscription is an operation that receives, with its group and how it handles what fails."""
    document = shop().asyncapi(title="shop", version="1")
    assert document["info"] == {"title": "shop", "version": "1"}
    assert set(document["operations"]) == {
        *("orders.paid:billing", "orders.paid:old", "orders.paid:stock", "orders.sent:mail", "customers:mail"),
        *("raw:anything", "raw:as_bytes"),
    }
    assert document["operations"]["orders.paid:billing"] == {
        "action": "receive",
        "summary": "Bill an order.",
        "channel": {"$ref": "#/channels/orders.paid"},
        "messages": [{"$ref": "#/channels/orders.paid/messages/OrderPaid"}],
        "x-hasten-group": "billing",
        "x-hasten-concurrency": 64,
        "x-hasten-ordered": False,
        "x-hasten-once": True,
        "x-hasten-retry": {"retries": 3, "first": 1.0, "longest": 30.0, "jitter": 0.2},
    }
    stock = document["operations"]["orders.paid:stock"]
    assert stock["x-hasten-batch"] == {"most": 50, "wait": 0.1}
    assert stock["messages"] == [{"$ref": "#/channels/orders.paid/messages/OrderPaid"}]
    assert document["operations"]["orders.paid:old"]["x-hasten-ordered"] is True


def payload_of(document: dict[str, Any], operation: str) -> Any:
    (message,) = document["operations"][operation]["messages"]
    return resolved(document, message["$ref"])["payload"]


def test_payloads() -> None:
    """Each message has the schema of its annotation, whatever library that is from; names that clash are kept apart."""
    document = shop().asyncapi(title="shop", version="1")
    order = resolved(document, payload_of(document, "orders.paid:billing")["$ref"])
    assert order["properties"]["number"] == {"type": "integer"}
    assert resolved(document, order["properties"]["lines"]["items"]["$ref"])["required"] == ["product"]
    sent = resolved(document, payload_of(document, "orders.sent:mail")["$ref"])
    assert set(sent["properties"]) == {"number", "line"}
    customers = payload_of(document, "customers:mail")
    assert customers["type"] == "array"
    customer = resolved(document, customers["items"]["$ref"])
    assert resolved(document, customer["properties"]["address"]["$ref"])["properties"]["city"]["type"] == "string"
    other = resolved(document, payload_of(document, "orders.paid:old")["$ref"])
    assert set(other["properties"]) == {"total"}
    assert payload_of(document, "raw:anything") == {}
    assert payload_of(document, "raw:as_bytes") == {"type": "string", "contentEncoding": "binary"}
    types = {name: each["contentType"] for name, each in document["components"]["messages"].items()}
    assert types["orders.paid.OrderPaid"] == "application/json"
    assert sorted(set(types.values())) == ["application/json", "application/octet-stream"]


def test_servers() -> None:
    """Each host of the broker is a server with its protocol; what is in memory has none."""
    by_url = [shop(url).asyncapi(title="shop", version="1").get("servers") for url in URLS]
    amqp = {"protocol": "amqp", "protocolVersion": "0-9-1", "host": "rabbit.example:5672", "pathname": "/shop"}
    amqps = {"protocol": "amqps", "protocolVersion": "0-9-1"}
    assert by_url == [
        None,
        {"amqp": amqp},
        {"amqps": {**amqps, "host": "a:5671"}, "amqps-2": {**amqps, "host": "b:7"}},
        {"kafka": {"protocol": "kafka", "host": "a:1"}, "kafka-2": {"protocol": "kafka", "host": "b:9092"}},
    ]


@pytest.mark.parametrize(("url", "names"), [(URLS[1], AMQP_HEADERS), (URLS[3], KAFKA_HEADERS)])
def test_headers(url: str, names: set[str]) -> None:
    """A message has the headers that it travels with over its broker."""
    document = shop(url).asyncapi(title="shop", version="1")
    for message in document["components"]["messages"].values():
        assert set(resolved(document, message["headers"]["$ref"])["properties"]) == names


def test_message_pack() -> None:
    """The content type is that of what the bus publishes."""
    bus = Bus("memory://", form="msgpack")

    @bus.subscribe("orders.paid", group="billing")
    async def bill(order: OrderPaid) -> None: ...

    document = bus.asyncapi(title="shop", version="1")
    assert document["defaultContentType"] == "application/msgpack"
    assert document["components"]["messages"]["orders.paid.OrderPaid"]["contentType"] == "application/msgpack"


def test_nothing_subscribed() -> None:
    """A bus that only publishes has a valid document without channels."""
    document = Bus("memory://").asyncapi(title="shop", version="1")
    assert OFFICIAL.problems(document) == []
    assert document["channels"] == {}


class Opaque:
    """No library knows what is in it."""


def test_no_schema() -> None:
    """A payload that no JSON Schema can be made of is one clear error."""
    bus = Bus("memory://")

    @bus.subscribe("orders.paid", group="billing")
    async def bill(order: Opaque) -> None: ...

    with pytest.raises(ConfigurationError, match=r"has no schema.*Opaque"):
        bus.asyncapi(title="shop", version="1")
