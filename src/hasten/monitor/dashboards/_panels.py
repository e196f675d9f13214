"""Grafana's panels as plain dicts: what this project needs of the classic dashboard model (schema version 42).

A panel has no place yet: `hasten.monitor.dashboards._dashboard` puts it into a row, and gives ids and letters.
"""

from typing import Any

import msgspec

Json = dict[str, Any]
DATASOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
GREEN, YELLOW, ORANGE, RED = "green", "yellow", "orange", "red"
Thresholds = tuple[tuple[float, str], ...]
"""From which value on which colour; below the first one green."""


class Style(msgspec.Struct, frozen=True, kw_only=True):
    """How a panel shows its values.

    Attributes:
      unit: Grafana's id: `s`, `reqps`, `percentunit`, `bytes`, `short`.
      width, height: Of 24 columns, and in rows of 30 pixels.
      most: Upper end of the axis; None fits it to the values.
      thresholds: Drawn as lines in a graph, and as colours elsewhere.
      stacked: Whether areas are stacked.
      table: Whether the legend is a table with the last value and the largest.
      colours: Of series by their names.
      decimals: Of the values; None leaves it to Grafana.
    """

    unit: str = "short"
    width: int = 8
    height: int = 8
    most: float | None = None
    thresholds: Thresholds = ()
    stacked: bool = False
    table: bool = False
    colours: tuple[tuple[str, str], ...] = ()
    decimals: int | None = None


PLAIN = Style()


# ---- queries


def query(expr: str, legend: str = "", *, exemplars: bool = False) -> Json:
    """Return a query over the time that is looked at.

    Args:
      legend: Of each series: `{{job}} p99`.
      exemplars: Whether single traced values are marked in the graph.
    """
    return _target(expr, legend, "time_series") | {"range": True, "instant": False, "exemplar": exemplars}


def now(expr: str, legend: str = "", *, form: str = "time_series") -> Json:
    """Return a query of the last moment."""
    return _target(expr, legend, form) | {"range": False, "instant": True, "exemplar": False}


def buckets(expr: str) -> Json:
    """Return a query of a histogram's buckets, by `le`, for `heatmap`."""
    return _target(expr, "{{le}}", "heatmap") | {"range": True, "instant": False, "exemplar": False}


def _target(expr: str, legend: str, form: str) -> Json:
    return {
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": expr,
        "format": form,
        "legendFormat": legend or "__auto",
    }


# ---- panels


def graph(title: str, description: str, *queries: Json, style: Style = PLAIN) -> Json:
    """Return lines over time.

    Args:
      title: A few words.
      description: What it is, and what to do when it is bad.
    """
    custom: Json = {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 25 if style.stacked else 8,
        "showPoints": "never",
        "spanNulls": False,
        "thresholdsStyle": {"mode": "dashed" if style.thresholds else "off"},
        "stacking": {"mode": "normal" if style.stacked else "none", "group": "A"},
    }
    panel = _panel("timeseries", title, description, queries, style, custom)
    panel["fieldConfig"]["overrides"].append(_AS_OBJECTIVE)
    panel["options"] = {
        "legend": _legend(table=style.table),
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return panel


def figure(title: str, description: str, *queries: Json, style: Style = PLAIN) -> Json:
    """Return one number, coloured by the thresholds, with its course behind it."""
    panel = _panel("stat", title, description, queries, style, {})
    panel["options"] = {
        "graphMode": "area",
        "colorMode": "value" if style.thresholds else "none",
        "justifyMode": "auto",
        "textMode": "auto",
        "wideLayout": True,
        "showPercentChange": False,
        "percentChangeColorMode": "standard",
        "orientation": "auto",
        "reduceOptions": _LAST,
    }
    return panel


def bars(title: str, description: str, *queries: Json, style: Style = PLAIN) -> Json:
    """Return a bar for each series, the name over it: for names that are long."""
    panel = _panel("bargauge", title, description, queries, style, {})
    panel["options"] = {
        "displayMode": "gradient",
        "orientation": "horizontal",
        "valueMode": "color",
        "namePlacement": "top",
        "showUnfilled": True,
        "sizing": "auto",
        "minVizWidth": 8,
        "minVizHeight": 16,
        "maxVizHeight": 300,
        "legend": {"showLegend": False, "displayMode": "list", "placement": "bottom", "calcs": []},
        "reduceOptions": _LAST,
    }
    return panel


def heatmap(title: str, description: str, of: Json, style: Style = PLAIN) -> Json:
    """Return how a histogram's values are spread over its buckets."""
    panel = _panel("heatmap", title, description, (of,), style, {})
    panel["options"] = {
        "calculate": False,
        "cellGap": 1,
        "showValue": "never",
        "color": {
            "mode": "scheme",
            "scheme": "Oranges",
            "steps": 64,
            "exponent": 0.5,
            "fill": "dark-orange",
            "reverse": False,
        },
        "filterValues": {"le": 1e-9},
        "rowsFrame": {"layout": "auto"},
        "yAxis": {"unit": style.unit, "axisPlacement": "left", "reverse": False},
        "cellValues": {"unit": "short"},
        "legend": {"show": True},
        "tooltip": {"mode": "single", "yHistogram": False, "showColorScale": False},
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
    }
    return panel


def states(title: str, description: str, *queries: Json, names: Json, style: Style = PLAIN) -> Json:
    """Return a coloured band over time for each series.

    Args:
      names: Text and colour by value: `{"0": ("not ready", "red")}`.
    """
    custom: Json = {"fillOpacity": 75, "lineWidth": 0}
    panel = _panel("state-timeline", title, description, queries, style, custom)
    values = {
        value: {"text": text, "color": colour, "index": at} for at, (value, (text, colour)) in enumerate(names.items())
    }
    panel["fieldConfig"]["defaults"]["mappings"] = [{"type": "value", "options": values}]
    panel["options"] = {
        "mergeValues": True,
        "showValue": "never",
        "alignValue": "left",
        "rowHeight": 0.85,
        "perPage": 20,
        "legend": _legend(table=False),
        "tooltip": {"mode": "single", "sort": "none"},
    }
    return panel


class Column(msgspec.Struct, frozen=True):
    """A column of a table.

    Attributes:
      field: A label, or `Value #A` for the first query's value.
      title: As shown.
      unit: Of its values; empty for text.
      thresholds: Colours of the cells.
      link: Where its cells lead.
    """

    field: str
    title: str
    unit: str = ""
    thresholds: Thresholds = ()
    link: str = ""


def table(title: str, description: str, *queries: Json, columns: tuple[Column, ...], style: Style = PLAIN) -> Json:
    """Return a table: a row for each label set that the queries find, their values joined; other fields are hidden."""
    panel = _panel("table", title, description, queries, style, {"align": "auto", "filterable": False})
    shown = {column.field: at for at, column in enumerate(columns)}
    panel["transformations"] = [
        {"id": "merge", "options": {}},
        {"id": "filterFieldsByName", "options": {"include": {"names": list(shown)}}},
        {
            "id": "organize",
            "options": {
                "indexByName": shown,
                "renameByName": {column.field: column.title for column in columns},
                "excludeByName": {},
            },
        },
    ]
    panel["fieldConfig"]["overrides"] += [_column(column) for column in columns if column.unit or column.link]
    panel["options"] = {"showHeader": True, "cellHeight": "sm", "frameIndex": 0, "sortBy": []}
    return panel


def _column(column: Column) -> Json:
    properties: list[Json] = []
    if column.unit:
        properties.append({"id": "unit", "value": column.unit})
    if column.thresholds:
        properties.append({"id": "thresholds", "value": _steps(column.thresholds)})
        properties.append({"id": "custom.cellOptions", "value": {"type": "color-text"}})
    if column.link:
        links = [{"title": "look closer", "url": column.link, "targetBlank": False}]
        properties.append({"id": "links", "value": links})
    return {"matcher": {"id": "byName", "options": column.title}, "properties": properties}


# ---- what they share


def _panel(kind: str, title: str, description: str, queries: tuple[Json, ...], style: Style, custom: Json) -> Json:
    defaults: Json = {
        "unit": style.unit,
        "color": {"mode": "thresholds" if kind in {"stat", "bargauge"} and style.thresholds else "palette-classic"},
        "thresholds": _steps(style.thresholds),
        "mappings": [],
        "custom": custom,
    }
    if kind in {"timeseries", "bargauge"}:
        defaults["min"] = 0
    if style.most is not None:
        defaults["max"] = style.most
    if style.decimals is not None:
        defaults["decimals"] = style.decimals
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "gridPos": {"w": style.width, "h": style.height, "x": 0, "y": 0},
        "targets": list(queries),
        "fieldConfig": {"defaults": defaults, "overrides": [_coloured(*one) for one in style.colours]},
    }


def _steps(thresholds: Thresholds) -> Json:
    """Return thresholds as Grafana has them; what begins at minus infinity is what is below the first one."""
    below = GREEN
    if thresholds and thresholds[0][0] == float("-inf"):
        (_, below), *rest = thresholds
        thresholds = tuple(rest)
    steps: list[Json] = [{"color": below, "value": None}]
    steps += [{"color": colour, "value": value} for value, colour in thresholds]
    return {"mode": "absolute", "steps": steps}


def _coloured(name: str, colour: str) -> Json:
    fixed = {"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}
    return {"matcher": {"id": "byName", "options": name}, "properties": [fixed]}


def _legend(*, table: bool) -> Json:
    if table:
        return {"showLegend": True, "displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]}
    return {"showLegend": True, "displayMode": "list", "placement": "bottom", "calcs": []}


_LAST: Json = {"calcs": ["lastNotNull"], "fields": "", "values": False}
_AS_OBJECTIVE: Json = {
    "matcher": {"id": "byRegexp", "options": "/^objective /"},
    "properties": [
        {"id": "color", "value": {"mode": "fixed", "fixedColor": RED}},
        {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [10, 10]}},
        {"id": "custom.fillOpacity", "value": 0},
        {"id": "custom.stacking", "value": {"mode": "none", "group": "A"}},
    ],
}
"""How the threshold of an objective is drawn; its query's legend begins with `objective`."""
