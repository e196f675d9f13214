"""Whether measured figures keep to objectives, and how sure that is.

Quantiles of n independent latencies have an interval by order statistics: the q-quantile lies between those of ranks
nq ± 1.96 √(nq(1-q)) in 95 % of all samples, whatever their distribution (Conover, Practical Nonparametric Statistics,
section 3.2). Shares have Wilson's interval (Wilson 1927). An objective is broken where even the better end of the
interval is beyond its limit, and undecided where the figure is, and that end is not.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

import msgspec

from hasten.compare.gate._settings import ALL, EACH, Objective

_SIGMAS = 1.959964
_SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


class Measured(msgspec.Struct, frozen=True):
    """What was measured of one kind of request, or of all together.

    Attributes:
      latencies: Seconds, ascending; infinite for those that were not answered as expected.
      failed: How many those are.
      cpu: CPU seconds per request; NaN where they are not known.
    """

    latencies: Sequence[float]
    failed: int
    cpu: float = math.nan


class Outcome(StrEnum):
    """Whether an objective is met."""

    HOLDS = "holds"
    BROKEN = "broken"
    UNDECIDED = "undecided"
    """The figure is beyond the limit, by less than chance may explain."""


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """An objective, and what was measured.

    Attributes:
      low, high: Bounds of the figure's 95 % interval.
    """

    kind: str
    metric: str
    limit: float
    measured: float
    low: float
    high: float
    outcome: Outcome


def judge(objectives: Iterable[Objective], measured: Mapping[str, Measured]) -> tuple[Judged, ...]:
    """Return what has become of each objective.

    Args:
      measured: By the kind's name, with ALL; kinds of which nothing was measured have no latencies.
    Raises:
      KeyError: an objective's kind was not measured; whoever reads the settings knows the plan's kinds.
    """
    return tuple(
        _judged(objective, kind, measured[kind])
        for objective in objectives
        for kind in (_each(measured) if objective.kind == EACH else (objective.kind,))
    )


def _each(measured: Mapping[str, Measured]) -> Iterable[str]:
    return [kind for kind in measured if kind != ALL]


def _judged(objective: Objective, kind: str, measured: Measured) -> Judged:
    value, low, high = _figure(objective.metric, measured)
    if value <= objective.limit:
        outcome = Outcome.HOLDS
    elif low > objective.limit:
        outcome = Outcome.BROKEN
    else:  # NaN, too
        outcome = Outcome.UNDECIDED
    return Judged(
        kind=kind,
        metric=objective.metric,
        limit=objective.limit,
        measured=value,
        low=low,
        high=high,
        outcome=outcome,
    )


def _figure(metric: str, measured: Measured) -> tuple[float, float, float]:
    """Return a metric with its interval."""
    if metric == "cpu":
        return measured.cpu, measured.cpu, measured.cpu
    if metric == "errors":
        return share_interval(measured.failed, len(measured.latencies))
    return quantile_interval(measured.latencies, _SHARES[metric])


def quantile_interval(ascending: Sequence[float], share: float) -> tuple[float, float, float]:
    """Return the quantile of a sample, and the bounds of its 95 % interval.

    An end that the sample is too small for is infinite above, and 0 below; all three are NaN of no sample.
    """
    count = len(ascending)
    if not count:
        return math.nan, math.nan, math.nan
    spread = _SIGMAS * math.sqrt(count * share * (1.0 - share))
    low, high = math.floor(count * share - spread), math.ceil(count * share + spread)
    return (
        ascending[max(0, math.ceil(count * share) - 1)],
        ascending[low - 1] if low >= 1 else 0.0,
        ascending[high - 1] if high <= count else math.inf,
    )


def share_interval(hits: int, count: int) -> tuple[float, float, float]:
    """Return a share, and the bounds of Wilson's 95 % interval; all three are NaN of no sample."""
    if not count:
        return math.nan, math.nan, math.nan
    share, square = hits / count, _SIGMAS * _SIGMAS
    centre = share + square / (2 * count)
    spread = _SIGMAS * math.sqrt(share * (1.0 - share) / count + square / (4 * count * count))
    scale = 1.0 + square / count
    return share, max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)
