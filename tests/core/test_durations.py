"""Durations as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten._core.durations import format_duration, parse_duration
from hasten._core.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("812us", 812e-6),
        ("200ms", 0.2),
        ("0ms", 0.0),
        ("1.5s", 1.5),
        ("2m", 120.0),
        ("1h", 3600.0),
        (" 3s ", 3.0),
    ],
)
def test_parse(text: str, seconds: float) -> None:
    """A number and a unit are seconds; spaces around them do not matter."""
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "3", "s", "-1s", "1 s", "1e3ms", "3min", "1s2ms", "٣s", "inf"])
def test_parse_refuses(text: str) -> None:
    """What has another form is refused with one line that names the place, the text and the right form."""
    with pytest.raises(ConfigurationError) as caught:
        parse_duration(text, "--timeout")
    assert str(caught.value) == f"--timeout: {text!r} is no duration; write it like 200ms, 30s or 2m"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.00 µs"),
        (812e-6, "812 µs"),
        (0.0412, "41.2 ms"),
        (1.53, "1.53 s"),
        (153.0, "153 s"),
        (0.9999, "1.00 s"),
        (999.7e-6, "1.00 ms"),
    ],
)
def test_format(seconds: float, text: str) -> None:
    """Three figures in the unit a reader expects, also where rounding reaches the next unit."""
    assert format_duration(seconds) == text


@given(st.floats(min_value=1e-6, max_value=3600.0))
def test_formatted_duration_reads_back(seconds: float) -> None:
    """What is printed says the duration to 0.5 %."""
    text = format_duration(seconds).replace(" ", "").replace("µ", "u")
    assert parse_duration(text) == pytest.approx(seconds, rel=0.0051)
