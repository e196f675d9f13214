"""Objectives are judged by what was measured, and never called broken for what chance may explain."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten.compare.gate import ALL, EACH, Measured, Objective, Outcome, judge
from hasten.compare.gate._objectives import quantile_interval, share_interval


def measured(count: int, failed: int = 0) -> Measured:
    """Latencies of 1 to `count` ms, the last of them failures."""
    latencies = [(number + 1) / 1000 for number in range(count - failed)] + [math.inf] * failed
    return Measured(latencies, failed, cpu=0.002)


@pytest.mark.parametrize(
    ("objective", "outcome"),
    [
        (Objective("a", "p50", 0.6), Outcome.HOLDS),
        (Objective("a", "p50", 0.5), Outcome.HOLDS),
        (Objective("a", "p50", 0.49), Outcome.UNDECIDED),
        (Objective("a", "p50", 0.3), Outcome.BROKEN),
        (Objective("a", "p99", 60.0), Outcome.BROKEN),  # 2 % have failed: they are infinitely slow
        (Objective("a", "errors", 0.02), Outcome.HOLDS),
        (Objective("a", "errors", 0.015), Outcome.UNDECIDED),
        (Objective("a", "errors", 0.001), Outcome.BROKEN),
        (Objective(ALL, "cpu", 0.002), Outcome.HOLDS),
        (Objective(ALL, "cpu", 0.0019), Outcome.BROKEN),
    ],
)
def test_a_limit(objective: Objective, outcome: Outcome) -> None:
    """A figure at or below its limit holds; above it, it is broken where its whole interval is."""
    (judged,) = judge([objective], {"a": measured(1000, failed=20), ALL: measured(1000, failed=20)})
    assert judged.outcome is outcome


def test_failures_are_infinitely_slow() -> None:
    """A p99 that one of a hundred has failed within is as slow as the slowest that was answered."""
    (judged,) = judge([Objective("a", "p99", 0.99)], {"a": measured(1000, failed=10)})
    assert judged.measured == pytest.approx(0.99)
    assert judged.outcome is Outcome.HOLDS
    assert judged.high == math.inf


def test_each_kind_has_its_own() -> None:
    """A limit for every kind is judged kind by kind, and not for all of them together."""
    judged = judge([Objective(EACH, "p50", 0.01)], {"a": measured(10), "b": measured(1000), ALL: measured(1010)})
    assert [(one.kind, one.outcome) for one in judged] == [("a", Outcome.HOLDS), ("b", Outcome.BROKEN)]


def test_nothing_measured_is_undecided() -> None:
    """A kind that was never asked for, and CPU time that is not known, keep no limit and break none."""
    nothing = Measured([], 0)
    judged = judge(
        [Objective("a", "p99", 1.0), Objective("a", "errors", 0.5), Objective(ALL, "cpu", 1.0)],
        {"a": nothing, ALL: nothing},
    )
    assert {one.outcome for one in judged} == {Outcome.UNDECIDED}


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_intervals_hold_what_they_promise(share: float) -> None:
    """Of 1,000 samples at least 93 of 100 have the true quantile within their interval."""
    source = random.Random(f"gate {share}")
    true = -math.log(1.0 - share)
    within = 0
    for _ in range(1000):
        sample = sorted(source.expovariate(1.0) for _ in range(600))
        _, low, high = quantile_interval(sample, share)
        within += low <= true <= high
    assert within >= 930


@given(st.integers(1, 2000), st.integers(0, 2000))
def test_shares_lie_within_their_interval(count: int, hits: int) -> None:
    """Wilson's interval is from 0 to 1 and holds the share."""
    share, low, high = share_interval(min(hits, count), count)
    assert 0.0 <= low <= share + 1e-12
    assert share - 1e-12 <= high <= 1.0
