"""The gate: measures what the settings ask for, and says what keeps to them."""

import math
import os
import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from hasten._core.errors import ConfigurationError, InvalidMeasurement
from hasten.compare._compare import ComparisonOptions, compare_revisions
from hasten.compare._environments import Preparation
from hasten.compare._result import Comparison, Verdict
from hasten.compare._sides import Side
from hasten.compare.gate._baseline import (
    VERSION,
    Baseline,
    judge_change,
    judge_rounds,
    read_baseline,
    require_alike,
    write_baseline,
)
from hasten.compare.gate._measure import Measurement, measure, plan_digest
from hasten.compare.gate._objectives import Judged, Outcome, judge
from hasten.compare.gate._settings import ALL, EACH, GateSettings, Objective
from hasten.load import Plan

Announce = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRun:
    """What is to be judged, and how.

    Attributes:
      side: The service: an app that is started, or a URL.
      plan: What it is sent.
      settings: What it must keep to.
      budget: Seconds for the pairs of a comparison.
      preparation: How revisions get their environments.
      write: File that the figures are written to as a baseline; None for none.
    """

    side: Side
    plan: Plan
    settings: GateSettings
    budget: float = 180.0
    preparation: Preparation = field(default_factory=Preparation)
    write: Path | None = None


class GateResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a service keeps to.

    Attributes:
      name: What was measured.
      against: Revision or file that it was compared with; empty for none.
      slower: By how much it may be slower than that, relative.
      objectives: Absolute limits: seconds, or shares of failures.
      changes: Against the other: limits and figures are relative, of `errors` differences of shares.
      outcome: BROKEN if one is; else UNDECIDED if one is; else HOLDS.
      comparison: With the revision.
    """

    name: str
    against: str
    slower: float
    objectives: tuple[Judged, ...]
    changes: tuple[Judged, ...]
    outcome: Outcome
    comparison: Comparison | None = None


def gate(run: GateRun, announce: Announce) -> GateResult:
    """Measure a service and judge it.

    Args:
      announce: Told what is going on, in a few words, as often as it changes.
    Raises:
      ConfigurationError: settings, app or plan are wrong, or nothing is asked for.
      TargetUnreachable: the service does not start or answer.
      InvalidMeasurement: figures cannot be trusted, or the baseline is of something else.
    Cancellation: as `compare`; an interrupted comparison is raised as KeyboardInterrupt.
    """
    settings = run.settings
    _check(settings.objectives, run.plan)
    if not settings.objectives and not settings.against and not settings.baseline and run.write is None:
        remedy = "write objectives, against or baseline into [tool.hasten.gate], or give --against or --baseline"
        raise ConfigurationError("hasten gate", "nothing to keep to", remedy)
    baseline = read_baseline(Path(settings.baseline)) if settings.baseline else None
    objectives: tuple[Judged, ...] = ()
    changes: tuple[Judged, ...] = ()
    if settings.objectives or baseline is not None or run.write is not None:
        measured = measure(run.side, run.plan, announce)
        objectives = judge(settings.objectives, measured.kinds)
        changes = _against_baseline(baseline, measured, run)
    comparison = _against_revision(run, announce) if settings.against else None
    if comparison is not None:
        changes += judge_comparison(comparison, settings.slower)
    return GateResult(
        name=run.side.name,
        against=settings.against or settings.baseline,
        slower=settings.slower,
        objectives=objectives,
        changes=changes,
        outcome=_outcome((*objectives, *changes)),
        comparison=comparison,
    )


def _check(objectives: Iterable[Objective], plan: Plan) -> None:
    """Raise ConfigurationError for an objective of a kind that the plan does not send."""
    known = [kind.name for kind in plan.requests]
    for objective in objectives:
        if objective.kind not in (*known, EACH, ALL):
            where = f"tool.hasten.gate.objectives.{objective.kind!r}"
            raise ConfigurationError(where, "the plan has no such request", f"it has {', '.join(map(repr, known))}")


def _against_baseline(baseline: Baseline | None, measured: Measurement, run: GateRun) -> tuple[Judged, ...]:
    """Compare with a baseline, and write the new one; a file that is both is read before it is written."""
    now = Baseline(
        version=VERSION,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        environment=_environment(),
        plan=plan_digest(run.plan),
        rounds=measured.rounds,
    )
    changes: tuple[Judged, ...] = ()
    if baseline is not None:
        require_alike(baseline, now, run.settings.baseline)
        changes = judge_rounds(baseline.rounds, now.rounds, run.settings.slower)
    if run.write is not None:
        write_baseline(run.write, now)
    return changes


def _against_revision(run: GateRun, announce: Announce) -> Comparison:
    if not run.side.app:
        raise ConfigurationError("against", f"{run.side.name} is a URL, and revisions are started", "give module:app")
    options = ComparisonOptions(budget=run.budget, threshold=run.settings.slower)
    revisions = f"{run.settings.against}.."  # to the working tree
    comparison = compare_revisions(revisions, run.side.app, run.plan, options, run.preparation, announce)
    if comparison.partial:
        raise KeyboardInterrupt
    for problem in comparison.problems:
        raise InvalidMeasurement(problem.check, problem.measured, problem.remedy)
    return comparison


def judge_comparison(comparison: Comparison, slower: float) -> tuple[Judged, ...]:
    """Return which changes of a comparison are within what is allowed; of failures none is."""
    judged = []
    for change in comparison.changes:
        figures = (change.change, change.low, change.high)
        if change.metric == "errors":
            outcome = Outcome.BROKEN if change.verdict is Verdict.WORSE else Outcome.HOLDS
            one = judge_change(change.kind or ALL, change.metric, 0.0, figures)
            judged.append(msgspec.structs.replace(one, outcome=outcome))
        elif not change.advisory and not math.isnan(change.change):
            judged.append(judge_change(change.kind or ALL, change.metric, slower, figures))
    return tuple(judged)


def _outcome(judged: Iterable[Judged]) -> Outcome:
    outcomes = {one.outcome for one in judged}
    return next((one for one in (Outcome.BROKEN, Outcome.UNDECIDED) if one in outcomes), Outcome.HOLDS)


def _environment() -> dict[str, str]:
    """Return what makes figures those of one machine."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {
        "cpu": _cpu_model(),
        "cpus": str(usable),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _cpu_model() -> str:
    """Return the processor's name. Source: proc_cpuinfo(5)."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"
