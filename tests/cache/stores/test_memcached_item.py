"""What the Memcached store writes under a key: states, ends, and Memcached's own way to count time."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten.cache.stores._memcached_item import Item, exptime, payload_of, unpack_item

NOW = 1_800_000_000.0
TOKEN = b"0123456789abcdef"
MOMENTS = st.floats(NOW + 1e-3, NOW + 1e9)


@given(st.binary(max_size=100), MOMENTS, st.sampled_from([b"", TOKEN]), MOMENTS)
def test_value(payload: bytes, expires_at: float, token: bytes, lease_until: float) -> None:
    """A value comes back, with the lease if it is under one."""
    item = Item(payload, expires_at, token, lease_until if token else 0.0)
    assert unpack_item(item.pack(), NOW) == item


@given(st.floats(NOW - 1e6, NOW + 1e6))
def test_lease_alone(lease_until: float) -> None:
    """A lease without a value comes back, also when it is over: its token is still to be known."""
    item = Item(token=TOKEN, lease_until=lease_until)
    assert unpack_item(item.pack(), NOW) == item


def test_value_that_is_over() -> None:
    """A value that is over is not given, its lease is."""
    assert unpack_item(Item(b"old", NOW).pack(), NOW) == Item()
    assert unpack_item(Item(b"old", NOW - 1, TOKEN, NOW + 1).pack(), NOW) == Item(token=TOKEN, lease_until=NOW + 1)


@given(st.binary(max_size=60))
def test_foreign(data: bytes) -> None:
    """Bytes that no store has written never raise, and bytes without one of the states are nothing."""
    item = unpack_item(data, NOW)
    if data[:1] not in {b"v", b"s", b"l"}:
        assert item == Item()


@given(
    st.binary(max_size=60)
    | st.builds(
        Item.pack,
        st.builds(Item, st.none() | st.binary(max_size=9), st.floats(), st.sampled_from([b"", TOKEN]), st.floats()),
    ),
    st.floats(allow_nan=False),
)
def test_quick_look(data: bytes, now: float) -> None:
    """The quick look at an item, which reads take, sees the value that the whole look sees."""
    assert payload_of(data, now) == unpack_item(data, now).payload


@pytest.mark.parametrize("size", range(34))
def test_truncated(size: int) -> None:
    """A head that is cut off is nothing, or a value whose time no clock has reached or all have."""
    assert unpack_item(Item(b"value", NOW + 1, TOKEN, NOW + 1).pack()[:size], NOW).payload != b"value"


@given(st.floats(1e-6, 30 * 24 * 3600 - 2))
def test_relative_exptime(seconds: float) -> None:
    """Up to 30 days an exptime is whole seconds from now, never fewer than wanted though the first one is not whole."""
    assert seconds + 1 <= exptime(seconds, NOW) < seconds + 2 + 1e-6


@given(st.floats(30 * 24 * 3600, 3e8))
def test_absolute_exptime(seconds: float) -> None:
    """Beyond 30 days an exptime is a moment since the epoch: a number of seconds would lie in 1970."""
    assert NOW + seconds + 1 <= exptime(seconds, NOW) < NOW + seconds + 2 + 1e-6


@pytest.mark.parametrize("seconds", [math.inf, 1e12, 2.0**31])
def test_never(seconds: float) -> None:
    """What ends later than Memcached can count does not end there."""
    assert exptime(seconds, NOW) == 0


@pytest.mark.parametrize("seconds", [0.0, -5.0])
def test_at_once(seconds: float) -> None:
    """What is over already is not kept for ever, which 0 would mean."""
    assert exptime(seconds, NOW) == 1
