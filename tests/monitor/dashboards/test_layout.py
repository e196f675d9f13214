"""The dashboards as pages: nothing overlaps, everything has a name, every metric stands somewhere."""

import json
import re
from typing import Any

import pytest

from hasten.ledger import Kind
from hasten.monitor import CATALOGUE
from hasten.monitor._caches import _STATES
from hasten.monitor.dashboards import dashboards
from hasten.monitor.slo import _names as names
from tests.monitor.dashboards.panels import OBJECTIVES, TARGETS, WITH_OBJECTIVES, Json, Target, every_panel

PANELS = [(name, panel) for name, panel in every_panel(WITH_OBJECTIVES) if panel["type"] != "row"]
SERIES = re.compile(r"([a-zA-Z_:][\w:]*)\{")
OF_RULES = {names.EVENTS, names.EVENTS_BAD, names.OBJECTIVE, names.BUDGET, "ALERTS"}


def name_of(value: Any) -> str:
    return value["title"] if isinstance(value, dict) else str(value)


def test_every_metric_is_on_a_panel() -> None:
    """Whatever is recorded can be seen."""
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for one in TARGETS for name in SERIES.findall(one.query["expr"])}
    assert {metric.name for metric in CATALOGUE} - shown == set()


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_no_query_has_an_unknown_metric(target: Target) -> None:
    """Each series of a query is one of the catalogue, or of the rules, with its own labels only."""
    metrics = {metric.name: metric for metric in CATALOGUE}
    for name, selected in re.findall(r"([a-zA-Z_:][\w:]*)\{([^}]*)\}", target.query["expr"]):
        if name in OF_RULES or name.startswith(names.ERROR_RATIO):
            continue
        metric = metrics.get(name) or metrics[re.sub(r"_(bucket|sum|count)$", "", name)]
        assert (metric.kind == "histogram") == (metric.name != name), name
        labels = set(re.findall(r'(\w+)(?:=~|!~|!=|=)"', selected))
        assert labels <= {"job", "worker", *metric.labels}, selected


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_counters_are_never_shown_bare(target: Target) -> None:
    """A counter, and a histogram's counts, are looked at by their growth."""
    totals = "|".join(metric.name for metric in CATALOGUE if metric.kind == "counter")
    counted = re.findall(rf"(\w+ ?\()?(?:\b(?:{totals})|\w+_(?:bucket|sum|count))\{{", target.query["expr"])
    assert set(counted) <= {"rate(", "increase("}


@pytest.mark.parametrize("name", WITH_OBJECTIVES)
def test_no_panels_overlap(name: str) -> None:
    """Each place of the grid is one panel's, and rows begin where the last one ends."""
    taken: set[tuple[int, int]] = set()
    for panel in WITH_OBJECTIVES[name]["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


@pytest.mark.parametrize("name", WITH_OBJECTIVES)
def test_rows_are_full(name: str) -> None:
    """No line of panels ends before the right edge."""
    ends: dict[int, int] = {}
    for panel in WITH_OBJECTIVES[name]["panels"]:
        place = panel["gridPos"]
        ends[place["y"]] = max(ends.get(place["y"], 0), place["x"] + place["w"])
    assert set(ends.values()) == {24}


@pytest.mark.parametrize("name", WITH_OBJECTIVES)
def test_ids(name: str) -> None:
    """Panels of a dashboard and queries of a panel have names of their own."""
    panels = WITH_OBJECTIVES[name]["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        letters = [target["refId"] for target in panel.get("targets", ())]
        assert len(letters) == len(set(letters))


def test_the_uids_stay() -> None:
    """Dashboards are bookmarked and linked by these."""
    assert {name: dashboard["uid"] for name, dashboard in WITH_OBJECTIVES.items()} == {
        "overview.json": "hasten-overview",
        "service.json": "hasten-service",
        "rpc.json": "hasten-rpc",
        "events.json": "hasten-events",
        "caches.json": "hasten-caches",
        "runtime.json": "hasten-runtime",
    }


@pytest.mark.parametrize(("name", "panel"), PANELS, ids=name_of)
def test_a_panel_explains_itself(name: str, panel: Json) -> None:
    """A panel has a short title and a sentence, a unit, and queries with legends."""
    assert 0 < len(panel["title"]) <= 30
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    for target in panel["targets"]:
        assert panel["type"] == "table" or target["legendFormat"] != "__auto"


@pytest.mark.parametrize("name", WITH_OBJECTIVES)
def test_titles_differ_in_a_row(name: str) -> None:
    """Two panels of a row have two titles."""
    titles: list[str] = []
    for panel in WITH_OBJECTIVES[name]["panels"]:
        if panel["type"] == "row":
            titles.clear()
        else:
            assert panel["title"] not in titles
            titles.append(panel["title"])


@pytest.mark.parametrize("name", WITH_OBJECTIVES)
def test_links(name: str) -> None:
    """Links name dashboards that there are."""
    uids = {dashboard["uid"] for dashboard in WITH_OBJECTIVES.values()}
    assert set(re.findall(r'"/d/([\w-]+)\?', str(WITH_OBJECTIVES[name]).replace("'", '"'))) <= uids
    (link,) = WITH_OBJECTIVES[name]["links"]
    assert set(link["tags"]) <= set(WITH_OBJECTIVES[name]["tags"])
    assert link["includeVars"] and link["keepTime"]  # noqa: PT018


def test_without_objectives() -> None:
    """Where nothing is promised no query asks for recorded series, and no line is drawn."""
    found = dashboards()
    assert found.keys() == WITH_OBJECTIVES.keys()
    text = str(found)
    assert "slo:" not in text
    assert "objective slow-fast" not in text


def test_every_kind_of_objective_is_drawn() -> None:
    """A threshold stands in the graph of what it is about."""
    drawn = {
        (one.dashboard, one.panel["title"], one.query["legendFormat"])
        for one in TARGETS
        if one.query["legendFormat"].startswith("objective ")
    }
    assert drawn == {
        ("service.json", "p99", "objective slow-fast"),
        ("rpc.json", "p99", "objective get-fast"),
        ("events.json", "Duration, p99", "objective billed"),
    }


def colour_of(panel: Json, value: float) -> str:
    """Return the colour that thresholds give to a value, as Grafana does: the last step that is not above it."""
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert steps[0]["value"] is None
    return str([step["color"] for step in steps[:1] + [step for step in steps[1:] if step["value"] <= value]][-1])


@pytest.mark.parametrize(
    ("title", "colours"),
    [
        ("Least budget left", {-0.1: "red", 0.1: "orange", 0.3: "yellow", 1.0: "green"}),
        ("Failing checks", {0: "green", 1: "red"}),
        ("Failing", {0: "green", 0.005: "yellow", 0.02: "red"}),
        ("Burn rate, 1 h", {0.5: "green", 1: "yellow", 6: "orange", 14.4: "red"}),
    ],
)
def test_colours(title: str, colours: dict[float, str]) -> None:
    """What is bad is red, and what is well green."""
    (panel,) = [panel for name, panel in PANELS if (name, panel["title"]) == ("overview.json", title)]
    assert {value: colour_of(panel, value) for value in colours} == colours


@pytest.mark.parametrize(
    ("title", "names"),
    [
        ("service.json / Where the time goes, by the recorded requests / Time of a request A", set(Kind)),
        ("caches.json / Lookups / Lookups A", {"hit", "stale", "miss"}),
    ],
)
def test_every_part_has_its_colour(title: str, names: set[str]) -> None:
    """The parts of a stacked graph have the same colours each time, none left out."""
    (target,) = [one for one in TARGETS if str(one) == title]
    overrides = target.panel["fieldConfig"]["overrides"]
    assert {one["matcher"]["options"] for one in overrides if one["matcher"]["id"] == "byName"} == names


def test_states_of_breakers() -> None:
    """Each state of a breaker has a text."""
    (panel,) = [panel for _, panel in PANELS if panel["title"] == "Breakers"]
    (mapping,) = panel["fieldConfig"]["defaults"]["mappings"]
    assert {float(value) for value in mapping["options"]} == set(_STATES.values())


def test_is_json() -> None:
    """No number in a dashboard is one that JSON has not."""
    assert json.loads(json.dumps(WITH_OBJECTIVES, allow_nan=False)) == WITH_OBJECTIVES


def test_the_same_each_time() -> None:
    """What is generated twice is equal, so that a folder can be checked for drift."""
    assert dashboards(OBJECTIVES) == WITH_OBJECTIVES
