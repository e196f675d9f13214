"""The layout of a stored value: all of it comes back, and nothing else is taken for it."""

import math
import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten.cache._payload import Stored, pack, unpack

TAGS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=200)
MOMENTS = st.floats(0.0, 1e11)
SPANS = st.floats(0.0, math.inf)
STORED = Stored(b"value", 10.0, 0.5, 11.0, 12.0, 13.0, ("product:7", "news"), (3, 2**63))
PAYLOAD = pack(STORED)
HEAD_BYTES = 4 + 3 * 4 + 5 * 8


@st.composite
def stored(draw: st.DrawFn) -> Stored:
    tags = draw(st.lists(TAGS, max_size=12))
    fresh = draw(MOMENTS)
    stale = fresh + draw(SPANS)
    return Stored(
        data=draw(st.binary(max_size=300)),
        loaded_at=draw(MOMENTS),
        load_seconds=draw(st.floats(0.0, 1e6)),
        fresh_until=fresh,
        stale_until=stale,
        error_until=stale + draw(SPANS),
        tags=tuple(tags),
        versions=tuple(draw(st.lists(st.integers(0, 2**64 - 1), min_size=len(tags), max_size=len(tags)))),
    )


@given(stored())
def test_round_trip(value: Stored) -> None:
    """A stored value comes back with all that was said of it."""
    assert unpack(pack(value)) == value


@given(st.binary(max_size=400))
def test_hostile(payload: bytes) -> None:
    """Bytes that nobody packed are nothing."""
    assert unpack(payload) is None


@given(st.binary(max_size=100), st.integers(0, HEAD_BYTES - 1))
def test_hostile_rest(rest: bytes, changed: int) -> None:
    """Bytes behind a good magic, and any changed head, give nothing or a whole value, and never raise."""
    head = bytearray(PAYLOAD[:HEAD_BYTES])
    head[changed] ^= 0xFF
    for payload in (b"hst\x01" + rest, bytes(head) + PAYLOAD[HEAD_BYTES:], bytes(head) + rest):
        found = unpack(payload)
        assert found is None or pack(found) == payload


@pytest.mark.parametrize("size", range(len(PAYLOAD)))
def test_truncated(size: int) -> None:
    """A value of which the end is missing is nothing."""
    assert unpack(PAYLOAD[:size]) is None


def test_longer() -> None:
    """A value with something behind its end is nothing."""
    assert unpack(PAYLOAD + b"\0") is None


def test_other_format() -> None:
    """What a release with another format has written is nothing."""
    assert unpack(PAYLOAD.replace(b"hst\x01", b"hst\x02")) is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("fresh_until", math.nan),
        ("stale_until", math.nan),
        ("error_until", math.nan),
        ("fresh_until", 12.5),
        ("error_until", 11.0),
        ("loaded_at", math.nan),
        ("loaded_at", math.inf),
        ("load_seconds", -1.0),
        ("load_seconds", math.nan),
    ],
)
def test_times(field: str, value: Any) -> None:
    """A value whose times are no times, or not in their order, is nothing: it might never be over."""
    assert unpack(pack(msgspec.structs.replace(STORED, **{field: value}))) is None


def test_no_tags() -> None:
    """A value without tags has none when it comes back."""
    bare = msgspec.structs.replace(STORED, tags=(), versions=())
    assert unpack(pack(bare)) == bare


def test_tag_with_space() -> None:
    """A name that could be taken for two makes the value nothing, not one with other tags."""
    assert unpack(pack(msgspec.structs.replace(STORED, tags=("a b",), versions=(1,)))) is None


def test_missing_version() -> None:
    """Tags and versions that do not match are an error of who packs."""
    with pytest.raises(struct.error):
        pack(msgspec.structs.replace(STORED, versions=(1,)))
