"""gRPC's retryThrottling."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten._core.errors import ConfigurationError
from hasten.resilience import Throttle


def test_the_example_of_grpc() -> None:
    """With 10 tokens the fifth failure stops retries, and 0.1 a success takes one success to allow them again."""
    throttle = Throttle(10, 0.1)
    for _ in range(4):
        throttle.on_failure()
        assert throttle.allowed()
    throttle.on_failure()
    assert not throttle.allowed()
    throttle.on_success()
    assert throttle.allowed()


def test_all_fail() -> None:
    """After a long outage it takes just over half of the tokens in successes until retries are allowed."""
    throttle = Throttle(10, 0.1)
    for _ in range(1000):
        throttle.on_failure()
    for _ in range(50):
        throttle.on_success()
        assert not throttle.allowed()
    throttle.on_success()
    assert throttle.allowed()


@given(st.integers(1, 1000), st.integers(1, 3000), st.lists(st.booleans(), max_size=300))
def test_against_the_definition(maximum: int, thousandths: int, outcomes: list[bool]) -> None:
    """Over any history it allows what gRFC A6's token_count, counted exactly, is above half of maxTokens for."""
    throttle = Throttle(maximum, thousandths / 1000)
    tokens = Fraction(maximum)
    for succeeded in outcomes:
        if succeeded:
            throttle.on_success()
            tokens = min(tokens + Fraction(thousandths, 1000), Fraction(maximum))
        else:
            throttle.on_failure()
            tokens = max(tokens - 1, Fraction(0))
        assert throttle.allowed() == (tokens > Fraction(maximum, 2))


@pytest.mark.parametrize(("tokens", "ratio"), [(0, 0.1), (-1, 0.1), (10, 0.0), (10, 0.0009), (10, math.nan)])
def test_wrong_throttles(tokens: int, ratio: float) -> None:
    """Values that gRFC A6 does not allow are refused."""
    with pytest.raises(ConfigurationError, match="Throttle"):
        Throttle(tokens, ratio)
