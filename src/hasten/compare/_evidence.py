"""What the pairs say about one metric: the estimate, how sure it is, and what it could have seen. Pure."""

import math
from collections.abc import Sequence
from statistics import NormalDist, median
from typing import Protocol

from hasten.compare._series import Series
from hasten.compare._walsh import WalshAverages
from hasten.compare._wilcoxon import sign_flip_p, signed_rank_p

FAILURES = 0.005
"""Share of requests: fewer more of them failing is no change. Showing it takes 3 / FAILURES requests a side."""
_FEWEST_FAILURES = 0.001
"""Share of requests: below it even a proven difference is not called one."""
_ENDLESS = 700.0  # beyond it expm1 overflows
_POWER = NormalDist().inv_cdf(0.8)


class Evidence(Protocol):
    """The difference of after and before in one metric, on a scale where no change is 0 and differences add up.

    Attributes:
      p: Two-sided, against there being no change.
      estimate: Of the difference.
      smallest: What is too small to matter, whatever p is.
      same: A difference within it is none.
      values: Of before and after, as shown.
    """

    p: float
    estimate: float
    smallest: float
    same: float
    values: tuple[float, float]

    def interval(self, alpha: float) -> tuple[float, float]:
        """Return bounds of the difference that fail with a chance of alpha."""

    def error(self) -> float:
        """Return the estimate's standard error; infinite if it is not known."""

    def express(self, difference: float) -> float:
        """Return a difference of this scale as it is shown."""


def evidence(series: Series, threshold: float) -> Evidence:
    """Return what a series of at least one pair says; threshold is relative."""
    return Shares(series) if series.metric == "errors" else Ratios(series, threshold)


def detectable(found: Evidence, level: float) -> float:
    """Return the smallest difference that is found at the level (two-sided) four times of five.

    From the interval's width, so it holds for whatever noise there is. For normal noise it is that of the mean with
    pi / 3 times the pairs.
    """
    return (NormalDist().inv_cdf(1 - level / 2) + _POWER) * found.error()


class Ratios(Evidence):
    """Logarithms of after / before, pair by pair, by signed ranks."""

    def __init__(self, series: Series, threshold: float) -> None:
        differences = [_log_ratio(one, other) for one, other in zip(series.before, series.after, strict=True)]
        self._averages = WalshAverages(differences)
        self.p = signed_rank_p(differences)
        self.estimate = self._averages.median()
        self.smallest = 0.0
        self.same = math.log1p(threshold)
        self.values = median(series.before), median(series.after)

    def interval(self, alpha: float) -> tuple[float, float]:
        """Return the bounds that the signed ranks leave."""
        return self._averages.interval(alpha)

    def error(self) -> float:
        """Return the standard error that the width of the 95 % interval stands for.

        Source: Lehmann, "Nonparametric confidence intervals for a shift parameter", 1963.
        """
        low, high = self.interval(0.05)
        width = high - low
        return math.inf if math.isnan(width) else width / (2 * NormalDist().inv_cdf(0.975))

    def express(self, difference: float) -> float:
        """Return the relative change: 0.05 for 5 % more."""
        return math.expm1(difference) if difference < _ENDLESS else math.inf


class Shares(Evidence):
    """Share of failed requests, after less before, by the signs of the pairs' differences."""

    def __init__(self, series: Series) -> None:
        differences = [round(other - one) for one, other in zip(series.before, series.after, strict=True)]
        self._offered = math.fsum(series.offered)
        self._spread = _spread_of_sum(differences) / self._offered
        self.p = sign_flip_p(differences)
        self.estimate = sum(differences) / self._offered
        self.smallest = _FEWEST_FAILURES
        self.same = FAILURES
        self.values = math.fsum(series.before) / self._offered, math.fsum(series.after) / self._offered

    def interval(self, alpha: float) -> tuple[float, float]:
        """Return the bounds by the normal distribution; at least what none of so many requests leaves open.

        Source of the latter: Hanley and Lippman-Hand, "If nothing goes wrong, is everything all right?", 1983, the rule
        of three for 95 %.
        """
        reach = max(NormalDist().inv_cdf(1 - alpha / 2) * self._spread, -math.log(alpha) / self._offered)
        return self.estimate - reach, self.estimate + reach

    def error(self) -> float:
        """Return the standard error, or what stands for it where nothing failed."""
        return max(self._spread, 1 / self._offered)

    def express(self, difference: float) -> float:
        """Return the difference: it is a share."""
        return difference


def _log_ratio(before: float, after: float) -> float:
    """Return log(after / before); 0 where both are infinite."""
    return 0.0 if before == after else math.log(after) - math.log(before)


def _spread_of_sum(differences: Sequence[int]) -> float:
    count = len(differences)
    mean = sum(differences) / count
    return math.sqrt(sum((one - mean) ** 2 for one in differences) * count / max(1, count - 1))
