"""The difference that pairs stand for, and bounds of it, by the averages of all pairs of differences. Pure.

The estimate is their median; the bounds are those differences that the signed-rank test would not call wrong. One
pair among ten that is far off moves neither by much.

Source: Hodges and Lehmann, "Estimates of location based on rank tests", 1963; Walsh, "Some significance tests for the
median which are valid under very general conditions", 1949; Hollander, Wolfe and Chicken, "Nonparametric statistical
methods", sections 3.2 and 3.3.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from hasten.compare._wilcoxon import outer_rank

_KEPT = 150  # differences; the averages of as many as an hour gives take 100 MB
_PRECISION = 1e-7


class WalshAverages:
    """The n (n + 1) / 2 averages of n differences with each other and themselves, in order.

    What is infinite both ways averages to 0: nobody can tell which of the two is larger. Up to 150 differences they are
    made and kept; those of more are looked for, to 1e-7.

    Args:
      differences: At least one; not NaN.
    """

    def __init__(self, differences: Sequence[float]) -> None:
        ordered = sorted(differences)
        self._pairs = len(ordered)
        below, above = bisect_right(ordered, -math.inf), bisect_left(ordered, math.inf)
        self._finite = ordered[below:above]
        above = self._pairs - above
        self._opposed = below * above
        self._lowest = below * (below + 1) // 2 + below * len(self._finite)
        self._highest = above * (above + 1) // 2 + above * len(self._finite)
        self._count = self._pairs * (self._pairs + 1) // 2
        self._averages = self._made() if self._pairs <= _KEPT else None

    def median(self) -> float:
        """Return the Hodges-Lehmann estimate of the difference."""
        low, high = self._at((self._count - 1) // 2), self._at(self._count // 2)
        return low / 2 + high / 2 if low > -math.inf or high < math.inf else 0.0

    def interval(self, alpha: float) -> tuple[float, float]:
        """Return bounds that hold the true difference but for a chance of alpha; infinite if so few pairs have none.

        Args:
          alpha: Of both sides together: 0.05 gives the 95 % interval.
        """
        rank = outer_rank(self._pairs, alpha)
        if rank < 1:
            return -math.inf, math.inf
        return self._at(rank - 1), self._at(self._count - rank)

    def _at(self, index: int) -> float:
        """Return the average with so many before it."""
        if index < self._lowest:
            return -math.inf
        if index >= self._count - self._highest:
            return math.inf
        return self._averages[index - self._lowest] if self._averages is not None else self._found(index - self._lowest)

    def _made(self) -> list[float]:
        """Return those that are not infinite."""
        averages = [0.0] * self._opposed
        halves = [difference / 2 for difference in self._finite]
        for index, half in enumerate(halves):
            averages += [half + other for other in halves[index:]]
        averages.sort()
        return averages

    def _found(self, index: int) -> float:
        """Return the one at an index of those that are not infinite, by halving."""
        ends = [*self._finite[:1], *self._finite[-1:], *([0.0] if self._opposed else [])]
        low, high = min(ends) - _PRECISION, max(ends)
        while high - low > _PRECISION:
            middle = (low + high) / 2
            if self._up_to(middle) > index:
                high = middle
            else:
                low = middle
        return high

    def _up_to(self, bound: float) -> int:
        """Return how many of those that are not infinite are at most bound: n searches instead of n^2 / 2 averages."""
        finite = self._finite
        ordered_twice = sum(bisect_right(finite, 2 * bound - one) for one in finite)
        return (ordered_twice + bisect_right(finite, bound)) // 2 + (self._opposed if bound >= 0 else 0)
