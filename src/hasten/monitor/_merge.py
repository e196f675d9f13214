"""Adds up the metrics of the workers of a service: pure, it takes snapshots and returns one.

    counters, histograms    summed; what a worker had counted stays in the sum when it is gone: sums never go down
    gauges                  each worker's by itself, with its number in a label `worker`; gone with it

A process is known by its worker's number and by when it began: one of that number that began later has taken its place.
Processes that live at the same time have different numbers, which they do unless the admin port is 0.

Workers of a rolling deploy may have other objectives, so histograms with other bounds. The sum has the bounds of all. A
count of a worker without some bound stands in its own next one above: for a while a threshold that is new may show
events as slow which were not, never the other way round. Where a metric has other labels, or is of another kind, the
worker that began last is believed, and the others' series of that metric are left out.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator

import msgspec

from hasten.monitor._metric import OTHER, Metric
from hasten.monitor._snapshot import Exemplar, Family, HistogramValue, Series, Snapshot, Value

WORKER = "worker"
"""The label that tells gauges of workers apart, behind the metric's own."""
_Sums = dict[tuple[str, ...], Value]


class Merger:
    """Remembers what workers have counted.

    It holds one snapshot for each worker's number, and one sum for all processes that are gone: as many label sets of a
    metric as the metric may have, the rest under `OTHER`.

    Args:
      started: Unix time that the sums are said to begin at.
    """

    def __init__(self, started: float) -> None:
        self._started = started
        self._last: dict[str, Snapshot] = {}
        self._gone: dict[str, Family] = {}

    def merge(self, snapshots: Iterable[Snapshot]) -> Snapshot:
        """Return the sum, after these have answered.

        Args:
          snapshots: Of the workers that have answered now; of two with one number the later one counts. What others had
            counted when they answered last is in the sum, too; their gauges are not.
        """
        answered = [self._remember(snapshot) for snapshot in snapshots]
        known = sorted(self._last.values(), key=lambda one: one.started, reverse=True)
        now = list({one.worker: one for one in answered}.values())
        families = [self._family(metric, known, now) for metric in _metrics(known)]
        service = next((one.service for one in known), "")
        at = max((one.at for one in answered), default=self._started)
        return Snapshot(service, "", self._started, at, tuple(families))

    def _remember(self, snapshot: Snapshot) -> Snapshot:
        before = self._last.get(snapshot.worker)
        if before is not None:
            if (before.started, before.at) > (snapshot.started, snapshot.at):  # a late answer, of a dead one perhaps
                return before
            if before.started != snapshot.started:
                self._bury(before)
        self._last[snapshot.worker] = snapshot
        return snapshot

    def _bury(self, snapshot: Snapshot) -> None:
        """Keep what a process has counted that is no more."""
        for family in snapshot.families:
            if family.metric.kind != "gauge" and family.series:
                gone = self._gone.get(family.metric.name)
                together = [gone, family] if gone is not None and _is_alike(gone.metric, family.metric) else [family]
                metric = _with_bounds(family.metric, together)
                sums = _bounded(_summed(metric, together, exemplars=False), metric.most)
                self._gone[metric.name] = Family(metric, tuple(Series(*pair) for pair in sums.items()))

    def _family(self, metric: Metric, known: list[Snapshot], answered: list[Snapshot]) -> Family:
        if metric.kind == "gauge":
            labelled = msgspec.structs.replace(metric, labels=(*metric.labels, WORKER))
            return Family(labelled, tuple(_gauges(metric, answered)))
        families = list(_alike(metric, known))
        gone = self._gone.get(metric.name)
        if gone is not None and _is_alike(gone.metric, metric):
            families.append(gone)
        metric = _with_bounds(metric, families)
        sums = _summed(metric, families, exemplars=True)
        return Family(metric, tuple(Series(*pair) for pair in sums.items()))


def _metrics(snapshots: list[Snapshot]) -> Iterator[Metric]:
    """Return each metric once, as the first snapshot that has it says."""
    seen: set[str] = set()
    for snapshot in snapshots:
        for family in snapshot.families:
            if family.metric.name not in seen:
                seen.add(family.metric.name)
                yield family.metric


def _is_alike(one: Metric, other: Metric) -> bool:
    return one.name == other.name and one.kind == other.kind and one.labels == other.labels


def _alike(metric: Metric, snapshots: Iterable[Snapshot]) -> Iterator[Family]:
    for snapshot in snapshots:
        for family in snapshot.families:
            if _is_alike(family.metric, metric):
                yield family


def _gauges(metric: Metric, snapshots: Iterable[Snapshot]) -> Iterator[Series]:
    for snapshot in snapshots:
        for family in _alike(metric, (snapshot,)):
            for series in family.series:
                yield Series((*series.values, snapshot.worker), series.value)


def _with_bounds(metric: Metric, families: Iterable[Family]) -> Metric:
    """Return the metric with the bounds of all."""
    bounds = {bound for family in families for bound in family.metric.bounds}
    return msgspec.structs.replace(metric, bounds=tuple(sorted(bounds.union(metric.bounds))))


def _summed(metric: Metric, families: Iterable[Family], *, exemplars: bool) -> _Sums:
    sums: _Sums = {}
    for family in families:
        for series in family.series:
            value = series.value
            if isinstance(value, HistogramValue):
                value = _rebucketed(value, family.metric.bounds, metric.bounds, exemplars=exemplars)
            before = sums.get(series.values)
            sums[series.values] = value if before is None else _sum(before, value)
    return sums


def _sum(one: Value, other: Value) -> Value:
    if isinstance(one, HistogramValue) and isinstance(other, HistogramValue):
        counts = tuple([a + b for a, b in zip(one.counts, other.counts, strict=True)])
        return HistogramValue(counts, one.total + other.total, _newest(one.exemplars, other.exemplars))
    assert not isinstance(one, HistogramValue)
    assert not isinstance(other, HistogramValue)
    return one + other


def _newest(one: tuple[Exemplar | None, ...], other: tuple[Exemplar | None, ...]) -> tuple[Exemplar | None, ...]:
    if not one or not other:
        return one or other
    return tuple([_newer(a, b) for a, b in zip(one, other, strict=True)])


def _newer(one: Exemplar | None, other: Exemplar | None) -> Exemplar | None:
    if one is None or other is None:
        return one or other
    return one if one.at >= other.at else other


def _rebucketed(
    value: HistogramValue, bounds: tuple[float, ...], wanted: tuple[float, ...], *, exemplars: bool
) -> HistogramValue:
    """Return a histogram with further bounds: each count in the bucket whose bound is its own.

    Args:
      wanted: Has all of `bounds`.
    """
    if bounds == wanted:
        return value if exemplars or not value.exemplars else HistogramValue(value.counts, value.total)
    counts = [0] * (len(wanted) + 1)
    for bound, count in zip((*bounds, float("inf")), value.counts, strict=True):
        counts[bisect_left(wanted, bound)] += count
    kept: tuple[Exemplar | None, ...] = ()
    if exemplars and value.exemplars:
        kept = _placed((one for one in value.exemplars if one is not None), wanted)
    return HistogramValue(tuple(counts), value.total, kept)


def _placed(exemplars: Iterable[Exemplar], bounds: tuple[float, ...]) -> tuple[Exemplar | None, ...]:
    """Return exemplars by the buckets that their values are in."""
    placed: list[Exemplar | None] = [None] * (len(bounds) + 1)
    for exemplar in exemplars:
        bucket = bisect_left(bounds, exemplar.value)
        placed[bucket] = _newer(placed[bucket], exemplar)
    return tuple(placed)


def _bounded(sums: _Sums, most: int) -> _Sums:
    """Return at most so many label sets, and one for what is left."""
    bounded: _Sums = {}
    for values, value in sums.items():
        kept = values
        if values not in bounded and len(bounded) >= most:
            kept = (OTHER,) * len(values)
        before = bounded.get(kept)
        bounded[kept] = value if before is None else _sum(before, value)
    return bounded
