"""How a profile is to be made: what is asked for is checked once, for the command line and the admin port alike."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten._core.errors import ConfigurationError
from hasten.profiling import CaptureOptions, parse_options


def test_a_query_says_all() -> None:
    """Numbers, flags and names of a URL's query become options."""
    options = parse_options({"engine": ["py-spy"], "seconds": ["2.5"], "rate": ["200"], "native": ["1"]})
    assert options == CaptureOptions(engine="py-spy", clock="cpu", seconds=2.5, rate=200, native=True)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"engine": ["perf"]}, "engine"),
        ({"seconds": ["0"]}, "seconds: 0 is not from 0.1 to 300"),
        ({"seconds": ["nan"]}, "seconds: nan is not from 0.1 to 300"),
        ({"seconds": ["ten"]}, "seconds"),
        ({"seconds": ["1", "2"]}, "seconds: given more than once"),
        ({"rate": ["1001"]}, "rate: 1001 is not from 1 to 1000 a second"),
        ({"clock": ["cpu"]}, "clock: ledger has no cpu clock to choose; it tells CPU time apart by itself"),
        ({"native": ["true"]}, "native: ledger does not know it; it is py-spy's"),
        ({"engine": ["py-spy"], "endpoint": ["GET /"]}, "endpoint: py-spy does not know endpoints"),
        ({"colour": ["red"]}, "colour: unknown; there is engine, seconds, clock"),
    ],
)
def test_what_is_wrong_is_named(query: dict[str, list[str]], said: str) -> None:
    """An option that is unknown, out of bounds or another engine's is named, in one line."""
    with pytest.raises(ConfigurationError) as caught:
        parse_options(query)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.dictionaries(st.sampled_from((*CaptureOptions.__struct_fields__, "other")), st.lists(st.text())))
def test_no_query_breaks_it(query: dict[str, Any]) -> None:
    """Whatever a query holds, it is an option, or the error that says so."""
    with contextlib.suppress(ConfigurationError):
        parse_options(query).checked()
