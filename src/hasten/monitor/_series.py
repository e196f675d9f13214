"""Counters, gauges and histograms on plain lists, in families of bounded size.

    Family          a metric with its label sets, at most `most` and one for all others
    Counter, Gauge  one number
    Histogram       a count for each bucket, and the sum

One thread writes a child, the event loop's; any thread may read it: each step of a read sees whole numbers, since the
interpreter's lock is not given up within one. Callers keep the children that they need: the labels are resolved once.
"""

import time
from bisect import bisect_left
from collections.abc import Callable
from typing import Generic, TypeVar

from hasten.monitor._metric import OTHER, Metric
from hasten.monitor._snapshot import Exemplar, Family, HistogramValue, Series

_LONGEST_VALUE = 128  # characters of a label's value


class Counter:
    """A number that grows: `child.value += 1` where it happens."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0

    def read(self) -> float:
        """Return the number."""
        return self.value


class Gauge:
    """A number that goes up and down; NaN until it is set, and then not exposed."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = float("nan")

    def read(self) -> float:
        """Return the number."""
        return self.value


class Histogram:
    """Counts values by bucket.

    Args:
      bounds: Upper bounds, ascending; a value that equals one is within.
    """

    __slots__ = ("_bounds", "_counts", "_exemplars", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self._exemplars: list[Exemplar | None] | None = None

    def observe(self, value: float) -> None:
        """Count one value; 0.25 µs."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def observe_traced(self, value: float, trace_id: str) -> None:
        """Count one value, and keep it with its trace as the example of its bucket.

        Args:
          trace_id: 32 hexadecimal digits.
        """
        bucket = bisect_left(self._bounds, value)
        self._counts[bucket] += 1
        self._sum += value
        if self._exemplars is None:
            self._exemplars = [None] * len(self._counts)
        self._exemplars[bucket] = Exemplar(trace_id, value, time.time())

    def read(self) -> HistogramValue:
        """Return what has been counted."""
        exemplars = () if self._exemplars is None else tuple(self._exemplars)
        return HistogramValue(tuple(self._counts), self._sum, exemplars)


Child = TypeVar("Child", bound=Counter | Gauge | Histogram)


class Children(Generic[Child]):
    """The series of one metric.

    Args:
      metric: Which.
      make: Makes a child.
      folded: Called for each `child` that comes after the last label set that has one of its own.
    """

    __slots__ = ("_children", "_folded", "_make", "metric")

    def __init__(self, metric: Metric, make: Callable[[], Child], folded: Callable[[Metric], None]) -> None:
        self.metric = metric
        self._make = make
        self._folded = folded
        self._children: dict[tuple[str, ...], Child] = {}

    def child(self, *values: str) -> Child:
        """Return the series of these label values, in the order of the metric's labels.

        A caller that keeps what it gets must bound what it keeps, or ask again: what came too late gets the same child
        as all others.
        """
        child = self._children.get(values)
        return self._admit(values) if child is None else child

    def _admit(self, values: tuple[str, ...]) -> Child:
        if len(values) != len(self.metric.labels):
            raise TypeError(f"{self.metric.name} has the labels {self.metric.labels}, not {len(values)}")
        # Half of a surrogate pair cannot be sent; replaced later, two of them could become one series twice.
        values = tuple([value[:_LONGEST_VALUE].encode("utf-8", "replace").decode() for value in values])
        child = self._children.get(values)
        if child is None and len(self._children) >= self.metric.most:
            self._folded(self.metric)
            values = (OTHER,) * len(values)
            child = self._children.get(values)
        if child is None:
            child = self._children[values] = self._make()
        return child

    def knows(self, *values: str) -> bool:
        """Whether these label values have a series of their own."""
        return values in self._children

    def read(self) -> Family:
        """Return all series as they are now, in any thread."""
        return Family(
            self.metric, tuple([Series(values, child.read()) for values, child in list(self._children.items())])
        )
