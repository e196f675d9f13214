"""The metrics that a collector gets are those of the scrape."""

import asyncio
from typing import Any

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric as SentMetric
from opentelemetry.sdk.resources import Resource
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from hasten.monitor import CATALOGUE, Exposition, Metric, Snapshot
from hasten.monitor.otel import Otlp
from hasten.monitor.otel._metrics import metrics_data, otlp_name
from tests.monitor.otel.collector import Collector, attributes
from tests.monitor.otel.shop import Shop
from tests.monitor.test_trace import TRACE, TRACEPARENT

SUFFIXES = {"s": "_seconds", "By": "_bytes", "1": "_ratio", "": ""}
"""What Prometheus, and the collector's exporter for it, put behind a name for its unit."""
Sample = tuple[str, frozenset[tuple[str, str]]]


def in_prometheus(name: str) -> str:
    """Return a metric's or label's name as Prometheus writes one that came by OTLP."""
    return name.replace(".", "_")


def samples_of(sent: SentMetric) -> dict[Sample, float]:
    """Return a metric that came by OTLP as the samples that Prometheus makes of it."""
    name = in_prometheus(sent.name) + SUFFIXES[sent.unit]
    found: dict[Sample, float] = {}
    kind = sent.WhichOneof("data")
    for point in getattr(sent, kind or "gauge").data_points:
        labels = {in_prometheus(key): value for key, value in attributes(point.attributes).items()}
        if kind == "histogram":
            found |= _buckets(name, labels, point)
        else:
            suffix = "_total" if kind == "sum" else ""
            found[f"{name}{suffix}", frozenset(labels.items())] = point.as_double
    return found


def _buckets(name: str, labels: dict[str, str], point: Any) -> dict[Sample, float]:
    found: dict[Sample, float] = {}
    bounds = [*map(repr, point.explicit_bounds), "+Inf"]
    total = 0
    for bound, count in zip(bounds, point.bucket_counts, strict=True):
        total += count
        found[f"{name}_bucket", frozenset({**labels, "le": bound}.items())] = total
    found[f"{name}_count", frozenset(labels.items())] = point.count
    found[f"{name}_sum", frozenset(labels.items())] = point.sum
    return found


def scraped(snapshot: Snapshot) -> dict[Sample, float]:
    """Return a snapshot's samples as a scrape has them; empty labels are none, as in Prometheus."""
    parse: Any = text_string_to_metric_families
    text = Exposition().render(snapshot, open_metrics=True) + "# EOF\n"
    found: dict[Sample, float] = {}
    for family in parse(text):
        for sample in family.samples:
            labels = {name: value for name, value in sample.labels.items() if value and name != "worker"}
            found[sample.name, frozenset(labels.items())] = sample.value
    return found


def snapshot_of_a_shop() -> Snapshot:
    """Return the metrics of a shop in which something has been bought, under a caller's trace."""

    async def scenario() -> Snapshot:
        async with Shop(Otlp("http://127.0.0.1:9", timeout=0.001), sample_every=1) as shop:
            for item in ("7", "nothing"):
                await shop.client.get(f"/buy/{item}", headers={"traceparent": TRACEPARENT})
            await shop.client.get("/nowhere")
            await shop.handled.wait()
            monitor = shop.app.state.monitor
            snapshot: Snapshot = await asyncio.to_thread(monitor.snapshot)
        return snapshot

    return asyncio.run(scenario())


def test_they_are_the_scrape_s() -> None:
    """Every sample of a scrape comes by OTLP with the same name, labels and value, and no other does."""
    snapshot = snapshot_of_a_shop()
    sent = encode_metrics(metrics_data(snapshot, Resource.get_empty()))
    (scope,) = sent.resource_metrics[0].scope_metrics
    found: dict[Sample, float] = {}
    for metric in scope.metrics:
        found |= samples_of(metric)
    assert found == scraped(snapshot)
    names = {name for name, _ in found}
    assert {"http_server_request_duration_seconds_bucket", "hasten_otlp_exports_total"} <= names


def test_every_metric_of_the_catalogue_keeps_its_name() -> None:
    """Prometheus makes of each name that is sent, with its unit, the name of the scrape; no two are the same."""
    units = {"seconds": "s", "bytes": "By", "ratio": "1", "": ""}

    def back(metric: Metric) -> str:
        return in_prometheus(otlp_name(metric)) + SUFFIXES[units[metric.unit]] + "_total" * (metric.kind == "counter")

    assert [back(metric) for metric in CATALOGUE] == [metric.name for metric in CATALOGUE]


def test_names_and_units_are_opentelemetry_s(collector: Collector) -> None:
    """A request's duration comes by the name, the unit and the labels of the semantic conventions."""

    async def scenario() -> None:
        async with Shop(collector.url) as shop:
            await shop.client.get("/buy/7", headers={"traceparent": TRACEPARENT})

    asyncio.run(scenario())
    duration = collector.metrics["http.server.request.duration"]
    (point,) = duration.histogram.data_points
    assert duration.unit == "s"
    assert attributes(point.attributes) == {
        "http.request.method": "GET",
        "http.route": "/buy/{item}",
        "http.response.status_code": "200",
    }
    assert point.start_time_unix_nano < point.time_unix_nano


def test_exemplars_come_along(collector: Collector) -> None:
    """A bucket whose last request was traced says by which trace; so do calls and messages of the same trace."""

    async def scenario() -> None:
        async with Shop(Otlp(collector.url, ratio=0.0)) as shop:
            await shop.client.get("/buy/7", headers={"traceparent": TRACEPARENT})
            await shop.handled.wait()

    asyncio.run(scenario())
    for name in (
        "http.server.request.duration",
        "rpc.client.call.duration",
        "rpc.server.call.duration",
        "messaging.process.duration",
    ):
        exemplars = [each for point in collector.metrics[name].histogram.data_points for each in point.exemplars]
        assert [each.trace_id.hex() for each in exemplars] == [TRACE], name
        assert exemplars[0].as_double > 0.0
