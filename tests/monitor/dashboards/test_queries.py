"""Every query of every dashboard finds data in a real Prometheus, which has scraped a service that does everything."""

import math
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import yaml

from hasten.monitor.slo import _names as names
from hasten.monitor.slo._rules import objective_groups
from hasten.monitor.slo._windows import Timing
from tests.monitor.dashboards.panels import OBJECTIVES, SPAN, TARGETS, WITH_OBJECTIVES, Target, expanded, labels_of
from tests.monitor.driving import TRACE_ID, Service, service_running
from tests.monitor.prometheus import Prometheus, eventually
from tests.monitor.service import SERVICE
from tests.monitor.test_catalogue import NAMES, OF_THE_MOMENT, moved_in

pytestmark = pytest.mark.timeout(180)  # a target is scraped after up to ten seconds, and everything has to happen


SHARES = [
    target
    for target in TARGETS
    if target.panel["fieldConfig"]["defaults"]["unit"] == "percentunit" and "slo:" not in target.expr
]


@pytest.fixture(scope="module")
def scraped(prometheus: Prometheus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Return a Prometheus that has seen every metric move, and has evaluated the rules of the objectives."""
    timing = Timing().scaled(1 / 60, interval=0.5)  # five minutes are five seconds
    prometheus.set_rules({"slo.yml": yaml.safe_dump({"groups": objective_groups(OBJECTIVES, timing, "alerts.md")})})
    slo = tmp_path_factory.mktemp("slo") / "slo.toml"
    slo.write_text(_SLO)
    moved: set[str] = set()
    with service_running(slo) as service:
        prometheus.scrape(SERVICE, [service.target])

        def all_seen() -> bool:
            service.drive()
            moved.update(moved_in(service.scrape()))
            burning = prometheus.instant(f'ALERTS{{alertname="SLOBurnFast", alertstate="firing", service="{SERVICE}"}}')
            left = prometheus.instant(f'{names.BUDGET}{{service="{SERVICE}"}}')
            return bool(burning) and len(left) == len(OBJECTIVES) and NAMES - moved <= OF_THE_MOMENT.keys()

        eventually(all_seen, "not everything has happened")
        with driven(service):
            yield prometheus
    prometheus.scrape(SERVICE, [])
    prometheus.set_rules({})


@contextmanager
def driven(service: Service) -> Iterator[None]:
    """Have requests sent all the while: rates over seconds, and alerts, end with them."""
    done = threading.Event()

    def drive() -> None:
        while not done.wait(0.3):
            service.drive()

    thread = threading.Thread(target=drive)
    for _ in range(10):  # so that every rate has two samples of everything
        service.drive()
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


_SLO = """
[[objective]]
service = "monitored"
name = "slow-fast"
target = 0.99
latency = "200ms"
route = "/slow"

[[objective]]
service = "monitored"
name = "get-fast"
target = 0.9
latency = "20ms"
rpc = "/shop.v1.Catalog/Get"
"""
"""The thresholds that no bucket has by itself."""


def found(prometheus: Prometheus, target: Target) -> list[tuple[dict[str, str], list[float]]]:
    """Return the series that a query finds: their labels and values."""
    if target.query["instant"]:
        return [(sample.labels, [sample.value]) for sample in prometheus.instant(target.expr)]
    return [(line.labels, line.values) for line in prometheus.range(target.expr, seconds=SPAN)]


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_finds_data(scraped: Prometheus, target: Target) -> None:
    """A query finds series with numbers, and they have the labels that its legend names."""
    series = found(scraped, target)
    assert any(math.isfinite(value) for _, values in series for value in values), target.expr
    for label in labels_of(target.query["legendFormat"]):
        assert any(label in labels for labels, _ in series), label


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_few_series(scraped: Prometheus, target: Target) -> None:
    """No query has more than 12 series, though there are 200 topics; a heatmap has one for each bucket."""
    if target.panel["type"] != "heatmap":
        assert len(found(scraped, target)) <= 12


@pytest.mark.parametrize("target", SHARES, ids=str)
def test_shares(scraped: Prometheus, target: Target) -> None:
    """What is shown as a share is one: none is below 0 or above 1, where failures are some and not all."""
    values = [value for _, values in found(scraped, target) for value in values if math.isfinite(value)]
    assert 0 <= min(values) <= max(values) <= 1
    if target.panel["title"] in {"Failing", "Errors", "Failed loads"}:
        assert max(values) > 0
        assert min(values) < 1


@pytest.mark.parametrize("name", WITH_OBJECTIVES)
def test_tables(scraped: Prometheus, name: str) -> None:
    """Each column of a table is a label or a value of its queries."""
    for panel in WITH_OBJECTIVES[name]["panels"]:
        if panel["type"] == "table":
            targets = [Target(name, "", panel, query) for query in panel["targets"]]
            fields: set[str] = set()
            for target in targets:
                fields.add("Value" if len(targets) == 1 else f"Value #{target.query['refId']}")
                fields.update(*(labels for labels, _ in found(scraped, target)))
            (shown,) = [each["options"] for each in panel["transformations"] if each["id"] == "filterFieldsByName"]
            assert set(shown["include"]["names"]) <= fields


@pytest.mark.parametrize("name", WITH_OBJECTIVES)
def test_variables(scraped: Prometheus, name: str) -> None:
    """Each variable has values to choose from."""
    for variable in WITH_OBJECTIVES[name]["templating"]["list"][1:]:
        selected = re.fullmatch(r"label_values\((.*), (\w+)\)", expanded(variable["query"]))
        assert selected is not None
        assert scraped.ask(f"label/{selected[2]}/values", {"match[]": selected[1]})


@pytest.mark.parametrize("name", WITH_OBJECTIVES)
def test_annotations(scraped: Prometheus, name: str) -> None:
    """The start of the service is marked at its time, and the alert that fires by its name."""
    starts, alerts = WITH_OBJECTIVES[name]["annotations"]["list"][1:]
    (start,) = scraped.instant(expanded(starts["expr"]))
    assert start.value == 1000 * scraped.value(f'process_start_time_seconds{{job="{SERVICE}"}}')
    assert {"SLOBurnFast"} <= {alert.labels["alertname"] for alert in scraped.instant(expanded(alerts["expr"]))}
    for annotation in (starts, alerts):
        first = scraped.instant(expanded(annotation["expr"]))[0].labels
        assert labels_of(annotation["titleFormat"]) <= first.keys()


def test_exemplars(scraped: Prometheus) -> None:
    """The durations of requests have traces behind their dots."""
    (target,) = [one for one in TARGETS if str(one).startswith("service.json / Routes") and "p99 A" in str(one)]
    assert target.query["exemplar"]
    traces = {each["trace_id"] for each in scraped.exemplars(target.expr, seconds=SPAN)}
    assert traces == {TRACE_ID}


def test_the_line_of_an_objective(scraped: Prometheus) -> None:
    """The threshold of an objective is drawn while its service is chosen, and not else."""
    lines = [one for one in TARGETS if one.query["legendFormat"] == "objective slow-fast"]
    assert lines
    for line in lines:
        (threshold,) = scraped.instant(line.expr)
        assert threshold.value == 0.2
        assert scraped.instant(line.query["expr"].replace("$job", "another")) == []


def test_a_budget_that_burns(scraped: Prometheus) -> None:
    """The objective that is broken has less than nothing left, the others have all."""
    left: dict[str, Any] = {
        sample.labels["slo"]: sample.value for sample in scraped.instant(f'{names.BUDGET}{{service="{SERVICE}"}}')
    }
    assert left["answers"] < 0
    assert left["slow-fast"] <= 1
    assert left.keys() == {objective.name for objective in OBJECTIVES}
