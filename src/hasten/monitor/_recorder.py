"""All series of a process: what is counted where it happens, and what is read when somebody asks."""

from collections.abc import Callable, Iterable, Mapping

import msgspec

from hasten.monitor import _catalogue as catalogue
from hasten.monitor._metric import OTHER, Metric
from hasten.monitor._series import Children, Counter, Gauge, Histogram
from hasten.monitor._snapshot import Family, Series

Reading = tuple[Metric, tuple[str, ...], float]
"""A metric, label values in the order of its labels, and a value."""
Reader = Callable[[], Iterable[Reading]]


class Recorder:
    """The series of every metric of the catalogue.

    Args:
      bounds: Further upper bounds of histograms, by the metric's name: the thresholds of objectives.
    """

    def __init__(self, bounds: Mapping[str, Iterable[float]]) -> None:
        self._readers: list[Reader] = []
        self._metrics = [_with_bounds(metric, bounds.get(metric.name, ())) for metric in catalogue.CATALOGUE]
        self._children: dict[str, Children[Counter] | Children[Gauge] | Children[Histogram]] = {}
        for metric in self._metrics:
            self._children[metric.name] = _children(metric, self._fold)
        self._folded = self.counters(catalogue.FOLDED)

    def _fold(self, metric: Metric) -> None:
        self._folded.child(metric.name).value += 1

    def counters(self, metric: Metric) -> Children[Counter]:
        """Return the series of a counter."""
        children = self._children[metric.name]
        assert children.metric.kind == "counter"
        return children  # type: ignore[return-value]

    def gauges(self, metric: Metric) -> Children[Gauge]:
        """Return the series of a gauge."""
        children = self._children[metric.name]
        assert children.metric.kind == "gauge"
        return children  # type: ignore[return-value]

    def histograms(self, metric: Metric) -> Children[Histogram]:
        """Return the series of a histogram."""
        children = self._children[metric.name]
        assert children.metric.kind == "histogram"
        return children  # type: ignore[return-value]

    def add_reader(self, reader: Reader) -> None:
        """Have something asked at each reading, in the thread of who reads."""
        self._readers.append(reader)

    def read(self) -> tuple[Family, ...]:
        """Return every metric with its series as they are now, in the catalogue's order, in any thread."""
        readings: dict[str, dict[tuple[str, ...], float]] = {}
        for reader in list(self._readers):
            for metric, values, value in reader():
                self._put(readings.setdefault(metric.name, {}), metric, values, value)
        families = [self._children[metric.name].read() for metric in self._metrics]
        return tuple([_with_readings(family, readings.get(family.metric.name, {})) for family in families])

    def _put(
        self, readings: dict[tuple[str, ...], float], metric: Metric, values: tuple[str, ...], value: float
    ) -> None:
        """Add a reading; those of more label sets than the metric may have are added up."""
        if values not in readings and len(readings) >= metric.most:
            self._fold(metric)
            values = (OTHER,) * len(values)
            value += readings.get(values, 0.0)
        readings[values] = value


def _children(
    metric: Metric, folded: Callable[[Metric], None]
) -> Children[Counter] | Children[Gauge] | Children[Histogram]:
    if metric.kind == "counter":
        return Children(metric, Counter, folded)
    if metric.kind == "gauge":
        return Children(metric, Gauge, folded)
    return Children(metric, lambda: Histogram(metric.bounds), folded)


def _with_bounds(metric: Metric, bounds: Iterable[float]) -> Metric:
    added = set(bounds)
    if not added:
        return metric
    return msgspec.structs.replace(metric, bounds=tuple(sorted(added.union(metric.bounds))))


def _with_readings(family: Family, readings: dict[tuple[str, ...], float]) -> Family:
    series = [one for one in family.series if one.value == one.value]  # no gauge that was never set
    series += [Series(values, value) for values, value in readings.items()]
    return Family(family.metric, tuple(series))
