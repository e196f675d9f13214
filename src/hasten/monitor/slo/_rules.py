"""Rules of Prometheus for objectives: recorded series, burn alerts, an alert for events that are missing.

Events and bad events per second are recorded, as 0 where there are none. A longer window adds them up:

    sum_over_time(bad[1h]) / (sum_over_time(all[1h]) > 0)

so that it weighs by traffic, and a quiet hour is left out of it. A mean of ratios, the usual shape, is NaN for 30 days
after one quiet hour, since 0/0 is, and has no value at all before the first failure.

Within a group rules are evaluated in order, so each sees what those above it have just recorded.
"""

from collections.abc import Iterable
from typing import Any

from hasten._core.durations import format_duration
from hasten.monitor.slo import _names as names
from hasten.monitor.slo._alert import Alert, literal
from hasten.monitor.slo._objective import Objective
from hasten.monitor.slo._promql import bad_events, events, has_series, quoted
from hasten.monitor.slo._windows import Burn, Severity, Timing, Window, promql_duration

Rule = dict[str, Any]
Group = dict[str, Any]
_NAMES: dict[Severity, str] = {"page": "SLOBurnFast", "ticket": "SLOBurnSlow"}
NO_DATA_AFTER = 86400.0
"""Seconds that an objective of a running service may be without any series, as one is after a start, till the first
event: whoever wrote the wrong topic should hear of it, and whoever is asked once a day should not."""


def objective_groups(objectives: Iterable[Objective], timing: Timing, runbooks: str) -> list[Group]:
    """Return the groups of a rule file for objectives.

    Args:
      runbooks: Address of docs/reference/alerts.md.
    """
    groups: list[Group] = []
    for objective in objectives:
        name = f"slo {objective.service} {objective.name}"
        rules = [*_recorded(objective, timing), *(alert.rule(runbooks) for alert in _alerts(objective, timing))]
        groups.append({"name": name, "interval": promql_duration(timing.interval), "rules": rules})
        interval = promql_duration(timing.slow_interval)
        groups.append({"name": f"{name} budget", "interval": interval, "rules": _budget(objective, timing)})
    return groups


# ---- recorded series


def _recorded(objective: Objective, timing: Timing) -> list[Rule]:
    seconds = timing.rate.seconds
    return [
        _record(names.EVENTS, events(objective, seconds), objective),
        _record(names.EVENTS_BAD, bad_events(objective, seconds, f"{names.EVENTS}{_labels(objective)}"), objective),
        _record(names.OBJECTIVE, f"vector({objective.target!r})", objective),
        *[_record(_ratio_name(one), _ratio(objective, one, timing), objective) for one in timing.windows()],
    ]


def _budget(objective: Objective, timing: Timing) -> list[Rule]:
    """Return what the objective's own window says; all of the budget is left if it has no event."""
    window = timing.objective_window(objective.window)
    over = promql_duration(window.seconds)
    quiet = f"0 * sum_over_time({names.EVENTS}{_labels(objective)}[{over}])"
    share = f"({_ratio_name(window)}{_labels(objective)} or {quiet})"
    return [
        _record(_ratio_name(window), _ratio(objective, window, timing), objective),
        _record(names.BUDGET, f"1 - {share} / {_budget_of(objective)!r}", objective),
    ]


def _record(name: str, expr: str, objective: Objective) -> Rule:
    return {"record": name, "expr": expr, "labels": _label_set(objective)}


def _ratio_name(window: Window) -> str:
    return f"{names.ERROR_RATIO}{window.name}"


def _ratio(objective: Objective, window: Window, timing: Timing) -> str:
    bad, total = f"{names.EVENTS_BAD}{_labels(objective)}", f"{names.EVENTS}{_labels(objective)}"
    if window == timing.rate:
        return f"{bad}\n/\n({total} > 0)"
    over = promql_duration(window.seconds)
    return f"sum_over_time({bad}[{over}])\n/\n(sum_over_time({total}[{over}]) > 0)"


def _label_set(objective: Objective) -> dict[str, str]:
    return {"service": objective.service, "slo": objective.name}


def _labels(objective: Objective) -> str:
    return f"{{service={quoted(objective.service)},slo={quoted(objective.name)}}}"


def _budget_of(objective: Objective) -> float:
    """Return the share of events that may be bad."""
    return round(1 - objective.target, 12)


# ---- alerts


def _alerts(objective: Objective, timing: Timing) -> list[Alert]:
    burns = [_burn_alert(objective, severity, timing) for severity in objective.severities]
    return [*burns, _no_data(objective, timing)]


def _burn_alert(objective: Objective, severity: Severity, timing: Timing) -> Alert:
    pairs = [_burning(objective, burn, timing) for burn in timing.burns if burn.severity == severity]
    left, bad = _asked(names.BUDGET, objective), _asked(_ratio_name(timing.rate), objective)
    return Alert(
        name=_NAMES[severity],
        expr="(\n{}\n)\n/ {!r}".format("\nor\n".join(pairs), _budget_of(objective)),
        severity=severity,
        labels=_label_set(objective),
        summary=f"{objective.service}: {objective.name} uses up its error budget "
        '{{ $value | printf "%.1f" }} times as fast as it may',
        description=f"Promised: {literal(promise_of(objective))}. "
        f"Budget left: {left}; bad in the last {timing.rate.name}: {bad}.",
    )


def _burning(objective: Objective, burn: Burn, timing: Timing) -> str:
    """Return what holds while both windows burn too fast, and the long one has more than a few bad events.

    Its value is the share of bad events in the long window. The rates of bad events, added up over the samples and
    multiplied by the time between them, are their number.
    """
    most = round(burn.rate(timing.objective_window(objective.window)) * _budget_of(objective), 12)
    of = _labels(objective)
    counted = f"sum_over_time({names.EVENTS_BAD}{of}[{promql_duration(burn.long.seconds)}]) * {timing.interval:g}"
    return (
        f"(\n  {_ratio_name(burn.long)}{of} > {most!r}\n"
        f"  and\n  {_ratio_name(burn.short)}{of} > {most!r}\n"
        f"  and\n  {counted} >= {objective.min_bad}\n)"
    )


def _asked(name: str, objective: Objective) -> str:
    """Return a template that asks for a recorded series and writes it as a percentage."""
    query = f"{name}{{service='{objective.service}',slo='{objective.name}'}}"
    found = "{{ . | first | value | humanizePercentage }}"
    return f'{{{{ with query "{query}" }}}}{found}{{{{ else }}}}unknown{{{{ end }}}}'


def _no_data(objective: Objective, timing: Timing) -> Alert:
    up = f"max(up{{job={quoted(objective.service)}}}) == 1"
    return Alert(
        name="SLONoData",
        expr=f"max(absent({has_series(objective)}))\nand on()\n{up}",
        wait=timing.wait(NO_DATA_AFTER),
        severity="ticket",
        labels=_label_set(objective),
        summary=f"{objective.service} runs, and has no event of {objective.name}",
        description=f"No series of {objective.metric.name} is about {literal(objective.words)}: nobody has asked "
        "for it since the service was started, or its name in slo.toml is wrong.",
    )


def promise_of(objective: Objective) -> str:
    """Return the objective as a sentence: `99 % of GET /orders within 50 ms, over 30d`."""
    share = f"{objective.target * 100:.10g} %"
    how = f"within {format_duration(objective.threshold)}" if objective.kind == "latency" else "without a failure"
    return f"{share} of {objective.words} {how}, over {objective.window}"
