"""What stands in a dashboard: its panels and queries, found again in Grafana's JSON."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from hasten.monitor.dashboards import dashboards
from hasten.monitor.slo import Objective
from tests.monitor.service import SERVICE

Json = dict[str, Any]
SPAN = 30
"""Seconds that a test looks back."""
VARIABLES = {
    "$__rate_interval": "4s",
    "$__range": f"{SPAN}s",
    "$job": SERVICE,
    "$worker": ".*",
    "$endpoint": ".*",
}
OBJECTIVES = (
    Objective(service=SERVICE, name="slow-fast", kind="latency", target=0.99, threshold=0.2, route="/slow"),
    Objective(service=SERVICE, name="answers", kind="availability", target=0.999),
    Objective(service=SERVICE, name="get-fast", kind="latency", target=0.9, threshold=0.02, rpc="/shop.v1.Catalog/Get"),
    Objective(
        service=SERVICE, name="billed", kind="latency", target=0.9, threshold=1.0, topic="orders.paid", group="billing"
    ),
)
"""One of each kind; the second one burns: a route of the service always fails."""


class Target(NamedTuple):
    """A query of a panel."""

    dashboard: str
    row: str
    panel: Json
    query: Json

    @property
    def expr(self) -> str:
        """The query with its variables filled in."""
        return expanded(self.query["expr"])

    def __str__(self) -> str:
        return f"{self.dashboard} / {self.row} / {self.panel['title']} {self.query['refId']}"


def expanded(text: str) -> str:
    """Fill variables in.

    Raises:
      AssertionError: there is one that is not known.
    """
    for name, value in VARIABLES.items():
        text = text.replace(name, value)
    assert "$" not in text, text
    return text


def every_panel(found: dict[str, Json]) -> Iterator[tuple[str, Json]]:
    """Yield each panel with the file that it is in, rows too."""
    for name, dashboard in found.items():
        for panel in dashboard["panels"]:
            yield name, panel


def every_target(found: dict[str, Json]) -> list[Target]:
    """Return each query of each panel."""
    targets: list[Target] = []
    row = ""
    for name, panel in every_panel(found):
        row = panel["title"] if panel["type"] == "row" else row
        targets += [Target(name, row, panel, query) for query in panel.get("targets", ())]
    return targets


def labels_of(legend: str) -> set[str]:
    """Return the labels that a legend names."""
    return set(re.findall(r"\{\{(\w+)\}\}", legend))


WITH_OBJECTIVES = dashboards(OBJECTIVES)
TARGETS = every_target(WITH_OBJECTIVES)
