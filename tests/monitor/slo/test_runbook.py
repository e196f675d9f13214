"""docs/reference/alerts.md is the runbook of every alert, and docs/reference/slo.md has every key."""

import re
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from hasten.cli import app
from hasten.monitor import CATALOGUE
from hasten.monitor.slo import Objective, Timing, _file, cause_groups, objective_groups, parse_slo

DOCS = Path(__file__).parents[3] / "docs" / "reference"
PAGE = (DOCS / "alerts.md").read_text()
SLO_PAGE = (DOCS / "slo.md").read_text()
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
_LAST = "seconds|bytes|total|messages|ok|fds|queued|waiting|invalidations|trusted"
_METRIC = re.compile(rf"\b(?:hasten|http|rpc|messaging|process)_[a-z0-9_]*(?:{_LAST})(?:_[a-z]+)*\b")
_EXAMPLE = Objective(service="shop", name="fast", kind="latency", target=0.99, threshold=0.05)


def alerts() -> list[dict[str, Any]]:
    """Return every alert that is generated."""
    groups = [*objective_groups([_EXAMPLE], Timing(), "page"), *cause_groups(["shop"], Timing(), "page")]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


@pytest.mark.parametrize("name", sorted({one["alert"] for one in alerts()}))
def test_each_alert_has_a_section(name: str) -> None:
    """A section says what an alert means, how to look, and what to do, and the alert's link leads there."""
    section = SECTIONS[name]
    places = [section.index(f"**{word}.**") for word in ("Means", "Look", "Do")]
    assert places == sorted(places)
    links = {one["annotations"]["runbook_url"] for one in alerts() if one["alert"] == name}
    assert links == {f"page#{name.lower()}"}


def test_each_section_is_of_an_alert() -> None:
    """The page tells of no alert that does not exist."""
    assert set(SECTIONS) == {one["alert"] for one in alerts()}


def test_queries_name_metrics_that_exist() -> None:
    """Whatever a runbook asks Prometheus for is exposed: by the catalogue, or recorded by the rules."""
    known: set[str] = set()
    for metric in CATALOGUE:
        known |= {metric.name, *(f"{metric.name}_{part}" for part in ("bucket", "count", "sum"))}
    used = {name for name in _METRIC.findall(PAGE) if "_name" not in name}
    assert used
    assert used <= known


def test_commands_exist() -> None:
    """Every command of hasten that the runbook gives is one."""
    command: Any = get_command(app)
    verbs = set(re.findall(r"\bhasten ([a-z]+)\b", PAGE))
    assert verbs
    assert verbs <= set(command.commands)
    under = set(re.findall(r"\bhasten events ([a-z]+)\b", PAGE))
    assert under <= set(command.commands["events"].commands)


def test_paths_of_the_admin_port_exist() -> None:
    """Every path of the admin port that the runbook gives is answered there."""
    source = (Path(__file__).parents[3] / "src/hasten/admin/_app.py").read_text()
    paths = set(re.findall(r"ADMIN(/[a-z]+)", PAGE))
    assert paths == {"/livez", "/readyz", "/ledger"}
    assert all(f'"{path}"' in source for path in paths)


def test_the_page_of_the_file_has_every_key() -> None:
    """Each key of slo.toml stands in its reference, and its example is a file that can be read."""
    for table in (_file._Entry, _file._Alerts, _file._Prometheus, _file.Container):
        for key in table.__struct_fields__:
            assert f"`{key}`" in SLO_PAGE, key
    (example,) = re.findall(r"```toml\n(.*?)```", SLO_PAGE, re.DOTALL)
    read = parse_slo(example.encode(), "slo.toml")
    assert len(read.objectives) == 4
    assert {service.name for service in read.services} == {"storefront", "catalog", "orders"}


def test_defaults_are_those_of_the_page() -> None:
    """What the reference says that is taken without a key is taken."""
    (one,) = parse_slo(b'[[objective]]\nservice = "a"\nname = "b"\ntarget = 0.9', "slo.toml").objectives
    assert (one.window, one.severities, one.min_bad) == ("30d", ("page", "ticket"), 5)
    for rate in ("14.4", "3.36", "1.4"):
        assert rate in SLO_PAGE
    weekly = [burn.rate(Timing().objective_window("7d")) for burn in Timing().burns]
    assert weekly == [3.36, 1.4, 1, 1]
