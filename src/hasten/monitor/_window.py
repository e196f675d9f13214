"""What has happened between two snapshots of one process: pure, for whoever shows rates and quantiles of just now."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import reduce
from operator import add, sub

from hasten.monitor._metric import Metric
from hasten.monitor._snapshot import Family, HistogramValue, Snapshot

Values = tuple[str, ...]
"""Label values, in the order of the metric's labels."""


class Window:
    """The difference of two snapshots.

    Args:
      before, now: Of one process; a series that `before` has not began at zero.
      seconds: Between them, more than zero.
    """

    def __init__(self, before: Snapshot, now: Snapshot, seconds: float) -> None:
        self.seconds = seconds
        self._before = {family.metric.name: family for family in before.families}
        self._now = {family.metric.name: family for family in now.families}
        self._timings: dict[str, dict[Values, Timing]] = {}

    def gauges(self, metric: Metric) -> dict[Values, float]:
        """Return the values that a gauge has now."""
        return _numbers(self._now.get(metric.name))

    def counts(self, metric: Metric) -> dict[Values, float]:
        """Return by how much each series of a counter has grown."""
        before = _numbers(self._before.get(metric.name))
        now = _numbers(self._now.get(metric.name))
        return {values: max(0.0, value - before.get(values, 0.0)) for values, value in now.items()}

    def totals(self, metric: Metric) -> dict[Values, float]:
        """Return what a counter has counted since the process began."""
        return _numbers(self._now.get(metric.name))

    def timings(self, metric: Metric) -> dict[Values, "Timing"]:
        """Return what each series of a histogram has counted; none that stood still."""
        found = self._timings.get(metric.name)
        if found is None:
            found = self._timings[metric.name] = self._differences(metric)
        return found

    def _differences(self, metric: Metric) -> dict[Values, "Timing"]:
        family = self._now.get(metric.name)
        if family is None:
            return {}
        before, bounds = _histograms(self._before.get(metric.name)), family.metric.bounds
        found: dict[Values, Timing] = {}
        for values, value in _histograms(family).items():
            earlier = before.get(values)
            if earlier is None:
                found[values] = Timing(bounds, value.counts, value.total)
            elif earlier.counts != value.counts:
                counts = tuple(map(sub, value.counts, earlier.counts))
                found[values] = Timing(bounds, counts, value.total - earlier.total)
        return found


class Timing:
    """Durations by bucket.

    Args:
      bounds: Upper bounds of the buckets, seconds.
      counts: Of each bucket by itself; the last is what lies above all bounds. All 0 if it is not given.
      seconds: Sum of the durations.
    """

    __slots__ = ("bounds", "count", "counts", "seconds")

    def __init__(self, bounds: Sequence[float], counts: tuple[int, ...] = (), seconds: float = 0.0) -> None:
        self.bounds = bounds
        self.counts = counts or (0,) * (len(bounds) + 1)
        self.count = sum(counts)
        self.seconds = seconds

    def __add__(self, other: "Timing") -> "Timing":
        """Return both together; they are of one metric."""
        return Timing(self.bounds, tuple(map(add, self.counts, other.counts)), self.seconds + other.seconds)

    def quantile(self, share: float) -> float | None:
        """Return the duration that `share` of all do not exceed; None if there was none.

        Interpolated within its bucket as if what is in it lay evenly, so it errs by the bucket's width at most; what
        lies above all bounds is told as the highest of them. Prometheus' `histogram_quantile` does the same.
        """
        rank = share * self.count
        if not rank:
            return None
        below = 0
        for bucket, count in enumerate(self.counts[:-1]):
            if below + count >= rank:
                lower = self.bounds[bucket - 1] if bucket else 0.0
                return round(lower + (self.bounds[bucket] - lower) * (rank - below) / count, 6)
            below += count
        return self.bounds[-1]

    def longest(self) -> float:
        """Return the upper bound of the highest bucket that has counted; 0.0 if there was none."""
        for bucket in range(len(self.counts) - 1, -1, -1):
            if self.counts[bucket]:
                return self.bounds[min(bucket, len(self.bounds) - 1)]
        return 0.0

    def within(self, bound: float) -> int:
        """Return how many did not exceed a bound of the buckets."""
        return sum(self.counts[: bisect_right(self.bounds, bound)])


def total(timings: Iterable[Timing], metric: Metric) -> Timing:
    """Return all of them added up; they are of this metric, whose histograms may have further bounds."""
    each = list(timings)
    return reduce(add, each) if each else Timing(metric.bounds)


def _numbers(family: Family | None) -> dict[Values, float]:
    if family is None:
        return {}
    return {one.values: one.value for one in family.series if not isinstance(one.value, HistogramValue)}


def _histograms(family: Family | None) -> dict[Values, HistogramValue]:
    if family is None:
        return {}
    return {one.values: one.value for one in family.series if isinstance(one.value, HistogramValue)}
