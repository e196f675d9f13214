import math
import random
from statistics import NormalDist

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hasten.compare._looks import Look, Spending, nominal_level


def pocock_like(alpha: float, spent: float) -> float:
    """Return the spending that Lan and DeMets give for bounds that hardly change."""
    return alpha * math.log(1 + (math.e - 1) * spent)


def obrien_fleming_like(alpha: float, spent: float) -> float:
    """Return the spending that Lan and DeMets give, for each side half of alpha, for bounds that fall."""
    bound = NormalDist().inv_cdf(1 - alpha / 4)
    return 4 * (1 - NormalDist().cdf(bound / math.sqrt(spent)))


def bounds(spend: Spending, looks: int, alpha: float = 0.05) -> list[float]:
    """Return the bounds at looks after equal steps, in standard deviations."""
    times = [Look(20 * number, number / looks) for number in range(1, looks + 1)]
    levels = [nominal_level(alpha, tuple(times[:number]), spend) for number in range(1, looks + 1)]
    return [NormalDist().inv_cdf(1 - found / 2) for found in levels]


def test_bounds_are_those_of_the_published_tables() -> None:
    """Five looks at 5 %: the bounds of Lan and DeMets' two spending functions, as programs for trials print them."""
    assert bounds(pocock_like, 5) == pytest.approx([2.4380, 2.4268, 2.4101, 2.3966, 2.3859], abs=0.0005)
    assert bounds(obrien_fleming_like, 5) == pytest.approx([4.8769, 3.3569, 2.6803, 2.2898, 2.0310], abs=0.0005)


def test_one_look_at_the_end_is_the_plain_test() -> None:
    """Who looks once, when all is spent, has all of alpha."""
    assert nominal_level(0.05, (Look(40, 1.0),)) == pytest.approx(0.05)


def test_early_looks_are_strict_and_the_last_is_nearly_plain() -> None:
    """With looks at every fifth of the budget, the first allows 0.04 % and the last keeps more than 3.8 of 5 %."""
    looks = tuple(Look(20 * number, number / 5) for number in range(1, 6))
    assert nominal_level(0.05, looks[:1]) == pytest.approx(0.0004)
    assert 0.038 < nominal_level(0.05, looks) < 0.05


def test_nothing_spent_allows_nothing() -> None:
    """A look before any of the budget is gone finds nothing, and one after it that spends no more neither."""
    assert nominal_level(0.05, (Look(10, 0.0),)) == 0
    assert nominal_level(0.05, (Look(10, 0.5), Look(20, 0.5))) == 0


@pytest.mark.parametrize("looks", [3, 30])
def test_all_looks_together_keep_to_alpha(looks: int) -> None:
    """A random walk without drift crosses at any of the looks in 5 of 100 cases, however many looks there are."""
    chance = random.Random(11)
    times = [Look(8 * number, number / looks) for number in range(1, looks + 1)]
    levels = [nominal_level(0.05, tuple(times[:number])) for number in range(1, looks + 1)]
    tries, crossed = 4000, 0
    for _ in range(tries):
        walk = 0.0
        for number, allowed in enumerate(levels, 1):
            walk += chance.gauss(0, math.sqrt(8))
            if math.erfc(abs(walk) / math.sqrt(2 * 8 * number)) <= allowed:
                crossed += 1
                break
    assert 0.038 < crossed / tries < 0.062  # 3.5 standard errors


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(1, 60), st.floats(0, 0.3)), min_size=1, max_size=12), st.floats(1e-6, 0.2))
def test_a_stricter_test_is_stricter_at_every_look(steps: list[tuple[int, float]], alpha: float) -> None:
    """Whatever the looks, levels lie between 0 and alpha, and rise with alpha: Holm's procedure needs it."""
    looks: tuple[Look, ...] = ()
    for pairs, spent in steps:
        last = looks[-1] if looks else Look(0, 0.0)
        looks = (*looks, Look(last.pairs + pairs, min(1.0, last.spent + spent)))
        found = nominal_level(alpha, looks)
        assert 0 <= found <= alpha * 1.0001
        assert nominal_level(alpha / 2, looks) <= found + 1e-9


@pytest.mark.parametrize("pairs", [60, 300])
def test_a_look_right_after_another_has_what_is_left(pairs: int) -> None:
    """A last look one pair after the one before is nearly the same look: together they keep to alpha, and use it."""
    chance = random.Random(2)
    looks = (Look(pairs // 2, 0.5), Look(pairs - 1, 0.9), Look(pairs, 1.0))
    levels = [nominal_level(0.2, looks[:number]) for number in (1, 2, 3)]
    tries, crossed = 4000, 0
    for _ in range(tries):
        walk, seen = 0.0, 0
        for look, allowed in zip(looks, levels, strict=True):
            walk += chance.gauss(0, math.sqrt(look.pairs - seen))
            seen = look.pairs
            if math.erfc(abs(walk) / math.sqrt(2 * seen)) <= allowed:
                crossed += 1
                break
    assert 0.178 < crossed / tries < 0.222  # 3.5 standard errors
