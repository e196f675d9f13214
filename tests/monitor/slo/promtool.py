"""Runs `promtool test rules` on generated rules, with series and expectations that are made from data.

    case = Case(groups, {'up{job="a"}': steady(60, 1)}, [Expected(30, "up", {'up{job="a"}': 1})])
    run(promtool, tmp_path, case)

One value of a series is one minute.
"""

import json
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from hasten.monitor.slo import Objective

EVERY = 60.0
"""Seconds between two evaluations, for `Timing.scaled`: one a minute is enough, and twice as fast as production's."""


class Phase(NamedTuple):
    """Some minutes, with so many good and bad events in each."""

    minutes: int
    good: int
    bad: int = 0


class Expected(NamedTuple):
    """What an expression gives at a minute: values by labels, `{slo="a"}`; nothing where it has no result."""

    minute: int
    expr: str
    values: dict[str, float]


class Fired(NamedTuple):
    """All alerts of a name that fire at a minute: one, with these labels and texts."""

    minute: int
    name: str
    labels: dict[str, str]
    annotations: dict[str, str]


class Case(NamedTuple):
    """Rules, what Prometheus has scraped, and what it must make of it.

    Attributes:
      groups: Of rules.
      series: Values, as promtool writes them, by series.
      expected: At any minute.
      every: Minutes between two evaluations.
      fired: Alerts, with what they say.
    """

    groups: list[dict[str, Any]]
    series: dict[str, str]
    expected: Sequence[Expected]
    every: int = 1
    fired: Sequence[Fired] = ()


def run(promtool: str, folder: Path, case: Case) -> None:
    """Check the rules and run the case.

    Raises:
      AssertionError: a rule is wrong, or gives something else; the message is promtool's.
    """
    rules, test = folder / "rules.yml", folder / "test.yml"
    rules.write_text(yaml.safe_dump({"groups": case.groups}), encoding="utf-8")
    checked = subprocess.run([promtool, "check", "rules", rules], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    test.write_text(yaml.safe_dump(_document(case)), encoding="utf-8")
    ran = subprocess.run([promtool, "test", "rules", test], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def _document(case: Case) -> dict[str, Any]:
    expressions = [
        {
            "expr": expected.expr,
            "eval_time": f"{expected.minute}m",
            "exp_samples": [{"labels": labels, "value": value} for labels, value in expected.values.items()],
        }
        for expected in case.expected
    ]
    alerts = [
        {
            "eval_time": f"{fired.minute}m",
            "alertname": fired.name,
            "exp_alerts": [{"exp_labels": fired.labels, "exp_annotations": fired.annotations}],
        }
        for fired in case.fired
    ]
    return {
        "rule_files": ["rules.yml"],
        "evaluation_interval": f"{case.every}m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
                "promql_expr_test": expressions,
                "alert_rule_test": alerts,
            }
        ],
    }


# ---- series


def steady(minutes: int, value: float) -> str:
    """Return a gauge that stays the same."""
    return f"{value:g}x{minutes}"


def growing(phases: Iterable[tuple[int, float]], begin: float = 0) -> str:
    """Return a counter that grows by so much in each minute of a phase."""
    texts, value = [], begin
    for minutes, step in phases:
        texts.append(f"{value:g}+{step:g}x{minutes - 1}")
        value += minutes * step
    return " ".join(texts)


def selected(name: str, labels: dict[str, str]) -> str:
    """Return a series as promtool writes it."""
    return f"{name}{{{','.join(f'{label}={json.dumps(value)}' for label, value in labels.items())}}}"


def events(objective: Objective, phases: Sequence[Phase], labels: dict[str, str], le: str = "") -> dict[str, str]:
    """Return the series of a histogram: good events are below the bucket of `le`, bad ones above, where there is one.

    Args:
      labels: Of the metric, by name; `job` and `instance` are added.
    """
    name = objective.metric.name
    labels = {"job": objective.service, "instance": "a:9464", "worker": "0", **labels}
    total = growing([(phase.minutes, phase.good + phase.bad) for phase in phases])
    made = {selected(f"{name}_count", labels): total}
    if le:
        fast = growing([(phase.minutes, phase.good) for phase in phases])
        made[selected(f"{name}_bucket", {**labels, "le": le})] = fast
        made[selected(f"{name}_bucket", {**labels, "le": "+Inf"})] = total
    return made
