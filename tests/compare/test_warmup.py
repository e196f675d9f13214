import math
import random

import pytest

from hasten.compare._warmup import Warmup, association_p, drift, warms_up
from tests.compare.pairs import pairs_of

COLD = [1 + (2 / 3) ** number for number in range(15)]
"""Twice as slow at first, and a third of that less with each pair."""


def left_out(warmup: Warmup) -> int:
    """Return how many pairs are left out, once that is known."""
    assert warmup.settled
    return warmup.pairs


def test_pairs_of_a_warm_service_all_count() -> None:
    """Without a trend nothing is left out, and that is known after 15 pairs."""
    warmup = Warmup()
    pairs = pairs_of(15, noise=0.15)
    warmup.update(pairs[:14], math.inf)
    assert not warmup.settled
    warmup.update(pairs, math.inf)
    assert left_out(warmup) == 0


def test_pairs_of_a_cold_side_are_left_out() -> None:
    """A side that starts twice as slow costs the pairs in which that shows, the other side theirs with it."""
    warmup = Warmup()
    warmup.update(pairs_of(60, noise=0.05, cold=COLD), math.inf)
    assert 5 <= left_out(warmup) <= 15
    assert not warmup.in_vain


def test_both_sides_warming_up_alike_is_seen_too() -> None:
    """What goes out of the ratio still shows in each side: cold rounds are not what is asked about."""
    both = [
        (cold, again)
        for cold, again in zip(
            pairs_of(20, noise=0.05, cold=COLD), pairs_of(20, noise=0.05, cold=COLD, seed=2), strict=True
        )
    ]
    pairs = [type(cold)(cold.seed, cold.before_first, again.after, cold.after) for cold, again in both]
    assert warms_up(pairs[:15])


def test_no_more_is_left_out_than_allowed() -> None:
    """A service that gets faster for ever loses the allowed pairs and says that it was in vain."""
    warmup = Warmup()
    warmup.update(pairs_of(80, noise=0.01, cold=[2 - number / 80 for number in range(80)]), 12.0)
    assert left_out(warmup) == 12
    assert warmup.in_vain


def test_what_is_left_out_is_decided_once() -> None:
    """A trend that comes after the service has settled leaves out nothing more."""
    warmup = Warmup()
    pairs = pairs_of(20, noise=0.05)
    warmup.update(pairs, math.inf)
    warmup.update([*pairs, *pairs_of(40, noise=0.05, cold=COLD)], math.inf)
    assert left_out(warmup) == 0


def test_noise_is_seldom_taken_for_a_trend() -> None:
    """Of 300 windows of noise at most one in ten shows a warm-up."""
    assert sum(warms_up(pairs_of(15, noise=0.17, kinds=2, seed=seed)) for seed in range(300)) <= 30


def test_unknown_cpu_shows_no_trend() -> None:
    """Where CPU is not known, latency alone is looked at."""
    assert not warms_up(pairs_of(15, noise=0.05, cpu_known=False))
    assert warms_up(pairs_of(15, noise=0.05, cpu_known=False, cold=COLD))


def test_drift_apart_is_named() -> None:
    """A side that gets a percent slower with each pair is said to drift; two that stay as they are, are not."""
    creeping = [1.01**number for number in range(40)]
    assert drift(pairs_of(40, noise=0.05, cold=creeping)) == "latency"
    assert drift(pairs_of(40, noise=0.05)) == ""


@pytest.mark.parametrize("values", [[], [1.0], [math.nan] * 12])
def test_nothing_to_rank_has_no_trend(values: list[float]) -> None:
    """Values that cannot be ranked have p 1."""
    assert association_p(values, range(len(values))) == 1


def test_association_keeps_to_its_level() -> None:
    """Noise is called associated with falling weights in 1 of 100 windows, within three standard errors."""
    chance = random.Random(5)
    weights = [0.8**number for number in range(15)]
    found = sum(association_p([chance.random() for _ in weights], weights) < 0.01 for _ in range(3000))
    assert found <= 50
