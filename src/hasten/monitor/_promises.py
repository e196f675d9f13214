"""Which objectives the series of a process count for: looked up once for each series."""

from collections.abc import Iterable

from hasten.monitor._metric import Metric
from hasten.monitor._window import Timing, Values, Window
from hasten.monitor.slo import Objective

_Kept = tuple[int, ...]


class Promises:
    """Counts the events of objectives.

    What it remembers has the bound of the recorder: a metric's `most` label sets.

    Args:
      objectives: Of one process.
    """

    def __init__(self, objectives: Iterable[Objective]) -> None:
        self.objectives = tuple(objectives)
        self._metrics = {one.metric.name: one.metric for one in self.objectives}
        self._covering: dict[tuple[str, Values], tuple[tuple[int, bool], ...]] = {}
        self._thresholds: dict[tuple[str, Values], float] = {}
        self._events = [0] * len(self.objectives)
        self._bad = [0] * len(self.objectives)

    def threshold(self, metric: Metric, values: Values) -> float:
        """Return the seconds of the strictest latency objective that covers a series; 0.0 without one."""
        key = metric.name, values
        if key not in self._thresholds:
            covering = [self.objectives[number] for number, _ in self._of(key)]
            found = [one.threshold for one in covering if one.kind == "latency"]
            self._thresholds[key] = min(found, default=0.0)
        return self._thresholds[key]

    def count(self, window: Window) -> tuple[_Kept, _Kept]:
        """Count what a window has, and return for each objective the events and the bad ones of all windows so far."""
        for name, metric in self._metrics.items():
            for values, timing in window.timings(metric).items():
                for number, fails in self._of((name, values)):
                    self._events[number] += timing.count
                    self._bad[number] += timing.count if fails else self._slow(number, timing)
        return tuple(self._events), tuple(self._bad)

    def _slow(self, number: int, timing: Timing) -> int:
        objective = self.objectives[number]
        return timing.count - timing.within(objective.threshold) if objective.kind == "latency" else 0

    def _of(self, key: tuple[str, Values]) -> tuple[tuple[int, bool], ...]:
        """Return the numbers of the objectives that a series counts for, and whether its events are failures."""
        covering = self._covering.get(key)
        if covering is None:
            name, values = key
            covering = self._covering[key] = tuple(
                [
                    (number, one.fails(values))
                    for number, one in enumerate(self.objectives)
                    if one.metric.name == name and one.covers(values)
                ]
            )
        return covering
