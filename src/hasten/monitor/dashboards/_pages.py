"""The six dashboards."""

from collections.abc import Iterable
from typing import Any

from hasten.monitor.dashboards._caches import caches
from hasten.monitor.dashboards._dashboard import dashboard
from hasten.monitor.dashboards._events import messages
from hasten.monitor.dashboards._overview import overview
from hasten.monitor.dashboards._rpc import rpc
from hasten.monitor.dashboards._runtime import runtime
from hasten.monitor.dashboards._service import service
from hasten.monitor.slo import Objective


def dashboards(objectives: Iterable[Objective] = ()) -> dict[str, dict[str, Any]]:
    """Return the dashboards, as Grafana's JSON by file name: `overview.json`.

    They show every metric of the catalogue, for all services that Prometheus scrapes.

    Args:
      objectives: Whose thresholds are drawn into the graphs, and whose error budgets are shown.
    """
    kept = tuple(objectives)
    sheets = {
        "overview.json": overview(kept),
        "service.json": service(kept),
        "rpc.json": rpc(kept),
        "events.json": messages(kept),
        "caches.json": caches(),
        "runtime.json": runtime(),
    }
    return {name: dashboard(sheet) for name, sheet in sheets.items()}
