"""Envelopes on the wire: read by pamqp, and made of what other clients publish."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import body, commands, frame, header

from hasten.events import Envelope
from hasten.events.brokers._amqp_envelope import GARBLED, MessageReader, MessageWriter, Route

TEXT = st.text(max_size=40)
IDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=128)
HEADERS = st.dictionaries(
    st.from_regex(r"[a-z0-9][a-z0-9_-]{0,20}", fullmatch=True).filter(lambda name: name != "traceparent"), TEXT
).filter(lambda headers: not any(name.startswith("x-") for name in headers))
ENVELOPES = st.builds(
    Envelope,
    topic=st.just("orders.paid"),
    body=st.binary(max_size=300),
    content_type=st.sampled_from(["application/json", "application/msgpack", ""]),
    id=IDS,
    key=TEXT,
    origin=TEXT,
    time=st.floats(0, 4e9),
    deadline=st.floats(0, 4e9) | st.just(float("inf")),
    traceparent=TEXT,
    attempt=st.integers(1, 2**31 - 1),
    headers=HEADERS,
    reason=TEXT,
)
ROUTE = Route(1, "hasten", "orders.paid", "orders.paid", None)


def parts_of(written: bytes) -> list[Any]:
    """Return what pamqp reads."""
    parts = []
    while written:
        size, channel, part = frame.unmarshal(written)
        assert channel == 1
        parts.append(part)
        written = written[size:]
    return parts


def read(properties: commands.Basic.Properties, payload: bytes = b"{}") -> tuple[Envelope, int]:
    """Return what is made of another client's message."""
    return MessageReader("orders.paid")(
        frame.marshal(header.ContentHeader(0, len(payload), properties), 1)[7:-1], payload
    )


@given(ENVELOPES, st.sampled_from([b"", b"\x03200"]))
def test_there_and_back(envelope: Envelope, expiration: bytes) -> None:
    """An envelope is the same after it was written and read; pamqp finds each part where it belongs."""
    written = MessageWriter(1)(envelope, ROUTE, expiration)
    method, head, *bodies = parts_of(written)
    assert (method.exchange, method.routing_key, method.mandatory) == ("hasten", "orders.paid", False)
    properties = head.properties
    assert properties.message_id == envelope.id
    assert properties.message_type == "orders.paid"
    assert properties.delivery_mode == 2
    assert properties.expiration == ("200" if expiration else None)
    assert (properties.headers or {}).get("hasten.key", "") == envelope.key
    assert b"".join(each.value for each in bodies) == envelope.body
    begin = len(ROUTE.method) + 7
    raw = written[begin : begin + int.from_bytes(written[begin - 4 : begin], "big")]
    assert MessageReader("orders.paid")(raw, envelope.body) == (envelope, 0)


def test_a_large_body() -> None:
    """A body is cut into frames of the agreed size, and one that just fits is not."""
    writer = MessageWriter(1)
    writer.frame_max = 4096
    for size, sizes in ((4088, [4088]), (4089, [4088, 1]), (3 * 4088, [4088] * 3)):
        envelope = Envelope(topic="orders.paid", body=b"x" * size, content_type="", id="1")
        pieces = parts_of(writer(envelope, ROUTE))[2:]
        assert all(isinstance(piece, body.ContentBody) for piece in pieces)
        assert [len(piece.value) for piece in pieces] == sizes


def test_from_other_clients() -> None:
    """What others publish is taken: their headers as text, their timestamp as the time, an id of our own if need be."""
    properties = commands.Basic.Properties(
        content_type="application/json",
        content_encoding="utf-8",
        headers={"tries": 3, "ok": True, "ratio": 0.5, "tenant": "mia", "nested": {"a": 1}, "list": [1], "none": None},
        delivery_mode=2,
        priority=5,
        correlation_id="c",
        reply_to="r",
        expiration="1000",
        timestamp=datetime.fromtimestamp(1_700_000_000, UTC),
        message_type="anything",
        user_id="guest",
        app_id="till",
        cluster_id="",
    )
    envelope, returned = read(properties)
    assert envelope.headers == {"tries": "3", "ok": "true", "ratio": "0.5", "tenant": "mia"}
    assert (envelope.time, envelope.origin, envelope.topic, returned) == (1_700_000_000.0, "till", "orders.paid", 0)
    assert (envelope.key, envelope.attempt, envelope.deadline) == ("", 1, float("inf"))
    assert len(envelope.id) == 32
    assert read(properties)[0].id != envelope.id  # two equal messages are two messages


def test_nothing_at_all() -> None:
    """A message without any property is bytes with an id."""
    envelope, _ = read(commands.Basic.Properties())
    assert (envelope.content_type, len(envelope.id)) == ("application/octet-stream", 32)


def test_ids_of_others() -> None:
    """An id that is none of ours becomes one, the same each time it is delivered, and different for different ones."""
    ids = [
        read(commands.Basic.Properties(message_id=text))[0].id for text in ("a b", "a b", "mück", "x" * 200, "x" * 201)
    ]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 4
    assert all(len(each) == 32 for each in ids)
    assert read(commands.Basic.Properties(message_id="urn:1"))[0].id == "urn:1"


def test_what_the_broker_adds() -> None:
    """How often a message came back is known, why the broker itself buried it too, and neither is a user's header."""
    deaths: list[Any] = [
        {"reason": "delivery_limit", "queue": "q", "count": 1},
        {"reason": "expired", "queue": "q", "count": 3},
    ]
    headers: Any = {"x-delivery-count": 4, "x-death": deaths, "x-first-death-reason": "expired", "x-mine": "kept"}
    envelope, returned = read(commands.Basic.Properties(headers=headers))
    assert returned == 4
    assert envelope.headers == {"x-mine": "kept"}
    assert envelope.reason == "returned: delivery_limit, says the broker"
    waited, _ = read(commands.Basic.Properties(headers={"x-death": deaths[1:]}))
    assert waited.reason == ""


@pytest.mark.parametrize(
    "headers",
    [
        {"hasten.time": "soon"},
        {"hasten.time": float("nan")},
        {"hasten.deadline": float("nan")},
        {"hasten.deadline": True},
        {"hasten.attempt": 0},
        {"hasten.attempt": "2"},
        {"hasten.key": 7},
        {"hasten.reason": {}},
        {"hasten.else": "x"},
        {"traceparent": 1},
        {"x-delivery-count": "many"},
        {"x-delivery-count": -1},
        {"x-death": "yes"},
        {"x-death": [1]},
    ],
)
def test_values_of_the_wrong_type(headers: dict[str, Any]) -> None:
    """A header of ours with a value that we never write is left out."""
    envelope, returned = read(commands.Basic.Properties(message_id="1", headers=headers))
    plain = read(commands.Basic.Properties(message_id="1"))[0]
    assert (envelope, returned) == (plain, 0)


@given(st.binary(max_size=100), st.binary(max_size=20))
def test_properties_that_cannot_be_read(properties: bytes, payload: bytes) -> None:
    """Any bytes make an envelope: one that cannot be read has a content type that no consumer takes."""
    envelope, returned = MessageReader("orders.paid")(b"\0\x3c\0\0" + bytes(8) + properties, payload)
    assert envelope.body == payload
    assert returned >= 0
    assert envelope.id
    msgspec.json.encode(envelope.headers)


def test_cut_properties() -> None:
    """Properties are refused wherever they are cut, and the body is kept."""
    full = frame.marshal(
        header.ContentHeader(0, 2, commands.Basic.Properties("a/b", headers={"a": "b"}, app_id="x")), 1
    )
    for end in range(7, len(full) - 1):
        envelope, _ = MessageReader("t")(full[7:end], b"{}")
        assert (envelope.content_type, envelope.body) == (GARBLED, b"{}")
