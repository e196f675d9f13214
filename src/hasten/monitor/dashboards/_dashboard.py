"""A whole dashboard of Grafana: its rows one below the other, its variables, annotations and links."""

import string
from collections.abc import Sequence

import msgspec

from hasten.monitor import _catalogue as catalogue
from hasten.monitor.dashboards._panels import DATASOURCE, Json

SCHEMA_VERSION = 42
TAG = "hasten"
_COLUMNS = 24
_DATASOURCE = {"type": "datasource", "name": "datasource", "label": "data source", "query": "prometheus"}


class Row(msgspec.Struct, frozen=True):
    """Panels below a title, in the order of reading; each stands beside the last if there is room."""

    title: str
    panels: tuple[Json, ...]


class Sheet(msgspec.Struct, frozen=True, kw_only=True):
    """What a dashboard is made from.

    Attributes:
      uid: Of the dashboard, the same for ever: links and bookmarks have it.
      title, description: Of the dashboard.
      variables: Behind the data source's.
      span: How much time is shown: `1h`.
    """

    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]
    variables: tuple[Json, ...]
    span: str = "1h"


def dashboard(sheet: Sheet) -> Json:
    """Return Grafana's JSON."""
    return {
        "uid": sheet.uid,
        "title": sheet.title,
        "description": sheet.description,
        "tags": [TAG],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,  # one crosshair for all graphs
        "refresh": "10s",
        "time": {"from": f"now-{sheet.span}", "to": "now"},
        "timezone": "",
        "templating": {"list": [_DATASOURCE, *sheet.variables]},
        "annotations": {"list": [_BUILT_IN, _STARTS, _ALERTS]},
        "links": [_LINK],
        "panels": _placed(sheet.rows),
    }


# ---- variables


def service_variable(*, many: bool) -> Json:
    """Return the choice of services, Prometheus' `job`.

    Args:
      many: Whether several may be chosen, and all are at first.
    """
    return _choice("job", "service", f"label_values({catalogue.BUILD.name}, job)", many=many)


def worker_variable() -> Json:
    """Return the choice of workers of the services that are chosen."""
    return _choice("worker", "worker", f'label_values({catalogue.BUILD.name}{{job=~"$job"}}, worker)', many=True)


def endpoint_variable() -> Json:
    """Return the choice of the endpoints that the ledger knows."""
    found = f'label_values({catalogue.LEDGER_REQUESTS.name}{{job=~"$job"}}, endpoint)'
    return _choice("endpoint", "endpoint", found, many=True)


def _choice(name: str, label: str, values: str, *, many: bool) -> Json:
    choice: Json = {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": DATASOURCE,
        "query": values,
        "definition": values,
        "refresh": 2,  # when the time that is looked at changes
        "sort": 1,
        "multi": many,
        "includeAll": many,
    }
    if many:
        choice |= {"allValue": ".*", "current": {"text": ["All"], "value": ["$__all"]}}
    return choice


# ---- what stands over all graphs

_BUILT_IN: Json = {
    "name": "Annotations & Alerts",
    "builtIn": 1,
    "datasource": {"type": "grafana", "uid": "-- Grafana --"},
    "enable": True,
    "hide": True,
    "iconColor": "rgba(0, 211, 255, 1)",
    "type": "dashboard",
}
_STARTS: Json = {
    "name": "starts and deploys",
    "datasource": DATASOURCE,
    "enable": True,
    "hide": False,
    "iconColor": "blue",
    "expr": f'{catalogue.PROCESS_START.name}{{job=~"$job"}} * 1000',
    "useValueForTime": True,
    "titleFormat": "{{job}} started",
    "textFormat": "worker {{worker}} at {{instance}}",
    "tagKeys": "job",
}
_ALERTS: Json = {
    "name": "firing alerts",
    "datasource": DATASOURCE,
    "enable": True,
    "hide": False,
    "iconColor": "red",
    "expr": 'max by (alertname, service, severity, slo) (ALERTS{alertstate="firing", service=~"$job"})',
    "step": "60s",
    "titleFormat": "{{alertname}}",
    "textFormat": "{{service}} {{slo}}",
    "tagKeys": "severity",
}
_LINK: Json = {
    "type": "dashboards",
    "title": TAG,
    "tags": [TAG],
    "icon": "external link",
    "tooltip": "",
    "asDropdown": False,
    "targetBlank": False,
    "includeVars": True,
    "keepTime": True,
}

# ---- places


def _placed(rows: Sequence[Row]) -> list[Json]:
    """Return the panels of rows, each behind its title, with ids and places."""
    placed: list[Json] = []
    top = 0
    for row in rows:
        inside, bottom = _flowed(row.panels, top + 1)
        placed += [_title(row.title, top), *inside]
        top = bottom
    return [{"id": number, **panel} for number, panel in enumerate(placed, 1)]


def _title(title: str, top: int) -> Json:
    place = {"x": 0, "y": top, "w": _COLUMNS, "h": 1}
    return {"type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}


def _flowed(panels: Sequence[Json], top: int) -> tuple[list[Json], int]:
    """Return panels with their places, and where the next row begins."""
    placed: list[Json] = []
    left, line, bottom = 0, top, top
    for panel in panels:
        width, height = panel["gridPos"]["w"], panel["gridPos"]["h"]
        if left + width > _COLUMNS:
            left, line = 0, bottom
        placed.append(panel | {"gridPos": {"x": left, "y": line, "w": width, "h": height}, **_lettered(panel)})
        left += width
        bottom = max(bottom, line + height)
    return placed, bottom


def _lettered(panel: Json) -> Json:
    """Return the panel's targets, each with the letter that Grafana knows it by."""
    if "targets" not in panel:
        return {}
    return {"targets": [target | {"refId": string.ascii_uppercase[at]} for at, target in enumerate(panel["targets"])]}
