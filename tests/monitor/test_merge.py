"""Snapshots of the workers of a service are added up, also while workers come, go, and are deployed anew."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from hasten.monitor import OPEN_METRICS, Exemplar, Exposition, Family, HistogramValue, Metric, Series, Snapshot
from hasten.monitor._merge import Merger
from hasten.monitor._metric import OTHER

_COUNTER = Metric(name="jobs_total", kind="counter", labels=("queue",), most=3, help="Jobs")
_GAUGE = Metric(name="waiting", kind="gauge", labels=("queue",), help="Waiting")
_HISTOGRAM = Metric(name="took_seconds", kind="histogram", unit="seconds", bounds=(0.1, 1.0), help="Took")


def _snapshot(worker: str, started: float, *families: Family, at: float = 0.0) -> Snapshot:
    return Snapshot("shop", worker, started, at or started + 1.0, families)


def _jobs(**counts: float) -> Family:
    return Family(_COUNTER, tuple(Series((queue,), count) for queue, count in counts.items()))


def _waiting(**counts: float) -> Family:
    return Family(_GAUGE, tuple(Series((queue,), count) for queue, count in counts.items()))


def _took(counts: tuple[int, ...], total: float, *exemplars: Exemplar | None, bounds: tuple[float, ...] = ()) -> Family:
    metric = msgspec.structs.replace(_HISTOGRAM, bounds=bounds or _HISTOGRAM.bounds)
    return Family(metric, (Series((), HistogramValue(counts, total, exemplars)),))


def _values(snapshot: Snapshot, metric: Metric) -> dict[tuple[str, ...], object]:
    return {series.values: series.value for series in snapshot.family(metric).series}


def _histogram(snapshot: Snapshot) -> HistogramValue:
    (series,) = snapshot.family(_HISTOGRAM).series
    assert isinstance(series.value, HistogramValue)
    return series.value


def test_counters_and_histograms_are_summed_and_gauges_keep_their_worker() -> None:
    """Two workers give one sum for each label set, and a gauge for each of them."""
    merged = Merger(5.0).merge(
        [
            _snapshot("0", 10.0, _jobs(a=1, b=2), _waiting(a=7), _took((1, 0, 2), 4.5)),
            _snapshot("1", 11.0, _jobs(b=3), _waiting(a=8), _took((0, 4, 1), 3.5)),
        ]
    )
    assert _values(merged, _COUNTER) == {("a",): 1, ("b",): 5}
    assert _values(merged, _GAUGE) == {("a", "0"): 7, ("a", "1"): 8}
    assert merged.family(_GAUGE).metric.labels == ("queue", "worker")
    assert _histogram(merged) == HistogramValue((1, 4, 3), 8.0)
    assert (merged.service, merged.worker, merged.started, merged.at) == ("shop", "", 5.0, 12.0)


def test_nothing_is_merged_from_nobody() -> None:
    """Without workers there are no metrics."""
    merged = Merger(5.0).merge([])
    assert merged == Snapshot("", "", 5.0, 5.0, ())


def test_a_silent_worker_stays_in_the_sums_and_loses_its_gauges() -> None:
    """What a worker had counted when it answered last is counted, and is not counted twice when it answers again."""
    merger = Merger(0.0)
    quiet = _snapshot("1", 11.0, _jobs(a=5), _waiting(a=8))
    merger.merge([_snapshot("0", 10.0, _jobs(a=1), _waiting(a=7)), quiet])
    merged = merger.merge([_snapshot("0", 10.0, _jobs(a=2), _waiting(a=6), at=12.0)])
    assert _values(merged, _COUNTER) == {("a",): 7}
    assert _values(merged, _GAUGE) == {("a", "0"): 6}
    merged = merger.merge([_snapshot("1", 11.0, _jobs(a=6), at=20.0)])
    assert _values(merged, _COUNTER) == {("a",): 8}


def test_a_worker_that_took_the_place_of_another_counts_from_the_others_sum() -> None:
    """A process that began later under the same number adds to what its predecessor had counted."""
    merger = Merger(0.0)
    merger.merge([_snapshot("0", 10.0, _jobs(a=5), _took((1, 1, 1), 3.0, Exemplar("a" * 32, 0.05, 9.0), None, None))])
    merged = merger.merge([_snapshot("0", 20.0, _jobs(a=1, b=1), _took((0, 1, 0), 0.5))])
    assert _values(merged, _COUNTER) == {("a",): 6, ("b",): 1}
    assert _histogram(merged) == HistogramValue((1, 2, 1), 3.5)  # without the example of the one that is gone


def test_a_late_answer_of_a_dead_process_changes_nothing() -> None:
    """An older process or an older snapshot that comes in behind a newer one is neither believed nor added."""
    merger = Merger(0.0)
    old, new = _snapshot("0", 10.0, _jobs(a=5)), _snapshot("0", 20.0, _jobs(a=1))
    merger.merge([old])
    merger.merge([new])
    for _ in range(3):
        assert _values(merger.merge([old]), _COUNTER) == {("a",): 6}
        assert _values(merger.merge([new]), _COUNTER) == {("a",): 6}
    later = _snapshot("0", 20.0, _jobs(a=4), at=30.0)
    merger.merge([later])
    assert _values(merger.merge([new]), _COUNTER) == {("a",): 9}


@given(
    st.lists(
        st.tuples(st.sampled_from("012"), st.sampled_from(["answer", "restart", "silent"]), st.integers(0, 5)),
        max_size=40,
    )
)
def test_sums_are_what_all_processes_have_counted(history: list[tuple[str, str, int]]) -> None:
    """Through any order of answers, silences and restarts each sum is that of all processes, and never goes down."""
    merger = Merger(0.0)
    counted: dict[tuple[str, float], int] = {}
    started = dict.fromkeys("012", 0.0)
    before = 0
    for now, (worker, what, more) in enumerate(history, 1):
        if what == "silent":
            merged = merger.merge([])
        else:
            if what == "restart":
                started[worker] = float(now)
            process = worker, started[worker]
            counted[process] = counted.get(process, 0) + more
            merged = merger.merge([_snapshot(worker, started[worker], _jobs(a=counted[process]), at=float(now))])
        total = sum(value for value in _values(merged, _COUNTER).values() if isinstance(value, int)) if counted else 0
        assert total == sum(counted.values()) >= before
        before = total


def test_memory_is_bounded_over_many_restarts_with_other_label_sets() -> None:
    """Of all processes that are gone there are as many label sets as the metric may have, and one for the rest."""
    merger = Merger(0.0)
    merged = merger.merge([])
    for number in range(200):
        merged = merger.merge([_snapshot("0", float(number), _jobs(**{f"queue{number}": 1}))])
    values = _values(merged, _COUNTER)
    assert values[(OTHER,)] == 200 - 1 - _COUNTER.most
    assert len(values) == _COUNTER.most + 2
    assert len(msgspec.json.encode(merged)) < 2_000


def test_other_bounds_are_merged_without_making_anything_faster() -> None:
    """With bounds that only some workers have, each bucket holds at least what is surely below its bound."""
    merger = Merger(0.0)
    slow = Exemplar("1" * 32, 0.7, 5.0)
    merged = merger.merge(
        [
            _snapshot("0", 10.0, _took((1, 2, 4), 9.0, None, slow, None)),
            _snapshot("1", 11.0, _took((1, 1, 1, 1), 4.0, bounds=(0.1, 0.5, 1.0))),
        ]
    )
    assert merged.family(_HISTOGRAM).metric.bounds == (0.1, 0.5, 1.0)
    assert _histogram(merged) == HistogramValue((2, 1, 3, 5), 13.0, (None, None, slow, None))
    merged = merger.merge([_snapshot("1", 20.0, _took((0, 0, 0), 0.0))])  # rolled back: the bound stays
    assert _histogram(merged).counts == (2, 1, 3, 5)


def test_the_newest_example_of_a_bucket_is_kept() -> None:
    """Of the workers' exemplars in a bucket the latest one is served."""
    old, new = Exemplar("1" * 32, 0.05, 5.0), Exemplar("2" * 32, 0.06, 6.0)
    for first, second in ((old, new), (new, old)):
        merged = Merger(0.0).merge(
            [
                _snapshot("0", 1.0, _took((1, 0, 0), 0.05, first, None, None)),
                _snapshot("1", 1.0, _took((1, 0, 0), 0.06, second, None, None)),
                _snapshot("2", 1.0, _took((1, 0, 0), 0.01)),
            ]
        )
        assert _histogram(merged).exemplars == (new, None, None)


def test_a_metric_that_has_changed_is_the_latest_workers() -> None:
    """While versions of a service are mixed, a metric with other labels is that of the worker which began last."""
    changed = Family(msgspec.structs.replace(_COUNTER, labels=("queue", "kind")), (Series(("a", "x"), 3.0),))
    merger = Merger(0.0)
    merged = merger.merge([_snapshot("0", 10.0, _jobs(a=1)), _snapshot("1", 20.0, changed)])
    assert _values(merged, _COUNTER) == {("a", "x"): 3.0}
    merged = merger.merge([_snapshot("0", 30.0, changed)])
    assert _values(merged, _COUNTER) == {("a", "x"): 6.0}
    merged = merger.merge([_snapshot("0", 40.0, changed), _snapshot("1", 41.0, changed)])
    assert _values(merged, _COUNTER) == {("a", "x"): 12.0}


def test_the_sum_is_rendered_without_a_worker_but_for_gauges() -> None:
    """A merged snapshot's counters have no worker, each gauge has its own."""
    merged = Merger(0.0).merge([_snapshot("3", 10.0, _jobs(a=1), _waiting(a=7))])
    text = Exposition().render(merged, open_metrics=False)
    assert 'jobs_total{queue="a"} 1\n' in text
    assert 'waiting{queue="a",worker="3"} 7\n' in text
    assert OPEN_METRICS.startswith("application/openmetrics-text")
