"""Pauses between attempts."""

import math
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten._core.errors import ConfigurationError
from hasten.resilience import RetryPolicy

SECONDS = st.floats(min_value=0.0, max_value=1e6)
POLICIES = st.builds(
    RetryPolicy,
    attempts=st.integers(1, 1000),
    first_backoff=SECONDS,
    longest_backoff=SECONDS,
    multiplier=st.floats(min_value=0.0, max_value=1e9),
    jitter=st.floats(min_value=0.0, max_value=1.0),
)


def middle() -> float:
    return 0.5


def test_the_pauses_of_grpc() -> None:
    """Without chance the pauses are gRFC A6's: min(initialBackoff * backoffMultiplier ** (n - 1), maxBackoff)."""
    policy = RetryPolicy(attempts=5, first_backoff=0.1, longest_backoff=1.0, multiplier=3.0)
    pauses = [policy.delay(attempt, middle) for attempt in range(1, 5)]
    assert pauses == pytest.approx([0.1, 0.3, 0.9, 1.0])


def test_jitter() -> None:
    """Chance spreads each pause evenly from 0.8 to 1.2 times itself, the longest too."""
    policy = RetryPolicy(first_backoff=1.0, longest_backoff=1.0)
    assert policy.delay(9, lambda: 0.0) == pytest.approx(0.8)
    assert policy.delay(9, lambda: 1.0 - 2**-53) == pytest.approx(1.2)
    random = Random(1)
    pauses = sorted(policy.delay(2, random.random) for _ in range(1000))
    assert pauses[250] == pytest.approx(0.9, abs=0.02)
    assert pauses[750] == pytest.approx(1.1, abs=0.02)


@given(POLICIES, st.integers(1, 10_000), st.floats(min_value=0.0, max_value=1.0, exclude_max=True))
def test_pauses_are_bounded(policy: RetryPolicy, attempt: int, chance: float) -> None:
    """Any pause lies between 0 and the longest one with its jitter, however many attempts there were."""
    pause = policy.delay(attempt, lambda: chance)
    assert 0.0 <= pause <= policy.longest_backoff * (1.0 + policy.jitter) * (1.0 + 1e-12)


@given(POLICIES, st.integers(1, 100))
def test_pauses_do_not_turn_back(policy: RetryPolicy, attempt: int) -> None:
    """From one retry to the next the pause grows, or shrinks where the multiplier is below 1, never the other way."""
    first, second = (policy.delay(number, middle) for number in (attempt, attempt + 1))
    assert second >= first if policy.multiplier >= 1.0 else second <= first


@pytest.mark.parametrize(
    "wrong",
    [
        {"attempts": 0},
        {"first_backoff": -0.1},
        {"longest_backoff": math.inf},
        {"multiplier": math.nan},
        {"multiplier": -1.0},
        {"jitter": 1.1},
        {"jitter": -0.1},
    ],
)
def test_wrong_policies(wrong: dict[str, Any]) -> None:
    """A policy that cannot be followed is refused by the name of its wrong value."""
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        RetryPolicy(**wrong)
