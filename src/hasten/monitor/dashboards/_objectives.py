"""What objectives add to dashboards: the line of each threshold, and how much of each error budget is left."""

from collections.abc import Iterable, Sequence

from hasten.monitor import _catalogue as catalogue
from hasten.monitor._metric import Metric
from hasten.monitor.dashboards._dashboard import Row
from hasten.monitor.dashboards._panels import (
    GREEN,
    ORANGE,
    RED,
    YELLOW,
    Column,
    Json,
    Style,
    figure,
    graph,
    now,
    query,
    table,
)
from hasten.monitor.slo import Objective
from hasten.monitor.slo import _names as names

_OF = 'service=~"$job"'
_BUDGET = f"{names.BUDGET}{{{_OF}}}"
_TARGET = f"{names.OBJECTIVE}{{{_OF}}}"
_LEFT = ((float("-inf"), RED), (0.0, ORANGE), (0.25, YELLOW), (0.5, GREEN))
_BURNS = ((1.0, YELLOW), (6.0, ORANGE), (14.4, RED))


def burn(window: str) -> str:
    """Return how fast the error budget burns: 1 uses it up exactly in the objective's window."""
    return f"{names.ERROR_RATIO}{window}{{{_OF}}} / on (slo, service) (1 - {_TARGET})"


def threshold_lines(objectives: Iterable[Objective], metric: Metric) -> list[Json]:
    """Return a query for the threshold of each latency objective of a metric, there while its service is chosen."""
    return [
        query(_threshold(objective), f"objective {objective.name}")
        for objective in objectives
        if objective.kind == "latency" and objective.metric.name == metric.name
    ]


def _threshold(objective: Objective) -> str:
    chosen = f'{catalogue.BUILD.name}{{job="{objective.service}", job=~"$job"}}'
    return f"0 * max({chosen}) + {objective.threshold!r}"


def objectives_row(objectives: Sequence[Objective]) -> tuple[Row, ...]:
    """Return what is left of the error budgets; no row where nothing is promised."""
    if not objectives:
        return ()
    return (Row("Objectives", (_table(), _worst(), _slowest(), _left(), _burning())),)


def promises_row(objectives: Sequence[Objective]) -> tuple[Row, ...]:
    """Return the same in short, for the page of one service."""
    return (Row("Objectives", (_table(), _burning())),) if objectives else ()


def _table() -> Json:
    columns = (
        Column("service", "service", link="/d/hasten-service?var-job=${__value.raw}&${__url_time_range}"),
        Column("slo", "objective"),
        Column("Value #A", "target", "percentunit"),
        Column("Value #B", "budget left", "percentunit", _LEFT),
        Column("Value #C", "burn, 1 h", "none", _BURNS),
        Column("Value #D", "burn, 6 h", "none", _BURNS),
        Column("Value #E", "events/s", "short"),
    )
    queries = (_TARGET, _BUDGET, burn("1h"), burn("6h"), f"sum by (service, slo) ({names.EVENTS}{{{_OF}}})")
    return table(
        "Objectives",
        "What each service promises, and how much of the error budget of its window is left. Below 0 the promise is "
        "broken: stop releases that are not repairs. A burn above 1 uses the budget up before the window ends; over 30 "
        "days the alerts page from 14.4 (1 h) and 6 (6 h) on.",
        *(now(f"sum by (service, slo) ({expr})", form="table") for expr in queries),
        columns=columns,
        style=Style(width=12, height=8),
    )


def _worst() -> Json:
    return figure(
        "Least budget left",
        "Of all objectives. Negative: one promise of its window is broken.",
        query(f"min({_BUDGET})", "budget"),
        style=Style(unit="percentunit", width=4, height=8, thresholds=_LEFT, decimals=1),
    )


def _slowest() -> Json:
    bad = f"sum by (service, slo) ({names.EVENTS_BAD}{{{_OF}}})"
    return graph(
        "Bad events",
        "Events in a second that were too slow or failed, by objective. Look at the routes of the service that rises.",
        query(bad, "{{service}} {{slo}}"),
        style=Style(unit="cps", width=8, table=True),
    )


def _left() -> Json:
    return graph(
        "Error budget left",
        "1 is a window without a bad event, 0 a promise that is just kept. A cliff is an incident, a slope is a "
        "service that is too slow for its promise.",
        query(_BUDGET, "{{service}} {{slo}}"),
        style=Style(
            unit="percentunit", width=12, most=1.0, table=True, thresholds=((float("-inf"), RED), (0.0, GREEN))
        ),
    )


def _burning() -> Json:
    return graph(
        "Burn rate, 1 h",
        "How fast the budget goes: at 1 it lasts exactly its window. From 14.4 on, a page; look at what has begun when "
        "it rose, a deploy for example.",
        query(burn("1h"), "{{service}} {{slo}}"),
        style=Style(width=12, table=True, thresholds=_BURNS),
    )
