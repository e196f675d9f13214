"""Pairs made up for tests of the judgement."""

import math
import random
from collections.abc import Sequence

from hasten.compare import KindRound, Pair, Round
from hasten.load import Problem

LATE = Problem("generator's lateness", "p99 12 ms of at most 5", "lower the rate or free a core")


def round_of(
    latencies: Sequence[float], *, cpu: float = 0.001, failed: int = 0, offered: int = 100, spoilt: bool = False
) -> Round:
    """Return a round whose kinds have these medians; p90 is twice, p99 four times as much."""
    kinds = (
        KindRound(f"kind {number}", offered, failed, p50, 2 * p50, 4 * p50) for number, p50 in enumerate(latencies, 1)
    )
    return Round(tuple(kinds), cpu, 0.0001, (LATE,) if spoilt else ())


def pairs_of(
    count: int,
    slower: float = 1.0,
    *,
    noise: float = 0.02,
    kinds: int = 1,
    seed: int = 1,
    cpu_known: bool = True,
    failed: tuple[int, int] = (0, 0),
    cold: Sequence[float] = (),
) -> list[Pair]:
    """Return pairs with normal noise in the logarithm of every figure.

    Args:
      slower: Factor from before to after.
      failed: Of 100 requests of each kind and round, before and after.
      cold: Factors of after's first rounds.
    """
    chance = random.Random(seed)

    def noisy(value: float) -> float:
        return value * math.exp(chance.gauss(0, noise / math.sqrt(2)))

    pairs = []
    for number in range(count):
        factor = slower * (cold[number] if number < len(cold) else 1.0)
        sides = [
            round_of(
                [noisy(0.002 * kind * times) for kind in range(1, kinds + 1)],
                cpu=noisy(0.001 * times) if cpu_known else math.nan,
                failed=failures,
            )
            for times, failures in zip((1.0, factor), failed, strict=True)
        ]
        pairs.append(Pair(number, chance.random() < 0.5, *sides))
    return pairs
