"""What a service exposes is what the catalogue says: names, types, units, labels, bounds."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_open_metrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from hasten.monitor import CATALOGUE, Metric
from tests.monitor.driving import OPEN_METRICS, TRACE_ID, Service, service_running
from tests.monitor.prometheus import eventually

SUFFIXES = {"histogram": ("_bucket", "_count", "_sum"), "counter": ("",), "gauge": ("",)}
READERS = {"text": (read_text, ""), "OpenMetrics": (read_open_metrics, OPEN_METRICS)}
NAMES = {metric.name for metric in CATALOGUE}
OF_THE_MOMENT = {
    "http_server_active_requests": "zero between requests",
    "hasten_rpc_server_active_calls": "zero between calls",
    "hasten_cache_pending_invalidations": "zero while the other processes answer",
    "hasten_pool_waiting": "zero between requests",
    "hasten_loop_blocked_seconds": "zero unless it is read while the loop is held",
    "hasten_threadpool_queued": "zero between requests",
}
"""What the service cannot hold above zero until somebody looks."""


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """Return a service whose metrics have all moved."""
    moved: set[str] = set()

    def all_moved() -> bool:
        running.drive()
        moved.update(moved_in(running.scrape()))
        return NAMES - moved <= OF_THE_MOMENT.keys()

    with service_running() as running:
        eventually(all_moved, "not all metrics have moved")
        yield running


def moved_in(text: str) -> set[str]:
    """Return the metrics of the catalogue that are there, and not zero."""
    nonzero = set(re.findall(r"^(\w+)\{.* (?!0$|0\.0$)\S+$", text, re.MULTILINE))
    return {metric.name for metric in CATALOGUE if f"{metric.name}{SUFFIXES[metric.kind][-1]}" in nonzero}


def samples_of(service: Service, form: str) -> dict[str, list[Any]]:
    """Return the samples of a scrape by their names, as prometheus_client reads them."""
    read, accept = READERS[form]
    found: dict[str, list[Any]] = {}
    for family in read(service.scrape(accept)):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample)
    return found


@pytest.mark.parametrize("form", READERS)
def test_names(service: Service, form: str) -> None:
    """A service in which everything has happened exposes the metrics of the catalogue, and no other."""
    wanted = {metric.name + suffix for metric in CATALOGUE for suffix in SUFFIXES[metric.kind]}
    assert samples_of(service, form).keys() == wanted


@pytest.mark.parametrize("form", READERS)
def test_labels(service: Service, form: str) -> None:
    """Every series has the labels that the catalogue says, and the worker."""
    samples = samples_of(service, form)
    for metric in CATALOGUE:
        for suffix in SUFFIXES[metric.kind]:
            wanted = {"worker", *metric.labels} | ({"le"} if suffix == "_bucket" else set())
            for sample in samples[metric.name + suffix]:
                assert sample.labels.keys() == wanted, sample


@pytest.mark.parametrize("form", READERS)
def test_types_and_help(service: Service, form: str) -> None:
    """Every family is told with its type and its help, and in OpenMetrics with its unit."""
    read, accept = READERS[form]
    families = {family.name: family for family in read(service.scrape(accept))}
    for metric in CATALOGUE:
        family = families[metric.name.removesuffix("_total") if metric.kind == "counter" else metric.name]
        assert (family.type, family.documentation) == (metric.kind, f"{metric.help}.")
        if form == "OpenMetrics":
            assert family.unit == metric.unit


def test_bounds(service: Service) -> None:
    """Without objectives the buckets of each histogram are those of the catalogue."""
    samples = samples_of(service, "text")
    for metric in CATALOGUE:
        if metric.kind == "histogram":
            found = {float(sample.labels["le"]) for sample in samples[f"{metric.name}_bucket"]}
            assert found == {*metric.bounds, float("inf")}, metric.name


def test_exemplars(service: Service) -> None:
    """A traced request is the example of its bucket, in OpenMetrics."""
    buckets = samples_of(service, "OpenMetrics")["http_server_request_duration_seconds_bucket"]
    found = {sample.exemplar.labels["trace_id"] for sample in buckets if sample.exemplar is not None}
    assert found == {TRACE_ID}


# ---- the catalogue itself


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.name)
def test_well_formed(metric: Metric) -> None:
    """Names, units, bounds and helps are as Prometheus and OpenMetrics want them."""
    assert re.fullmatch(r"[a-z][a-z0-9_]*", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    base = metric.name.removesuffix("_total")
    for unit in ("seconds", "bytes", "ratio"):
        assert base.endswith(f"_{unit}") == (metric.unit == unit), unit
    assert bool(metric.bounds) == (metric.kind == "histogram")
    assert list(metric.bounds) == sorted(set(metric.bounds))
    assert "worker" not in metric.labels
    assert "le" not in metric.labels
    assert metric.help
    assert not metric.help.endswith(".")


def test_no_name_twice() -> None:
    """Each metric is named once."""
    names = [metric.name for metric in CATALOGUE]
    assert len(names) == len(set(names))
