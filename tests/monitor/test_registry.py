"""A registry of prometheus_client and a monitor show each other's metrics, once each."""

import threading
from collections.abc import Callable, Iterable, Iterator

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, Info, Summary, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric as ForeignMetric
from prometheus_client.openmetrics import exposition as open_metrics_exposition
from prometheus_client.openmetrics import parser as open_metrics_parser
from prometheus_client.parser import text_string_to_metric_families as parse_text

from hasten._core.errors import ConfigurationError
from hasten._core.signals import CallFinished
from hasten.monitor import CATALOGUE, Exposition, Monitor, Snapshot
from hasten.monitor import _catalogue as catalogue
from hasten.monitor._aliases import INSTRUMENTATOR
from hasten.monitor._registry import SharedRegistry

parse_open_metrics: Callable[[str], Iterable[ForeignMetric]] = open_metrics_parser.text_string_to_metric_families
generate_open_metrics: Callable[[CollectorRegistry], bytes] = open_metrics_exposition.generate_latest
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Shared:
    """A monitor and the registry of its user, as the admin port has them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.monitor = Monitor("shop")
        self.registry = registry
        self.shared = SharedRegistry(registry, self.monitor.snapshot)
        histogram = self.monitor._recorder.histograms(catalogue.HTTP_SERVER_DURATION).child("GET", '/a"b\\c', "200")
        histogram.observe(0.02)
        histogram.observe_traced(0.03, "4bf92f3577b34da6a3ce929d0e0e4736")

    def scrape(self, *, open_metrics: bool) -> str:
        """Return what the admin port says."""
        text = Exposition().render(self.monitor.snapshot(), open_metrics=open_metrics)
        text += self.shared.render(open_metrics=open_metrics)
        return f"{text}# EOF\n" if open_metrics else text


def _samples(families: Iterable[ForeignMetric]) -> Samples:
    found: Samples = {}
    for family in families:
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found, key
            found[key] = sample.value
    return found


def _texts(shared: Shared) -> Iterator[Samples]:
    """Return what a scrape gives in both formats, with no series and no family twice."""
    text = shared.scrape(open_metrics=False)
    types = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")]
    assert len(types) == len(set(types))
    yield _samples(parse_text(text))
    yield _samples(parse_open_metrics(shared.scrape(open_metrics=True)))


@pytest.fixture
def shared() -> Iterator[Shared]:
    """Yield a monitor in an empty registry."""
    shared = Shared(CollectorRegistry(auto_describe=True))
    shared.shared.join()
    yield shared
    shared.shared.leave()


def test_their_metrics_are_in_our_scrape_as_they_are(shared: Shared) -> None:
    """Counters, gauges, histograms, summaries and infos of the user are there once, beside ours, in both formats."""
    orders = Counter("orders", "Orders", ["kind"], registry=shared.registry)
    orders.labels('a"b\\').inc(3)
    Gauge("stock", "Stock", registry=shared.registry).set(float("nan"))
    Histogram("basket", "Basket", registry=shared.registry, buckets=(1, 2)).observe(1.5)
    Summary("weight", "Weight", registry=shared.registry).observe(2)
    Info("shop", "Shop", registry=shared.registry).info({"city": "Bern"})
    for samples in _texts(shared):
        assert samples["orders_total", frozenset({("kind", 'a"b\\')})] == 3
        assert samples["basket_bucket", frozenset({("le", "2.0")})] == 1
        assert samples["weight_sum", frozenset()] == 2
        assert samples["shop_info", frozenset({("city", "Bern")})] == 1
        assert samples["process_start_time_seconds", frozenset({("worker", "0")})] > 0


def test_their_exemplars_are_kept(shared: Shared) -> None:
    """An exemplar of the user's own is in the OpenMetrics scrape."""
    Counter("orders", "Orders", registry=shared.registry).inc(exemplar={"trace_id": "abc"})
    text = shared.scrape(open_metrics=True)
    (orders,) = [family for family in parse_open_metrics(text) if family.name == "orders"]
    assert orders.samples[0].exemplar is not None
    assert orders.samples[0].exemplar.labels == {"trace_id": "abc"}


def test_our_metrics_are_in_their_scrape(shared: Shared) -> None:
    """What their server renders has our families, and is what ours renders, but for process_*."""
    for family in shared.monitor.snapshot().families:
        assert family.metric in CATALOGUE
    ours = Exposition().render(shared.monitor.snapshot(), open_metrics=False)
    expected = {key: value for key, value in _samples(parse_text(ours)).items() if not key[0].startswith("process_")}
    assert _samples(parse_text(generate_latest(shared.registry).decode())) == expected
    text = generate_open_metrics(shared.registry).decode()
    assert _samples(parse_open_metrics(text)) == expected
    assert '# {trace_id="4bf92f3577b34da6a3ce929d0e0e4736"} 0.03 ' in text
    assert "# UNIT http_server_request_duration_seconds seconds\n" in text


def test_process_metrics_are_told_once() -> None:
    """With the default registry, which has process_* itself, each scrape has them once."""
    shared = Shared(REGISTRY)
    shared.shared.join()
    try:
        for samples in _texts(shared):
            assert sum(name == "process_cpu_seconds_total" for name, _ in samples) == 1
            assert ("python_info", frozenset({("worker", "0")})) not in samples
            assert any(name == "python_info" for name, _ in samples)
        theirs = _samples(parse_text(generate_latest(REGISTRY).decode()))
        assert sum(name == "process_cpu_seconds_total" for name, _ in theirs) == 1
    finally:
        shared.shared.leave()
    assert "hasten_build_info" not in generate_latest(REGISTRY).decode()


@pytest.mark.parametrize("name", ["hasten_loop_tasks", "http_server_request_duration_seconds_count"])
def test_a_name_that_is_taken_is_said(name: str) -> None:
    """A metric of the user's with a name of ours is an error of one line, and changes nothing."""
    registry = CollectorRegistry()
    Gauge(name, "Taken", registry=registry)
    shared = Shared(registry)
    with pytest.raises(ConfigurationError, match=f"registry: it has metrics of hasten's names: {name}; rename"):
        shared.shared.join()
    shared.shared.leave()
    assert "hasten_build_info" not in generate_latest(registry).decode()


def test_a_name_that_comes_later_is_refused(shared: Shared) -> None:
    """A metric that the user makes afterwards with a name of ours is refused by the registry."""
    with pytest.raises(ValueError, match="hasten_loop_tasks"):
        Gauge("hasten_loop_tasks", "Taken", registry=shared.registry)


def test_alias_names_are_ours_too() -> None:
    """With aliases the names of the other library are taken, and shown by the registry."""
    registry = CollectorRegistry()
    Counter("http_requests", "Requests", registry=registry)
    shared = SharedRegistry(registry, Monitor().snapshot, (*CATALOGUE, *INSTRUMENTATOR))
    with pytest.raises(ConfigurationError, match="http_requests"):
        shared.join()


def test_two_services_do_not_share_a_registry(shared: Shared) -> None:
    """A second monitor of the process needs another registry; the first one's end makes room."""
    second = Shared(shared.registry)
    with pytest.raises(ConfigurationError, match="registry"):
        second.shared.join()
    shared.shared.leave()
    second.shared.join()
    second.shared.join()
    assert "hasten_build_info{" in generate_latest(shared.registry).decode()
    second.shared.leave()


class Undescribed:
    """A collector whose names the registry does not know."""

    def __init__(self, name: str) -> None:
        self._name = name

    def collect(self) -> Iterator[ForeignMetric]:
        yield GaugeMetricFamily(self._name, "Theirs", value=7)
        yield GaugeMetricFamily("theirs_alone", "Theirs", value=8)


def test_an_undescribed_family_with_our_name_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """Where a clash could not be seen before, our family is the one of our scrape, and that is said once."""
    shared = Shared(CollectorRegistry())
    shared.registry.register(Undescribed("hasten_loop_tasks"))
    shared.shared.join()
    for samples in _texts(shared):
        assert samples["theirs_alone", frozenset()] == 8
        assert ("hasten_loop_tasks", frozenset()) not in samples
    assert [record.getMessage() for record in caplog.records] == [
        "hasten_loop_tasks of a registry of prometheus_client is left out: hasten has that name"
    ]


def test_a_failing_collector_does_not_take_our_metrics(shared: Shared, caplog: pytest.LogCaptureFixture) -> None:
    """A collector that raises costs its registry's metrics of that scrape, and a warning, not ours."""

    class Failing:
        fails = False

        def collect(self) -> Iterator[ForeignMetric]:
            if self.fails:
                raise OSError("disk")
            return iter(())

    failing = Failing()
    shared.registry.register(failing)
    Gauge("stock", "Stock", registry=shared.registry).set(3)
    failing.fails = True
    for samples in _texts(shared):
        assert any(name == "process_start_time_seconds" for name, _ in samples)
        assert ("stock", frozenset()) not in samples
    assert "cannot be read: OSError: disk" in caplog.text
    failing.fails = False
    assert all(samples["stock", frozenset()] == 3 for samples in _texts(shared))


def test_scrapes_of_both_sides_do_not_disturb_each_other(shared: Shared) -> None:
    """Threads that scrape here and there, while calls are counted, each see all of their metrics."""
    Gauge("stock", "Stock", registry=shared.registry).set(3)
    wrong: list[str] = []

    def scrape_theirs() -> None:
        for _ in range(6):
            text = generate_latest(shared.registry).decode()
            if "hasten_build_info" not in text or "stock 3.0" not in text:
                wrong.append(text)

    def scrape_ours() -> None:
        for _ in range(6):
            text = shared.scrape(open_metrics=False)
            if text.count("# TYPE hasten_build_info ") != 1 or "stock 3.0" not in text:
                wrong.append(text)

    threads = [threading.Thread(target=work) for work in (scrape_theirs, scrape_ours, scrape_theirs)]
    for thread in threads:
        thread.start()
    number = 0
    while any(thread.is_alive() for thread in threads):
        number += 1
        shared.monitor._calls.note(
            CallFinished(
                side="server",
                method=f"/s/M{number % 500}",
                peer="peer",
                attempt="first",
                code="OK",
                seconds=0.01,
                sent_bytes=1,
                received_bytes=1,
            )
        )
    for thread in threads:
        thread.join()
    assert not wrong


def test_snapshot_type_is_the_monitors() -> None:
    """The collector reads what the monitor tells, no copy of its own."""
    taken: list[Snapshot] = []
    monitor = Monitor()

    def snapshot() -> Snapshot:
        taken.append(monitor.snapshot())
        return taken[-1]

    registry = CollectorRegistry()
    shared = SharedRegistry(registry, snapshot)
    shared.join()
    assert not taken  # joining asks for names, not for values
    generate_latest(registry)
    assert len(taken) == 1
    shared.render(open_metrics=False)
    assert len(taken) == 1
