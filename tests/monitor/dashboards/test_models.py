"""The dashboards are what Grafana's own models read: every key is one that they know."""

import enum
import json
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import common, heatmap, prometheus

from hasten.monitor.dashboards import dashboards
from tests.monitor.dashboards.panels import OBJECTIVES, Json

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it would rather have its second version, which is not final
    from grafana_foundation_sdk.models import dashboard as models

register_default_plugins()

CHOICES: dict[str, type[enum.Enum]] = {
    "custom.drawStyle": common.GraphDrawStyle,
    "custom.showPoints": common.VisibilityMode,
    "custom.stacking.mode": common.StackingMode,
    "custom.thresholdsStyle.mode": common.GraphThresholdsStyleMode,
    "defaults.color.mode": models.FieldColorModeId,
    "graphTooltip": models.DashboardCursorSync,
    "legend.displayMode": common.LegendDisplayMode,
    "legend.placement": common.LegendPlacement,
    "links.type": models.DashboardLinkType,
    "list.refresh": models.VariableRefresh,
    "list.sort": models.VariableSort,
    "mappings.type": models.MappingType,
    "options.alignValue": common.TimelineValueAlignment,
    "options.cellHeight": common.TableCellHeight,
    "options.color.mode": heatmap.HeatmapColorMode,
    "options.colorMode": common.BigValueColorMode,
    "options.displayMode": common.BarGaugeDisplayMode,
    "options.graphMode": common.BigValueGraphMode,
    "options.justifyMode": common.BigValueJustifyMode,
    "options.namePlacement": common.BarGaugeNamePlacement,
    "options.orientation": common.VizOrientation,
    "options.showValue": common.VisibilityMode,
    "options.sizing": common.BarGaugeSizing,
    "options.textMode": common.BigValueTextMode,
    "options.valueMode": common.BarGaugeValueMode,
    "targets.editorMode": prometheus.QueryEditorMode,
    "targets.format": prometheus.PromQueryFormat,
    "thresholds.mode": models.ThresholdsMode,
    "tooltip.mode": common.TooltipDisplayMode,
    "tooltip.sort": common.SortOrder,
}
"""What may stand at a place: the models read any text there."""


def read_back(dashboard: Json) -> Any:
    """Return the dashboard as Grafana's models write what they have read."""
    return json.loads(json.dumps(models.Dashboard.from_json(dashboard), cls=JSONEncoder))


def lost(ours: Any, theirs: Any, at: str = "") -> Iterator[str]:
    """Yield the place of each key and value of ours that theirs has not."""
    if isinstance(ours, dict):
        for key, value in ours.items():
            if not isinstance(theirs, dict) or key not in theirs:
                yield f"{at}.{key}"
            else:
                yield from lost(value, theirs[key], f"{at}.{key}")
    elif isinstance(ours, list):
        for number, value in enumerate(ours):
            yield from lost(value, theirs[number] if number < len(theirs) else None, f"{at}[{number}]")
    elif ours != theirs:
        yield f"{at}: {ours!r} is {theirs!r}"


@pytest.mark.parametrize("name", dashboards())
@pytest.mark.parametrize("objectives", [(), OBJECTIVES], ids=["no objectives", "objectives"])
def test_no_key_is_unknown(name: str, objectives: Any) -> None:
    """Grafana's models read a dashboard and write all of it again."""
    dashboard = dashboards(objectives)[name]
    assert list(lost(json.loads(json.dumps(dashboard)), read_back(dashboard))) == []


@pytest.mark.parametrize(
    "break_it",
    [
        lambda dashboard: dashboard.update(refreshes="10s"),
        lambda dashboard: dashboard["panels"][1].update(titel="x"),
        lambda dashboard: dashboard["panels"][1]["targets"][0].update(legend="x"),
        lambda dashboard: dashboard["panels"][1]["options"].update(mode="x"),
        lambda dashboard: dashboard["panels"][1]["fieldConfig"]["defaults"].update(units="s"),
    ],
)
def test_an_unknown_key_is_found(break_it: Any) -> None:
    """A misspelt key is told, wherever it stands."""
    dashboard = dashboards()["overview.json"]
    break_it(dashboard)
    assert len(list(lost(dashboard, read_back(dashboard)))) == 1


def leaves(value: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each text and number with its place; lists have none of their own."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{at}.{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, at)
    else:
        yield at, value


@pytest.mark.parametrize("place", CHOICES)
def test_choices(place: str) -> None:
    """Where Grafana has a few words to choose from, it is one of them."""
    found = {value for at, value in leaves(list(dashboards(OBJECTIVES).values())) if f".{at}".endswith(f".{place}")}
    assert found
    assert found <= {choice.value for choice in CHOICES[place]}
