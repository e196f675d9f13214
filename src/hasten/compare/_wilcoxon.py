"""Paired tests that ask little of the noise: by ranks and by signs. Pure; standard library only.

If two versions are the same, which of the two rounds of a pair came out slower was a coin's toss, whatever the
machine was doing: given the sizes of the differences, all 2^n signs are equally likely. Every test here counts in
how many of them the result would be as extreme; what the noise looks like does not matter, nor that it lasts.

Infinite differences (nothing was answered on one side) are the largest ranks. NaN is the caller's to leave out.

Source: Wilcoxon, "Individual comparisons by ranking methods", 1945; Pratt, "Remarks on zeros and ties in the Wilcoxon
signed rank procedures", 1959; for the signs Fisher, "The design of experiments", 1935, section 21.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, groupby
from statistics import NormalDist

_EXACT_PAIRS = 50
_EXACT_SUM = 20_000  # a count of that many failures takes 50 x 20,000 additions, 40 ms


def signed_rank_p(differences: Sequence[float]) -> float:
    """Return the two-sided p of the Wilcoxon signed-rank test; 1 for no difference at all.

    Zeros are ranked and then left out (Pratt): a pair without a difference speaks for there being none. Equal sizes
    share their ranks. Exact for up to 50 pairs, ties or not; beyond that by the normal distribution with the variance
    of the very ranks, which is the correction for ties.
    """
    ranks = _doubled_ranks([abs(difference) for difference in differences])
    weights = [rank for rank, difference in zip(ranks, differences, strict=True) if difference]
    positive = sum(rank for rank, difference in zip(ranks, differences, strict=True) if difference > 0)
    return _two_sided(weights, positive)


def sign_flip_p(differences: Sequence[int]) -> float:
    """Return the two-sided p of the sum of whole differences among all choices of their signs; 1 if all are zero.

    Exact for up to 50 pairs that differ and a total of 20,000, else by the normal distribution.
    """
    weights = [abs(difference) for difference in differences if difference]
    return _two_sided(weights, sum(difference for difference in differences if difference > 0))


def _doubled_ranks(sizes: Sequence[float]) -> list[int]:
    """Return twice the rank of each, whole numbers also where equal sizes share the mean of their ranks."""
    ranks = [0] * len(sizes)
    below = 0
    for _, group in groupby(sorted(range(len(sizes)), key=sizes.__getitem__), key=sizes.__getitem__):
        equal = list(group)
        for index in equal:
            ranks[index] = 2 * below + len(equal) + 1
        below += len(equal)
    return ranks


def _two_sided(weights: Sequence[int], positive: int) -> float:
    """Return how likely random signs of the weights give a sum of the positive ones as far from its mean."""
    total = sum(weights)
    if not total:
        return 1.0
    smaller = min(positive, total - positive)
    if len(weights) > _EXACT_PAIRS or total > _EXACT_SUM:
        deviation = math.sqrt(sum(weight * weight for weight in weights)) / 2
        return math.erfc((total / 2 - smaller) / deviation / math.sqrt(2))
    ways = _cumulated(tuple(sorted(weights)))
    return min(1.0, 2 * ways[smaller] / ways[-1])


@lru_cache(maxsize=64)
def _cumulated(weights: tuple[int, ...]) -> tuple[int, ...]:
    """Return for each sum how many of the 2^n choices of weights add up to it or less. Cached: ties are rare."""
    ways = [1]
    for weight in weights:
        extended = ways + [0] * weight
        for total, count in enumerate(ways, weight):
            extended[total] += count
        ways = extended
    return tuple(accumulate(ways))


@lru_cache(maxsize=1024)
def outer_rank(pairs: int, alpha: float) -> int:
    """Return which Walsh average, counted from either end, bounds the interval of level 1 - alpha; 0 if none does.

    It is the largest rank sum that is too small at that level, and one: exact for up to 50 pairs.
    """
    if pairs <= _EXACT_PAIRS:
        ways = _cumulated(tuple(range(1, pairs + 1)))
        return sum(1 for count in ways if count <= ways[-1] * (alpha / 2))
    deviation = math.sqrt(pairs * (pairs + 1) * (2 * pairs + 1) / 24)
    outer = pairs * (pairs + 1) / 4 + NormalDist().inv_cdf(alpha / 2) * deviation if alpha > 0 else -1.0
    return max(0, math.floor(outer) + 1)
