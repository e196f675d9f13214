"""What is rendered is read back by prometheus_client's own parsers, and by promtool, as what was counted."""

import math
import subprocess
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.metrics_core import Metric as ForeignMetric
from prometheus_client.openmetrics import parser as open_metrics_parser
from prometheus_client.parser import text_string_to_metric_families as parse_text

from hasten.monitor import (
    CATALOGUE,
    OPEN_METRICS,
    TEXT,
    Exemplar,
    Exposition,
    Family,
    HistogramValue,
    Metric,
    Series,
    Snapshot,
)
from hasten.monitor._exposition import bound_text, negotiate, number
from tests.monitor.driving import service_running

parse_open_metrics: Callable[[str], Iterable[ForeignMetric]] = open_metrics_parser.text_string_to_metric_families
_COUNTER = Metric(name="jobs_done_total", kind="counter", labels=("queue", "kind"), help='Jobs that "are" done')
_BYTES = Metric(name="sent_bytes_total", kind="counter", unit="bytes", help="Sent\\bytes,\non two lines")
_GAUGE = Metric(name="waiting", kind="gauge", labels=("queue",), help="Waiting")
_HISTOGRAM = Metric(
    name="took_seconds",
    kind="histogram",
    unit="seconds",
    labels=("queue",),
    bounds=(0.005, 0.1, 1.0, 10.0),
    help="Took",
)
_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
_ANY_TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
_COUNTS = st.lists(st.integers(0, 10**9), min_size=5, max_size=5)


def _snapshot(*families: Family, worker: str = "3") -> Snapshot:
    return Snapshot("shop", worker, 1.0, 2.0, families)


def _text(snapshot: Snapshot, *, open_metrics: bool) -> str:
    text = Exposition().render(snapshot, open_metrics=open_metrics)
    return f"{text}# EOF\n" if open_metrics else text


def _both(snapshot: Snapshot) -> list[list[ForeignMetric]]:
    """Return what both parsers read."""
    return [
        list(parse_text(_text(snapshot, open_metrics=False))),
        list(parse_open_metrics(_text(snapshot, open_metrics=True))),
    ]


@given(_ANY_TEXT, _ANY_TEXT, st.floats(min_value=0, allow_infinity=True, allow_nan=False))
def test_any_label_value_and_number_is_read_back(queue: str, kind: str, value: float) -> None:
    """Quotes, backslashes, line ends, percent signs and every other character come through, in both formats."""
    for families in _both(_snapshot(Family(_COUNTER, (Series((queue, kind), value),)))):
        (sample,) = families[0].samples
        assert sample.labels == {"worker": "3", "queue": queue, "kind": kind}
        assert sample.value == value


@given(_COUNTS, st.floats(0, 1e12), st.lists(_ANY_TEXT, unique=True, min_size=1, max_size=4))
def test_any_histogram_is_read_back(counts: list[int], total: float, queues: list[str]) -> None:
    """Buckets are cumulative, ascending and complete, and sum and count are theirs."""
    series = tuple(Series((queue,), HistogramValue(tuple(counts), total)) for queue in queues)
    for families in _both(_snapshot(Family(_HISTOGRAM, series))):
        for queue in queues:
            mine = [sample for sample in families[0].samples if sample.labels["queue"] == queue]
            buckets = [(sample.labels["le"], sample.value) for sample in mine if sample.name == "took_seconds_bucket"]
            assert buckets == [
                (bound, sum(counts[: place + 1])) for place, bound in enumerate(("0.005", "0.1", "1.0", "10.0", "+Inf"))
            ]
            rest = {sample.name: sample.value for sample in mine if "le" not in sample.labels}
            assert rest == {"took_seconds_sum": total, "took_seconds_count": sum(counts)}


def test_names_types_units_and_help_are_each_formats_own() -> None:
    """OpenMetrics names a counter's family without _total and says its unit; help is read back whole."""
    snapshot = _snapshot(
        Family(_COUNTER, (Series(("a", "b"), 1.0),)),
        Family(_BYTES, (Series((), 2.0),)),
        Family(_GAUGE, (Series(("a",), 3.0),)),
        Family(_HISTOGRAM, (Series(("a",), HistogramValue((1, 0, 0, 0, 0), 0.001)),)),
    )
    text, open_metrics = _both(snapshot)
    assert [family.documentation for family in text] == [f"{each.metric.help}." for each in snapshot.families]
    assert [family.documentation for family in open_metrics] == [family.documentation for family in text]
    assert [(family.name, family.type, family.unit) for family in open_metrics] == [
        ("jobs_done", "counter", ""),
        ("sent_bytes", "counter", "bytes"),
        ("waiting", "gauge", ""),
        ("took_seconds", "histogram", "seconds"),
    ]
    assert "# TYPE jobs_done_total counter\n" in _text(snapshot, open_metrics=False)
    assert "# UNIT" not in _text(snapshot, open_metrics=False)


def test_exemplars_are_in_open_metrics_alone() -> None:
    """The last traced value of a bucket stands behind it; the text format, which has none, has the count alone."""
    value = HistogramValue((1, 2, 0, 0, 1), 99.0, (None, Exemplar(_TRACE, 0.05, 1.5), None, None, None))
    snapshot = _snapshot(Family(_HISTOGRAM, (Series(("a",), value),)))
    _, (family,) = _both(snapshot)
    found = [(sample.labels["le"], sample.exemplar) for sample in family.samples if sample.exemplar]
    ((bound, exemplar),) = found
    assert bound == "0.1"
    assert exemplar is not None
    assert (exemplar.labels, exemplar.value, float(exemplar.timestamp or 0)) == ({"trace_id": _TRACE}, 0.05, 1.5)
    assert " # " not in _text(snapshot, open_metrics=False)


@pytest.mark.parametrize(("length", "kept"), [(120, True), (121, False)])
def test_an_exemplar_that_is_too_long_is_left_out(length: int, kept: bool) -> None:  # noqa: FBT001
    """Names and values of an exemplar's labels have 128 characters at most."""
    value = HistogramValue((1, 0, 0, 0, 0), 1.0, (Exemplar("f" * length, 0.001, 1.5), None, None, None, None))
    _, (family,) = _both(_snapshot(Family(_HISTOGRAM, (Series(("a",), value),))))
    assert bool(family.samples[0].exemplar) == kept


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -2.5, 0.0, 1e300, 123456789012345.0])
def test_gauges_may_be_any_number(value: float) -> None:
    """A gauge that is infinite or no number is read back as that."""
    for families in _both(_snapshot(Family(_GAUGE, (Series(("a",), value),)))):
        assert repr(float(families[0].samples[0].value)) == repr(float(value))


@pytest.mark.parametrize("value", [math.nan, -1.0, HistogramValue((1, 0, 0, 0, 0), math.nan)])
def test_sums_that_are_none_are_left_out(value: float | HistogramValue) -> None:
    """A counter or a histogram whose sum is no number, or less than nothing, takes nothing else from the scrape."""
    metric = _HISTOGRAM if isinstance(value, HistogramValue) else _GAUGE
    good: float | HistogramValue = HistogramValue((1, 0, 0, 0, 0), 1.0) if isinstance(value, HistogramValue) else 1.0
    metric = metric if metric is _HISTOGRAM else Metric(name="a_total", kind="counter", labels=("queue",), help="A")
    for families in _both(_snapshot(Family(metric, (Series(("bad",), value), Series(("good",), good))))):
        assert {sample.labels["queue"] for sample in families[0].samples} == {"good"}
    assert _text(_snapshot(Family(metric, (Series(("bad",), value),))), open_metrics=False) == ""


def test_half_a_character_is_replaced() -> None:
    """A label with half of a surrogate pair can be sent all the same."""
    text = _text(_snapshot(Family(_GAUGE, (Series(("a\ud800",), 1.0),))), open_metrics=True)
    assert 'queue="a?"' in text.encode().decode()


def test_without_a_worker_there_is_no_such_label() -> None:
    """The sum over workers has no worker, and a metric without labels no braces."""
    snapshot = _snapshot(Family(_BYTES, (Series((), 2.0),)), worker="")
    assert _text(snapshot, open_metrics=False).endswith("\nsent_bytes_total 2\n")
    histogram = Metric(name="t_seconds", kind="histogram", bounds=(1.0,), help="T")
    snapshot = _snapshot(Family(histogram, (Series((), HistogramValue((1, 0), 0.5)),)), worker="")
    for (family,) in _both(snapshot):
        assert [sample.labels for sample in family.samples] == [{"le": "1.0"}, {"le": "+Inf"}, {}, {}]


def test_what_was_rendered_once_is_rendered_right_with_other_bounds_and_workers() -> None:
    """Kept templates are those of the same metric and worker: a new bound or number is seen at once."""
    exposition = Exposition()
    wider = Metric(name="took_seconds", kind="histogram", unit="seconds", labels=("queue",), bounds=(0.1,), help="Took")
    for metric, counts in ((_HISTOGRAM, (1, 2, 3, 4, 5)), (wider, (7, 8)), (_HISTOGRAM, (5, 4, 3, 2, 1))):
        for worker in ("0", "1", "1"):
            snapshot = _snapshot(Family(metric, (Series(("a",), HistogramValue(counts, 1.0)),)), worker=worker)
            assert exposition.render(snapshot, open_metrics=False) == _text(snapshot, open_metrics=False)


def test_chunks_are_the_text() -> None:
    """Parts are series: whoever pauses in between sends the same."""
    series = tuple(Series((str(each),), float(each)) for each in range(5))
    snapshot = _snapshot(Family(_GAUGE, series))
    chunks = list(Exposition().chunks(snapshot, open_metrics=True))
    assert "".join(chunks) == Exposition().render(snapshot, open_metrics=True)
    assert len(chunks) == 6


@given(st.floats())
def test_numbers_are_read_back(value: float) -> None:
    """A number is written so that it is the same when read; whole ones have no fraction."""
    text = number(value)
    assert repr(float(text)) == repr(value) or float(text) == value
    assert not text.endswith(".0") or abs(value) >= 1e15


def test_bounds_are_canonical() -> None:
    """Bounds are written as floats, which is what rules match."""
    assert [bound_text(bound) for bound in (1, 0.005, 10.0)] == ["1.0", "0.005", "10.0"]


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/plain", TEXT),
        ("application/openmetrics-text", OPEN_METRICS),
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", OPEN_METRICS),
        ("application/openmetrics-text;version=2.0.0,text/plain;q=0.1", TEXT),
        ("text/plain;version=0.0.4;q=0.5,application/openmetrics-text;q=0.4", TEXT),
        ("text/plain;q=0.4, Application/OpenMetrics-Text; Q=0.5", OPEN_METRICS),
        ("application/openmetrics-text;q=0, */*", TEXT),
        ("application/openmetrics-text;q=nonsense", TEXT),
        ("application/openmetrics-text;q=7", TEXT),
        (";;,,=;q", TEXT),
        (  # Prometheus 2.42
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
                "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
            ),
            OPEN_METRICS,
        ),
        (  # Prometheus 3
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
                "application/openmetrics-text;version=0.0.1;q=0.4,"
                "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,/;q=0.1"
            ),
            OPEN_METRICS,
        ),
    ],
)
def test_the_format_is_what_was_asked_for(accept: str, wanted: str) -> None:
    """OpenMetrics is sent to who names it and prefers nothing else."""
    assert negotiate(accept) == wanted


@given(st.text())
def test_any_accept_field_is_answered(accept: str) -> None:
    """No field of a request is an error."""
    assert negotiate(accept) in {TEXT, OPEN_METRICS}


def test_promtool_finds_no_fault_in_a_whole_scrape(peer: Callable[[str], str]) -> None:
    """A scrape of a service that moves every metric has nothing that promtool warns of, and both parsers read it."""
    promtool = peer("promtool")
    with service_running() as service:
        service.drive()
        text = service.scrape()
        open_metrics = service.scrape("application/openmetrics-text; version=1.0.0")
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    names = {family.name for family in parse_open_metrics(open_metrics)}
    assert names == {family.name for family in parse_text(text)}
    assert names <= {metric.name.removesuffix("_total") for metric in CATALOGUE}
    assert len(names) > len(CATALOGUE) // 2
