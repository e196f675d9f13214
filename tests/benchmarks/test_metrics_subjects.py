"""The subjects of the `metrics` benchmark answer, count and are scraped; how long it takes is not asserted."""

import sys
from collections.abc import Iterator
from contextlib import closing

import pytest
from prometheus_client.parser import text_string_to_metric_families

from benchmarks._driven import Driven, OrderedProcess
from benchmarks._harness import Effort
from benchmarks._processes import Cores
from benchmarks.metrics._apps import APPS
from benchmarks.metrics._benchmark import _NOT_SCRAPED, _ROUTES, MetricsBenchmark, _fill, _service
from benchmarks.metrics._scrape import Scraper, count_series
from benchmarks.response_cache._client import Ask
from benchmarks.response_cache._work import CONNECTIONS

_CORES = Cores.available()


@pytest.fixture(scope="module")
def client() -> Iterator[OrderedProcess]:
    """Yield the client, suspended."""
    command = [sys.executable, "-m", "benchmarks.response_cache._client"]
    with OrderedProcess("client", command, _CORES.client) as process:
        process.suspend()
        yield process


@pytest.mark.parametrize("subject", APPS)
def test_every_subject_answers_and_counts(subject: str, client: OrderedProcess) -> None:
    """Each subject gives every document, and its metrics have the requests that were sent, if it serves any."""
    with _service(subject, _CORES.server, 0) as server, closing(Scraper(server.address)) as scraper:
        order = Ask(server.address.removeprefix("http://"), server.pid, 0.05, 0.0, cached=False)
        driven = client.measure(order, 0.05, Driven)
        assert driven.calls >= CONNECTIONS
        counted = 0.0
        for family in text_string_to_metric_families(scraper.scrape().decode()):
            for sample in family.samples:
                if sample.name.endswith("_count") and "/items/{number}" in sample.labels.values():
                    counted = max(counted, sample.value)
        assert counted == (
            0.0 if subject in {"bare", *_NOT_SCRAPED} else driven.calls + 2 * CONNECTIONS
        )  # opened, warmed
        assert scraper.lag() >= 0.0


@pytest.mark.parametrize("subject", ["hasten-install", "instrumentator", "instrumentator-loop", "starlette-exporter"])
def test_what_is_scraped_has_as_many_series_as_was_said(subject: str) -> None:
    """A service is filled until its scrape has about so many samples, whatever the library makes of a route."""
    with _service(subject, _CORES.server, _ROUTES) as server, closing(Scraper(server.address)) as scraper:
        _fill(scraper, 1000)
        assert 1000 <= count_series(scraper.scrape()) < 1500


def test_subjects_are_complete() -> None:
    """There is an app for every subject."""
    assert {subject.name for subject in MetricsBenchmark.subjects} == set(APPS)


def test_metrics_benchmark_prepares_what_was_chosen() -> None:
    """Chosen subjects have trials, whose figures have units; what is added is the difference to the bare app."""
    only = ("bare", "hasten-monitor")
    with MetricsBenchmark().prepare(Effort(1, quick=True, only=only, cases=("request", "scrape-1000"))) as prepared:
        figures = {}
        for trial in prepared.trials:
            trial.turn(seed=0)
        for trial in reversed(prepared.trials):
            figures[trial.subject, trial.case] = trial.figures()
    assert set(figures) == {(subject, case) for subject in only for case in ("request", "scrape-1000")}
    bare, ours = (figures[subject, "request"] for subject in only)
    assert ours["added"] == ours["cpu"] - bare["cpu"]
    assert set(ours) | set(figures["bare", "scrape-1000"]) == set(MetricsBenchmark.units)
    assert figures["bare", "scrape-1000"]["series"] == 0 < figures["hasten-monitor", "scrape-1000"]["series"]
