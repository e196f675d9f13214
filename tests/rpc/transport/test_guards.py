"""Token buckets and PING strikes, by a clock that the test moves."""

import math
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten.rpc.transport._guards import PingStrikes, ResetBudget, TokenBucket


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_and_a_rate() -> None:
    """A full bucket gives its burst at once, then as many a second as the rate says."""
    clock = Clock()
    bucket = TokenBucket(3, 2.0, clock)
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
    clock.now += 1.0
    assert [bucket.take() for _ in range(2)] == [True, False]


def test_a_bucket_fills_up_to_its_burst() -> None:
    """However long nothing is taken, no more than the burst is there."""
    clock = Clock()
    bucket = TokenBucket(3, 2.0, clock)
    clock.now += 1e9
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]


def test_how_long_a_debt_lasts() -> None:
    """What was taken beyond the tokens is paid at the rate, while time passes."""
    clock = Clock()
    bucket = TokenBucket(10, 5.0, clock)
    assert bucket.seconds_until_positive() == 0.0
    assert not bucket.take(30)
    assert bucket.seconds_until_positive() == 4.0
    clock.now += 3.0
    assert bucket.seconds_until_positive() == 1.0
    clock.now += 1.0
    assert bucket.seconds_until_positive() == 0.0


def test_a_debt_without_a_rate() -> None:
    """Without a rate a debt is never paid."""
    bucket = TokenBucket(0, 0.0, Clock())
    assert not bucket.take()
    assert bucket.seconds_until_positive() == math.inf


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 100)), max_size=50))
def test_no_more_than_burst_and_rate(steps: list[tuple[float, float]]) -> None:
    """Whatever comes when, what is given in all is at most the burst and the rate's share of the time."""
    clock = Clock()
    bucket = TokenBucket(20, 7.0, clock)
    given_tokens = 0.0
    for seconds, count in steps:
        clock.now += seconds
        if bucket.take(count):
            given_tokens += count
    assert given_tokens <= 20 + 7.0 * (clock.now - 100.0) + 1e-6


def test_pings_at_the_interval() -> None:
    """PINGs that keep the interval are no strikes."""
    clock = Clock()
    strikes = PingStrikes(0, 10.0, clock)
    for _ in range(100):
        assert not strikes.strike(0)
        clock.now += 10.0


@pytest.mark.parametrize("most", [0, 1, 2])
def test_early_pings(most: int) -> None:
    """The first PING is free, as many early ones as allowed too; one more is too many."""
    clock = Clock()
    strikes = PingStrikes(most, 10.0, clock)
    assert [strikes.strike(0) for _ in range(most + 2)] == [False] * (most + 1) + [True]


def test_a_ping_in_time_forgives() -> None:
    """A PING that keeps the interval forgives the early ones before it."""
    clock = Clock()
    strikes = PingStrikes(2, 10.0, clock)
    for _ in range(20):
        assert [strikes.strike(0) for _ in range(3)] == [False] * 3
        clock.now += 10.0


def test_data_forgives() -> None:
    """Data of ours between two PINGs forgives the early ones, since peers measure their bandwidth with them."""
    strikes = PingStrikes(0, 10.0, Clock())
    assert not any(strikes.strike(sent_bytes) for sent_bytes in range(100))
    assert strikes.strike(99)


@given(st.lists(st.integers(0, 20), max_size=50), st.integers(0, 10))
def test_resets_are_paid_by_what_is_not_reset(opens: list[int], burst: int) -> None:
    """Whatever order streams are opened and reset in, no more are reset than the burst and the most that were kept."""
    budget = ResetBudget(burst, 0.0, Clock())
    most_kept = 0
    for resets, opened in enumerate(accumulate(opens), 1):
        if not budget.take(opened):
            break
        most_kept = max(most_kept, opened - resets)
        assert resets <= burst + most_kept


def test_who_resets_every_other_stream() -> None:
    """As many streams as are kept may be reset, for ever."""
    budget = ResetBudget(1, 0.0, Clock())
    assert all(budget.take(opened) for opened in range(2, 20_000, 2))
