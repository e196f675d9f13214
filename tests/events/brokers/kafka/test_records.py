"""Records: what was written is read again, and what others write is read as far as it goes."""

import math
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from hasten.events._envelope import NO_DEADLINE, Envelope
from hasten.events._names import checked_headers
from hasten.events.brokers._kafka_records import (
    Headers,
    Record,
    copy_headers,
    dead_headers,
    headers_of,
    key_of,
    record_of,
)

TOPIC = "orders.paid"
_ids = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=128)
_names = st.from_regex(r"\A[a-z0-9][a-z0-9_-]{0,63}\Z") | st.sampled_from(
    ["content-type", "traceparent", "ce_id", "ce_type", "ce_x", "hasten-key", "hasten-header-", "hasten-attempt"]
)
_moments = st.floats(1e6, 4e9).map(lambda moment: round(moment, 3))


@st.composite
def envelopes(draw: st.DrawFn) -> Envelope:
    headers = draw(st.dictionaries(_names, st.text(), max_size=4))
    return Envelope(
        topic=TOPIC,
        body=draw(st.binary()),
        content_type=draw(st.text(min_size=1, max_size=30)),
        id=draw(_ids),
        key=draw(st.text()),
        origin=draw(st.text().filter(lambda origin: origin != "/")),
        time=draw(_moments),
        deadline=draw(_moments | st.just(NO_DEADLINE)),
        traceparent=draw(st.text(max_size=60)),
        headers=checked_headers(headers),
    )


def read(headers: Headers, envelope: Envelope, moment: float, key: bytes | None) -> Record:
    return record_of(TOPIC, key, envelope.body, headers, (round(moment * 1000.0), TOPIC, 0, 7))


@given(envelopes(), st.just(0.0) | _moments)
def test_published(envelope: Envelope, not_before: float) -> None:
    """What is published is read as it was, with the time in the record."""
    record = read(headers_of(envelope, not_before), envelope, envelope.time, key_of(envelope))
    assert record == Record(envelope, not_before, "", TOPIC)


@given(envelopes(), st.integers(1, 2**31), st.text(), st.just(0.0) | _moments)
def test_copies(envelope: Envelope, attempt: int, reason: str, not_before: float) -> None:
    """A copy for one group is the message, with attempt, reason and the time when it was published first."""
    envelope.attempt, envelope.reason = attempt, reason
    record = read(copy_headers(envelope, "billing", not_before), envelope, 5e9, key_of(envelope))
    assert abs(record.envelope.time - envelope.time) < 1e-5
    record.envelope.time = envelope.time
    assert record == Record(envelope, not_before, "billing", TOPIC)


@given(envelopes(), st.text())
def test_dead_letters(envelope: Envelope, reason: str) -> None:
    """A dead letter has the message's key, though its record has another."""
    envelope.reason = reason
    record = read(dead_headers(envelope, "billing"), envelope, 5e9, b"another")
    assert (record.envelope.key, record.envelope.reason) == (envelope.key, reason)


_OURS = ["ce_id", "ce_time", "ce_type", "hasten-deadline", "hasten-attempt", "hasten-not-before", "Content-Type"]
_values = st.none() | st.binary() | st.sampled_from([b"nan", b"inf", b"-1e999", b"1e400", b"1_0", b"9999-99-99", b"-5"])


@given(
    key=st.none() | st.binary(),
    value=st.none() | st.binary(),
    headers=st.none() | st.lists(st.tuples(st.text() | st.sampled_from(_OURS), _values), max_size=8),
    moment=st.integers(-(2**63), 2**63 - 1),
)
@example(key=b"\xff", value=None, headers=[("ce_id", b"\xff"), ("ce_time", b"0001-01-01T00:00:00Z")], moment=-1)
def test_foreign(key: Any, value: Any, headers: Any, moment: int) -> None:
    """Any record is read, into an envelope that can be written again and is the same then."""
    record = record_of(TOPIC, key, value, headers, (moment, TOPIC, 3, 17))
    envelope = record.envelope
    assert envelope.body == (value or b"")
    assert envelope.attempt >= 1
    assert not math.isnan(envelope.deadline)
    assert 0.0 <= record.not_before < math.inf
    again = read(copy_headers(envelope, "billing"), envelope, 5e9, key_of(envelope)).envelope
    again.time = envelope.time
    assert again == envelope


def test_foreign_json() -> None:
    """A record with nothing but a value is JSON, and its place is its id: the same each time it is read."""
    envelope = record_of(TOPIC, None, b"{}", None, (1_700_000_000_123, "orders.paid", 3, 17)).envelope
    assert (envelope.id, envelope.content_type, envelope.time) == (
        "orders.paid-3-17",
        "application/json",
        1700000000.123,
    )


def test_foreign_cloud_event() -> None:
    """A CloudEvent of others, in binary mode, is read with its id, source, type, time and extensions."""
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"A234-1234-1234"),
        ("ce_source", b"https://example.com/shop"),
        ("ce_type", b"com.example.order.paid"),
        ("ce_time", b"2018-04-05T17:31:00Z"),
        ("ce_subject", b"order 7"),
        ("content-type", b"application/json"),
        ("Tenant", "mück".encode()),
    ]
    envelope = record_of(TOPIC, b"7", b"{}", headers, (0, TOPIC, 0, 0)).envelope
    assert (envelope.topic, envelope.id, envelope.origin) == (TOPIC, "A234-1234-1234", "https://example.com/shop")
    assert (envelope.time, envelope.key) == (1522949460.0, "7")
    assert envelope.headers == {"ce_type": "com.example.order.paid", "ce_subject": "order 7", "tenant": "mück"}
