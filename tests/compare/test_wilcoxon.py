import itertools
import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten.compare._wilcoxon import outer_rank, sign_flip_p, signed_rank_p

DARWIN = [6.0, 8, 14, 16, 23, 24, 28, 29, 41, -48, 49, 56, 60, -67, 75]
"""Heights of cross-fertilised maize less those of self-fertilised, eighths of an inch (Fisher, 1935)."""

differences_of = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=9)
any_differences = st.lists(st.floats(-10, 10), min_size=1, max_size=60)


def enumerated_p(differences: Sequence[float], weights: Sequence[float]) -> float:
    """Return the two-sided p by trying all signs."""
    kept = [(weight, difference) for weight, difference in zip(weights, differences, strict=True) if difference]
    centre = sum(weight for weight, _ in kept) / 2
    seen = abs(sum(weight for weight, difference in kept if difference > 0) - centre)
    sums = [
        sum(weight for (weight, _), sign in zip(kept, signs, strict=True) if sign)
        for signs in itertools.product((False, True), repeat=len(kept))
    ]
    return sum(abs(one - centre) >= seen - 1e-9 for one in sums) / len(sums)


def mid_ranks(differences: Sequence[float]) -> list[float]:
    """Return ranks of the sizes, the mean of their places for equal ones."""
    sizes = [abs(difference) for difference in differences]
    return [sum(other < size for other in sizes) + (sum(other == size for other in sizes) + 1) / 2 for size in sizes]


def test_signed_rank_of_darwins_maize() -> None:
    """The exact two-sided p is that of the published example (scipy.stats.wilcoxon: statistic 24, p 0.0413)."""
    assert signed_rank_p(DARWIN) == pytest.approx(0.041259765625, abs=1e-12)


@given(differences_of)
def test_signed_rank_counts_all_signs(differences: list[float]) -> None:
    """With ties and zeros too, p is the share of all 2^n signs whose rank sum is as far from its mean."""
    assert signed_rank_p(differences) == pytest.approx(enumerated_p(differences, mid_ranks(differences)))


@given(st.lists(st.integers(-9, 9), min_size=1, max_size=9))
def test_sign_flip_counts_all_signs(differences: list[int]) -> None:
    """The p of a sum is the share of all 2^n signs whose sum is as far from zero."""
    weights = [abs(difference) for difference in differences]
    assert sign_flip_p(differences) == pytest.approx(enumerated_p(differences, weights))


@given(any_differences)
def test_signed_rank_is_the_same_with_sides_swapped(differences: list[float]) -> None:
    """Which side is called before does not matter."""
    assert signed_rank_p(differences) == signed_rank_p([-difference for difference in differences])


@given(any_differences, st.integers(-3, 3))
def test_signed_rank_does_not_depend_on_the_scale(differences: list[float], power: int) -> None:
    """Differences twice as large, all of them, have the same p: a power of two keeps every tie."""
    scaled = [difference * 2.0**power for difference in differences]
    if all(bool(one) == bool(other) for one, other in zip(differences, scaled, strict=True)):  # none was rounded to 0
        assert signed_rank_p(differences) == signed_rank_p(scaled)


@given(st.lists(st.integers(1, 1000), min_size=2, max_size=45, unique=True), st.data())
def test_more_on_one_side_is_never_less_sure(sizes: list[int], data: st.DataObject) -> None:
    """Turning one of the fewer negative differences positive does not raise p."""
    negative = data.draw(st.integers(1, max(1, len(sizes) // 4)))
    ordered = sorted(sizes)
    differences = [float(-size) if index < negative else float(size) for index, size in enumerate(ordered)]
    turned = [abs(differences[0]), *differences[1:]]
    assert signed_rank_p(turned) <= signed_rank_p(differences) + 1e-12


@pytest.mark.parametrize("pairs", [6, 8, 20])
def test_all_on_one_side_is_as_sure_as_coins_allow(pairs: int) -> None:
    """If all n pairs agree, p is 2 / 2^n, infinite ones or not."""
    assert signed_rank_p([float(index) for index in range(1, pairs + 1)]) == 2 / 2**pairs
    assert signed_rank_p([math.inf] * 3 + [1.0] * (pairs - 3)) == 2 / 2**pairs


def test_infinite_is_the_highest_rank() -> None:
    """A pair that was not answered on one side counts as the largest difference, not as more than that."""
    assert signed_rank_p([1.0, 2.0, 3.0, -math.inf]) == signed_rank_p([1.0, 2.0, 3.0, -4.0])


def test_no_difference_at_all_proves_nothing() -> None:
    """Zeros alone, or nothing, have p 1."""
    assert signed_rank_p([0.0] * 30) == signed_rank_p([]) == sign_flip_p([0, 0]) == sign_flip_p([]) == 1


@pytest.mark.parametrize("shift", [0.0, 0.2, 0.5])
def test_normal_distribution_joins_the_exact_one(shift: float) -> None:
    """From 50 pairs, the last exact ones, to 51 p does not jump: the same pattern, less than a fifth apart."""
    pattern = [math.sin(index * 7.3) + shift for index in range(51)]
    exact, normal = signed_rank_p(pattern[:50]), signed_rank_p(pattern)
    assert normal == pytest.approx(exact, rel=0.35)


def test_many_failures_are_judged_in_bounded_time() -> None:
    """A million failures a pair fall back to the normal distribution: the counts would take all memory."""
    assert sign_flip_p([1_000_000, -999_999, 1_000_001]) > 0.5
    assert sign_flip_p([1_000_000 + index for index in range(30)]) < 1e-6


@pytest.mark.parametrize(
    ("pairs", "alpha", "rank"),
    [(5, 0.05, 0), (6, 0.05, 1), (8, 0.05, 4), (10, 0.05, 9), (20, 0.05, 53), (10, 0.01, 4), (25, 0.05, 90)],
)
def test_outer_ranks_are_those_of_the_tables(pairs: int, alpha: float, rank: int) -> None:
    """The bounds lie one beyond the critical value of Wilcoxon's tables; below six pairs there are none at 95 %."""
    assert outer_rank(pairs, alpha) == rank


def test_outer_rank_at_no_level() -> None:
    """A level of 0 leaves everything open."""
    assert outer_rank(20, 0.0) == outer_rank(100, 0.0) == 0
