import itertools
import math
import random
from collections.abc import Sequence
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten.compare import _walsh
from hasten.compare._walsh import WalshAverages
from hasten.compare._wilcoxon import outer_rank, signed_rank_p

finite = st.lists(st.floats(-10, 10), min_size=1, max_size=40)
with_infinite = st.lists(st.floats(-10, 10) | st.just(math.inf) | st.just(-math.inf), min_size=1, max_size=30)


def averages_of(differences: Sequence[float]) -> list[float]:
    """Return all of them, in order, made the plain way."""
    pairs = itertools.combinations_with_replacement(differences, 2)
    return sorted(0.0 if math.isnan(one + other) else (one + other) / 2 for one, other in pairs)


def test_estimate_and_interval_of_a_published_example() -> None:
    """Depression factors of nine patients: -0.46, and -0.786 to -0.010 (Hollander and Wolfe, example 3.1)."""
    before = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
    after = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]
    averages = WalshAverages([later - earlier for earlier, later in zip(before, after, strict=True)])
    assert averages.median() == pytest.approx(-0.46, abs=0.001)
    assert averages.interval(0.0391) == pytest.approx((-0.786, -0.010), abs=0.001)  # 96 %: 1 - 0.039


@given(with_infinite)
def test_quantiles_are_those_of_all_averages(differences: list[float]) -> None:
    """The estimate is the median of all averages, the bounds are the ones that the tables name; inf is kept."""
    averages, made = WalshAverages(differences), averages_of(differences)
    middle = median(made)
    assert averages.median() == pytest.approx(0.0 if math.isnan(middle) else middle)
    rank = outer_rank(len(differences), 0.05)
    if rank:
        assert averages.interval(0.05) == pytest.approx((made[rank - 1], made[-rank]))


@given(with_infinite)
def test_looking_for_averages_finds_those_that_are_made(differences: list[float]) -> None:
    """What is done for many pairs gives the same as what is done for few."""
    made = WalshAverages(differences)
    sought = WalshAverages(differences)
    sought._averages = None
    assert sought.median() == pytest.approx(made.median(), abs=1e-6)
    assert sought.interval(0.1) == pytest.approx(made.interval(0.1), abs=1e-6)


def test_many_pairs_are_not_all_averaged() -> None:
    """Beyond 150 pairs no list of averages is kept, and the estimate is right to a thousandth of the noise."""
    chance = random.Random(3)
    averages = WalshAverages([chance.gauss(0.05, 0.1) for _ in range(3000)])
    assert averages._averages is None
    low, high = averages.interval(0.05)
    assert low < averages.median() < high
    assert averages.median() == pytest.approx(0.05, abs=0.01)


@given(finite)
def test_interval_is_mirrored_with_sides_swapped(differences: list[float]) -> None:
    """Which side is called before only turns the signs."""
    one, other = WalshAverages(differences), WalshAverages([-difference for difference in differences])
    low, high = one.interval(0.05)
    assert other.interval(0.05) == pytest.approx((-high, -low))
    assert other.median() == pytest.approx(-one.median())


@given(finite, st.floats(-5, 5))
def test_estimate_moves_with_the_differences(differences: list[float], shift: float) -> None:
    """What is added to all differences is added to the estimate."""
    moved = WalshAverages([difference + shift for difference in differences])
    assert moved.median() == pytest.approx(WalshAverages(differences).median() + shift, abs=1e-6)


@given(st.lists(st.integers(-1000, 1000), min_size=6, max_size=45, unique_by=abs).filter(lambda drawn: 0 not in drawn))
def test_interval_and_test_agree(differences: list[int]) -> None:
    """The 95 % interval leaves out 0 just when p is at most 5 %."""
    values = [difference + 1e-4 * math.sin(difference) for difference in differences]  # no two averages alike
    low, high = WalshAverages(values).interval(0.05)
    assert (low > 0 or high < 0) == (signed_rank_p(values) <= 0.05)


def test_an_outlier_moves_the_estimate_little() -> None:
    """A pair in which a neighbour took the machine away is one vote among many, infinite or not."""
    steady = [0.05 + 0.001 * index for index in range(-10, 11)]
    assert WalshAverages([*steady, 3.0]).median() == pytest.approx(0.05, abs=0.002)
    assert WalshAverages([*steady, math.inf]).median() == pytest.approx(0.05, abs=0.002)


@pytest.mark.parametrize("pairs", [1, 5])
def test_few_pairs_bound_nothing(pairs: int) -> None:
    """With fewer than six pairs no 95 % interval is finite."""
    assert WalshAverages([1.0] * pairs).interval(0.05) == (-math.inf, math.inf)
    assert _walsh._KEPT >= 6
