"""A snapshot as OpenTelemetry's metrics: explicit histograms with their exemplars, sums, gauges.

Names are such that Prometheus, which takes OTLP, and the collector's Prometheus exporter make those of the scrape of
them: dots become underscores, the unit and `_total` come behind. So one dashboard serves both ways.
"""

from typing import Any

from opentelemetry.sdk.metrics import Exemplar as SdkExemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.metrics.export import Metric as SdkMetric
from opentelemetry.sdk.resources import Resource

from hasten.monitor._metric import Metric
from hasten.monitor._snapshot import Exemplar, Family, HistogramValue, Series, Snapshot
from hasten.monitor.otel._patient import Patient
from hasten.monitor.otel._spans import SCOPE

_UNITS = {"": "", "seconds": "s", "bytes": "By", "ratio": "1"}
_NAMES = {
    "http_server_request_duration": "http.server.request.duration",
    "http_server_active_requests": "http.server.active_requests",
    "http_client_request_duration": "http.client.request.duration",
    "rpc_server_call_duration": "rpc.server.call.duration",
    "rpc_client_call_duration": "rpc.client.call.duration",
    "messaging_client_sent_messages": "messaging.client.sent.messages",
    "messaging_client_operation_duration": "messaging.client.operation.duration",
    "messaging_client_consumed_messages": "messaging.client.consumed.messages",
    "messaging_process_duration": "messaging.process.duration",
}
"""Metrics of the semantic conventions, which have dots; only a table tells where."""
_LABELS = {
    "http_request_method": "http.request.method",
    "http_route": "http.route",
    "server_address": "server.address",
    "server_port": "server.port",
    "http_response_status_code": "http.response.status_code",
    "rpc_method": "rpc.method",
    "rpc_response_status_code": "rpc.response.status_code",
    "messaging_destination_name": "messaging.destination.name",
    "messaging_consumer_group_name": "messaging.consumer.group.name",
    "messaging_operation_name": "messaging.operation.name",
    "error_type": "error.type",
}
_CUMULATIVE = AggregationTemporality.CUMULATIVE


def metrics_data(snapshot: Snapshot, resource: Resource) -> MetricsData:
    """Return all metrics of a snapshot that have a series; the worker is said by the resource."""
    metrics = [_metric(family, snapshot) for family in snapshot.families if family.series]
    return MetricsData([ResourceMetrics(resource, [ScopeMetrics(SCOPE, metrics, "")], "")])


def otlp_name(metric: Metric) -> str:
    """Return a metric's name without its unit and `_total`: `http.server.request.duration`, `hasten.loop_lag`."""
    name = metric.name.removesuffix("_total")
    if metric.unit:
        name = name.removesuffix(f"_{metric.unit}")
    return _NAMES.get(name, name.replace("hasten_", "hasten.", 1))


def _metric(family: Family, snapshot: Snapshot) -> SdkMetric:
    metric = family.metric
    span = int(snapshot.started * 1e9), int(snapshot.at * 1e9)
    data: Any
    if metric.kind == "histogram":
        data = Histogram(Patient(family.series, lambda series: _histogram(metric, series, *span)), _CUMULATIVE)
    else:
        numbers = Patient(family.series, lambda series: _number(metric, series, *span))
        data = Gauge(numbers) if metric.kind == "gauge" else Sum(numbers, _CUMULATIVE, is_monotonic=True)
    return SdkMetric(otlp_name(metric), metric.help, _UNITS[metric.unit], data)


def _labels(metric: Metric, series: Series) -> dict[str, str]:
    return {_LABELS.get(name, name): value for name, value in zip(metric.labels, series.values, strict=True) if value}


def _number(metric: Metric, series: Series, started: int, at: int) -> NumberDataPoint:
    value = series.value
    assert not isinstance(value, HistogramValue)
    return NumberDataPoint(_labels(metric, series), started, at, float(value))


def _histogram(metric: Metric, series: Series, started: int, at: int) -> HistogramDataPoint:
    value = series.value
    assert isinstance(value, HistogramValue)
    return HistogramDataPoint(
        attributes=_labels(metric, series),
        start_time_unix_nano=started,
        time_unix_nano=at,
        count=value.count,
        sum=value.total,
        bucket_counts=value.counts,
        explicit_bounds=metric.bounds,
        min=None,  # type: ignore[arg-type]  # not known; the wire has it optional
        max=None,  # type: ignore[arg-type]
        exemplars=[_exemplar(each) for each in value.exemplars if each is not None],
    )


def _exemplar(exemplar: Exemplar) -> SdkExemplar:
    """Return an exemplar; it names its trace alone, and the encoder asks for a span: of zeros, which is none."""
    return SdkExemplar({}, exemplar.value, int(exemplar.at * 1e9), span_id=0, trace_id=int(exemplar.trace_id, 16))
