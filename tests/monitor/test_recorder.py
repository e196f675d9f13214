"""The series of a process: what is counted, what is read, and how many there may be."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten.monitor import _catalogue as catalogue
from hasten.monitor._metric import OTHER, Metric
from hasten.monitor._recorder import Reading, Recorder
from hasten.monitor._series import Children, Counter, Histogram
from hasten.monitor._snapshot import Family, HistogramValue

FEW = Metric(name="few_total", kind="counter", labels=("kind",), most=3, help="Few")


def value_of(families: tuple[Family, ...], metric: Metric, *values: str) -> float | HistogramValue:
    """Return the value of one series."""
    (family,) = [family for family in families if family.metric.name == metric.name]
    (series,) = [series for series in family.series if series.values == values]
    return series.value


def test_every_metric_is_there() -> None:
    """A reading has every metric of the catalogue, in its order, also those that have no series yet."""
    families = Recorder({}).read()
    assert [family.metric for family in families] == list(catalogue.CATALOGUE)


@given(st.lists(st.floats(allow_nan=False), max_size=50))
def test_a_histogram_counts_each_value_once(values: list[float]) -> None:
    """Every value lies in the bucket of the first bound that is not below it; the total is their sum."""
    bounds = (-1.0, 0.0, 0.005, 1.0)
    histogram = Histogram(bounds)
    for value in values:
        histogram.observe(value)
    read = histogram.read()
    expected = [0] * 5
    for value in values:
        expected[next((at for at, bound in enumerate(bounds) if value <= bound), 4)] += 1
    assert list(read.counts) == expected
    assert read.count == len(values)
    total = 0.0
    for value in values:
        total += value
    assert repr(read.total) == repr(total)


def test_a_traced_value_is_its_buckets_example() -> None:
    """The last traced value of a bucket is kept with its trace; other buckets have none."""
    histogram = Histogram((1.0, 2.0))
    histogram.observe_traced(0.5, "a" * 32)
    histogram.observe_traced(0.7, "b" * 32)
    histogram.observe(1.5)
    first, second, last = histogram.read().exemplars
    assert first is not None
    assert (first.trace_id, first.value) == ("b" * 32, 0.7)
    assert (second, last) == (None, None)
    assert histogram.read().counts == (2, 1, 0)


def test_label_sets_are_bounded() -> None:
    """What comes after the last label set that has a series is counted together, and each of it is reported."""
    folded: list[Metric] = []
    children = Children(FEW, Counter, folded.append)
    for number in range(100):
        children.child(str(number)).value += 1
    children.child("1").value += 1
    read = {series.values: series.value for series in children.read().series}
    assert read == {("0",): 1, ("1",): 2, ("2",): 1, (OTHER,): 97}
    assert folded == [FEW] * 97
    assert not children.knows("50")


def test_a_label_value_is_bounded() -> None:
    """A longer value is cut, and is the same series each time."""
    children = Children(FEW, Counter, lambda _: None)
    children.child("x" * 1000).value += 1
    children.child("x" * 2000).value += 1
    (series,) = children.read().series
    assert (series.values, series.value) == (("x" * 128,), 2)


def test_another_number_of_labels_is_a_mistake() -> None:
    """A series is named by all labels of its metric."""
    children = Children(FEW, Counter, lambda _: None)
    with pytest.raises(TypeError, match="few_total"):
        children.child("a", "b")


def test_thresholds_are_bounds() -> None:
    """The bounds that are asked for are added to a metric's own, in order, once."""
    recorder = Recorder({catalogue.HTTP_SERVER_DURATION.name: (0.3, 0.25)})
    metric = recorder.histograms(catalogue.HTTP_SERVER_DURATION).metric
    assert set(metric.bounds) == {*catalogue.HTTP_SERVER_DURATION.bounds, 0.3}
    assert list(metric.bounds) == sorted(metric.bounds)
    recorder.histograms(catalogue.HTTP_SERVER_DURATION).child("GET", "/", "200").observe(0.3)
    value = value_of(recorder.read(), catalogue.HTTP_SERVER_DURATION, "GET", "/", "200")
    assert isinstance(value, HistogramValue)
    assert value.counts[metric.bounds.index(0.3)] == 1


def test_readers_are_asked_at_each_reading() -> None:
    """What somebody else keeps is asked for each time, in the thread of who reads."""
    recorder = Recorder({})
    asked: list[threading.Thread] = []

    def read() -> tuple[Reading, ...]:
        asked.append(threading.current_thread())
        return ((catalogue.CACHE_ENTRIES, ("hasten",), len(asked)),)

    recorder.add_reader(read)
    recorder.read()
    assert value_of(recorder.read(), catalogue.CACHE_ENTRIES, "hasten") == 2
    assert asked == [threading.current_thread()] * 2


def test_readings_are_bounded() -> None:
    """Readings of more label sets than a metric may have are added up under one, and counted as folded."""
    recorder = Recorder({})
    many = catalogue.CACHE_ENTRIES.most + 5
    recorder.add_reader(lambda: [(catalogue.CACHE_ENTRIES, (str(number),), 2.0) for number in range(many)])
    families = recorder.read()
    assert value_of(families, catalogue.CACHE_ENTRIES, OTHER) == 10.0
    assert value_of(recorder.read(), catalogue.FOLDED, catalogue.CACHE_ENTRIES.name) >= 5  # type: ignore[operator]


def test_a_gauge_that_was_never_set_is_not_there() -> None:
    """Nobody is told a number that nobody knows."""
    recorder = Recorder({})
    recorder.gauges(catalogue.OUTBOX_OLDEST).child("outbox")
    (family,) = [family for family in recorder.read() if family.metric.name == catalogue.OUTBOX_OLDEST.name]
    assert family.series == ()


def test_reading_while_another_thread_writes() -> None:
    """A reading in another thread never fails, whole numbers only, and none is lost in the end."""
    recorder = Recorder({})
    histograms = recorder.histograms(catalogue.GC_PAUSE)
    done, has_seen = threading.Event(), threading.Event()
    seen: list[int] = []

    def read() -> None:
        while not done.is_set():
            for family in recorder.read():
                seen.extend(one.value.count for one in family.series if isinstance(one.value, HistogramValue))
            if seen:
                has_seen.set()

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(20_000):
        histograms.child(str(number % 100)).observe(0.001)
        if number == 10_000:  # else all may be written before the reader has its first turn
            assert has_seen.wait(10)
    done.set()
    reader.join()
    (family,) = [family for family in recorder.read() if family.metric.name == catalogue.GC_PAUSE.name]
    assert sum(one.value.count for one in family.series if isinstance(one.value, HistogramValue)) == 20_000
