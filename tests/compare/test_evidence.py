import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten.compare._evidence import detectable, evidence
from hasten.compare._series import Series

positive = st.floats(1e-9, 1e6)


def ratios(before: list[float], after: list[float]) -> Series:
    """Return a series of latencies."""
    return Series((0, "p50"), "kind", tuple(before), tuple(after), (), 1.0, counts=True)


def failures(before: list[int], after: list[int], offered: int = 100) -> Series:
    """Return a series of failures of so many requests a round."""
    rounds = tuple(float(offered) for _ in before)
    return Series((0, "errors"), "kind", tuple(map(float, before)), tuple(map(float, after)), rounds, 1.0, counts=True)


def test_smallest_change_is_that_of_the_noise() -> None:
    """With 60 pairs of 12 % normal noise a change of 4.4 % is found four times of five at 5 %: (1.96 + 0.84) errors."""
    chance = random.Random(4)
    found = [
        detectable(evidence(ratios([1.0] * 60, [math.exp(chance.gauss(0, 0.12)) for _ in range(60)]), 0.05), 0.05)
        for _ in range(40)
    ]
    expected = (1.96 + 0.8416) * 0.12 * math.sqrt(math.pi / 3 / 60)
    assert sum(found) / 40 == pytest.approx(expected, rel=0.05)


@given(st.lists(st.tuples(positive, positive), min_size=1, max_size=30), st.integers(-20, 20))
def test_units_do_not_matter(pairs: list[tuple[float, float]], power: int) -> None:
    """Milliseconds say the same as seconds: both sides times a factor leave change and interval as they are."""
    before, after = [one for one, _ in pairs], [other for _, other in pairs]
    unit = 2.0**power
    plain = evidence(ratios(before, after), 0.05)
    scaled = evidence(ratios([one * unit for one in before], [other * unit for other in after]), 0.05)
    assert scaled.estimate == pytest.approx(plain.estimate, abs=1e-9)
    assert scaled.interval(0.05) == pytest.approx(plain.interval(0.05), abs=1e-9)


def test_no_failure_bounds_the_share_by_three_of_all() -> None:
    """None of 3,000 requests failing leaves 0.1 % open, at 95 %."""
    found = evidence(failures([0] * 30, [0] * 30), 0.05)
    assert found.p == 1
    assert found.interval(0.05) == pytest.approx((-0.001, 0.001), rel=0.01)


def test_failures_are_shares_of_what_was_offered() -> None:
    """Two more of a hundred are two points more, with the spread of the pairs."""
    found = evidence(failures([1] * 20, [2, 4] * 10), 0.05)
    assert found.values == pytest.approx((0.01, 0.03))
    assert found.estimate == pytest.approx(0.02)
    low, high = found.interval(0.05)
    assert 0.015 < low < 0.02 < high < 0.025
    assert found.p == 2 / 2**20


@pytest.mark.parametrize("after", [[math.inf] * 8, [math.inf] * 5 + [1.0] * 3])
def test_mostly_unanswered_is_infinitely_slower(after: list[float]) -> None:
    """Where most pairs were not answered after, the change is infinite and what could be seen unknown."""
    found = evidence(ratios([1.0] * 8, after), 0.05)
    assert found.express(found.estimate) == math.inf
    assert detectable(found, 0.05) == math.inf


def test_mended_is_as_good_as_it_gets() -> None:
    """Where nothing was answered before, the change is -100 %."""
    found = evidence(ratios([math.inf] * 8, [1.0] * 8), 0.05)
    assert found.express(found.estimate) == -1
    assert found.p == 2 / 2**8


def test_hardly_anything_is_infinite_in_percent() -> None:
    """A factor beyond what a float can tell as a percentage is infinite and no error."""
    found = evidence(ratios([1e-300], [1e300]), 0.05)
    assert found.express(found.estimate) == math.inf
