"""The grpc-timeout field."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten.rpc.wire._timeout import decode_timeout, encode_timeout

_LARGEST_SECONDS = 99_999_999 * 3600.0


@pytest.mark.parametrize(
    ("seconds", "value"),
    [
        (5, b"5000m"),
        (0.1, b"100m"),
        (1.15, b"1150m"),  # 1.15 * 100 is 114.99999999999999
        (0.57, b"570m"),
        (4.98763, b"4980m"),
        (0.0123456, b"12300u"),
        (9.999, b"9990m"),
        (99.99, b"99900m"),
        (1000, b"1000S"),
        (86_400, b"86400S"),
        (99_999_999, b"99900000S"),
        (1e8, b"1660000M"),
        (6e9, b"1660000H"),
        (1e-9, b"1n"),
        (2.5e-9, b"2n"),
    ],
)
def test_encode(seconds: float, value: bytes) -> None:
    """A duration is three digits and zeros, rounded down, in the finest unit that has room."""
    assert encode_timeout(seconds) == value


@pytest.mark.parametrize("seconds", [0, -0.0, -1, -math.inf, math.nan])
def test_encode_nothing_left(seconds: float) -> None:
    """No time left, or no number, is a timeout that has expired already."""
    assert encode_timeout(seconds) == b"0n"


def test_encode_least() -> None:
    """Time too short to say is the shortest that has not expired."""
    assert encode_timeout(1e-12) == b"1n"


@pytest.mark.parametrize("seconds", [math.inf, 1e300, _LARGEST_SECONDS * 1.001])
def test_encode_largest(seconds: float) -> None:
    """What has no room is the longest time that can be said."""
    assert encode_timeout(seconds) == b"99999999H"


@given(st.floats(min_value=1e-7, max_value=_LARGEST_SECONDS))
def test_never_longer_and_hardly_shorter(seconds: float) -> None:
    """What the peer reads is never longer than asked, and shorter by under 1 % from 100 ns up."""
    read = decode_timeout(encode_timeout(seconds))
    assert 0.99 * seconds < read <= seconds


@given(st.floats(min_value=1e-9, max_value=1e-7))
def test_never_longer_below(seconds: float) -> None:
    """Below 100 ns it is whole nanoseconds, never longer than asked."""
    read = decode_timeout(encode_timeout(seconds))
    assert seconds - 1.01e-9 < read <= seconds


@given(st.floats())
def test_encode_is_well_formed(seconds: float) -> None:
    """Whatever is asked, the field has at most eight digits and a unit."""
    value = encode_timeout(seconds)
    assert value[:-1].isdigit()
    assert len(value) <= 9
    assert value[-1:] in b"HMSmun"


def test_few_values() -> None:
    """A thousand durations within a tenth of a second give few different fields, so that caches of peers hit."""
    fields = {encode_timeout(5 - count / 10_000) for count in range(1000)}
    assert len(fields) <= 12


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"1H", 3600.0),
        (b"2M", 120.0),
        (b"3S", 3.0),
        (b"250m", 0.25),
        (b"12345678u", 12.345678),
        (b"1n", 1e-9),
        (b"0n", 0.0),
        (b"007S", 7.0),
        (b"99999999H", _LARGEST_SECONDS),
    ],
)
def test_decode(value: bytes, seconds: float) -> None:
    """Digits and a unit are seconds."""
    assert decode_timeout(value) == seconds


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"S",
        b"1",
        b"1s",
        b"1x",
        b"-1S",
        b"+1S",
        b"1.5S",
        b" 1S",
        b"1S ",
        b"1 S",
        b"123456789S",
        "\u0661S".encode(),
        b"\xff",
    ],
)
def test_decode_refuses(value: bytes) -> None:
    """What has another form is refused with a message that names it."""
    with pytest.raises(ValueError, match=r"is not one to eight digits and a unit of HMSmun"):
        decode_timeout(value)


@given(st.binary(max_size=12))
def test_decode_anything(value: bytes) -> None:
    """Whatever comes is seconds or a ValueError."""
    try:
        assert decode_timeout(value) >= 0
    except ValueError:
        return
    assert value[:-1].isdigit()
