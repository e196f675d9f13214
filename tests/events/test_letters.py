"""Dead letters for operators: which ones are meant, and what is shown of them, whatever is in them."""

import base64
import math
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from hasten.events import Envelope
from hasten.events._letters import Choice, payload_text, record_of, shown

ANY_TEXT = st.text(st.characters(codec=None), max_size=60)  # lone surrogates included: wires may bring them
JSONS = ["application/json", "Application/JSON; charset=utf-8", "application/vnd.shop+json"]
TYPES = st.sampled_from([*JSONS, "application/msgpack", "text/plain", ""])
BODIES = st.one_of(
    st.binary(max_size=200),
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
        max_leaves=8,
    ).map(msgspec.json.encode),
    st.integers().map(lambda number: msgspec.msgpack.encode({"number": number % 2**32})),
)


def a_letter(**changes: Any) -> Envelope:
    plain = {"topic": "orders.paid", "body": b'{"number":1}', "content_type": "application/json", "id": "order-1"}
    return Envelope(**{**plain, "time": 1000.0, "reason": "failed: ValueError: No Such product", **changes})


def test_which_ones() -> None:
    """A dead letter is meant if all filters hold: its id, a part of its reason in any case, the time of publishing."""
    letter = a_letter()
    assert Choice()(letter)
    assert Choice(frozenset({"order-0", "order-1"}), "no such", 900.0, 1100.0)(letter)
    for choice in (
        Choice(frozenset({"order-0"})),
        Choice(reason="timeout"),
        Choice(published_after=1000.1),
        Choice(published_before=999.9),
        Choice(frozenset({"order-1"}), "timeout"),
    ):
        assert not choice(letter)


@given(ANY_TEXT, st.integers(1, 80))
def test_nothing_is_obeyed_by_a_terminal(text: str, most: int) -> None:
    """What is shown has no control character, is one line and as wide as it may be; plain text is shown as it is."""
    line = shown(text, most)
    assert line.isprintable()
    assert len(line) <= most
    line.encode()
    if text.isprintable() and len(text) <= most:
        assert line == text


@given(BODIES, TYPES, st.integers(2, 80))
def test_any_payload(body: bytes, content_type: str, most: int) -> None:
    """Whatever a payload is, a line of it is shown; all of it is in the record, which is one line of JSON."""
    letter = a_letter(body=body, content_type=content_type)
    line = payload_text(letter, most)
    assert line.isprintable()
    assert len(line) <= most
    text = msgspec.json.encode(record_of(letter, "billing"))
    assert b"\n" not in text
    record = msgspec.json.decode(text)
    assert ("payload" in record) != ("payload_base64" in record)
    if "payload_base64" in record:
        assert base64.b64decode(record["payload_base64"]) == body
    elif "json" in content_type.lower():
        assert record["payload"] == msgspec.json.decode(body)
    else:
        assert record["payload"] == msgspec.msgpack.decode(body)


@given(ANY_TEXT, ANY_TEXT, ANY_TEXT, ANY_TEXT)
def test_any_text(key: str, reason: str, origin: str, header: str) -> None:
    """Text from a wire is in the record as it is, as far as JSON can have it."""
    letter = a_letter(key=key, reason=reason, origin=origin, headers={"tenant": header})
    record = msgspec.json.decode(msgspec.json.encode(record_of(letter, "billing")))
    given = {"key": key, "reason": reason, "origin": origin, "tenant": header}
    found = {**record, "tenant": record["headers"]["tenant"]}
    for name, text in given.items():
        assert found[name] == text.encode("utf-8", "backslashreplace").decode()


def test_the_record() -> None:
    """It has all of the message; a deadline that it has not is null."""
    letter = a_letter(key="k", attempt=6, origin="shop", traceparent="00-a-b-01", headers={"tenant": "mück"})
    record = msgspec.json.decode(msgspec.json.encode(record_of(letter, "billing")))
    assert record == {
        "id": "order-1",
        "topic": "orders.paid",
        "group": "billing",
        "time": 1000.0,
        "reason": "failed: ValueError: No Such product",
        "attempt": 6,
        "key": "k",
        "origin": "shop",
        "traceparent": "00-a-b-01",
        "deadline": None,
        "headers": {"tenant": "mück"},
        "content_type": "application/json",
        "payload": {"number": 1},
    }
    assert letter.deadline == math.inf
    assert record_of(a_letter(deadline=1234.5), "billing")["deadline"] == 1234.5


def test_numbers_are_kept() -> None:
    """JSON is passed on digit by digit, also where no machine number holds it."""
    body = b'{"cents": 123456789012345678901234567890,\n "rate": 0.1000}'
    line = msgspec.json.encode(record_of(a_letter(body=body), "billing"))
    assert b'"payload":{"cents":123456789012345678901234567890,"rate":0.1000}' in line


def test_bytes_that_are_no_text() -> None:
    """JSON with a string that is not UTF-8 is no JSON: the record has its bytes, and can be read."""
    body = b'{"name": "m\xfcck"}'
    record = msgspec.json.decode(msgspec.json.encode(record_of(a_letter(body=body), "billing")))
    assert base64.b64decode(record["payload_base64"]) == body
    assert payload_text(a_letter(body=body), 80) == '{"name": "m\\xfcck"}'
