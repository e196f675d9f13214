"""Compares two versions of a service: start, warm up, measure pair after pair until it is decided, end, say.

    compare(side_of("main:app", "BEFORE"), side_of("fixed:app", "AFTER"), plan, ComparisonOptions(), print)
    compare_revisions("main..fix", "main:app", plan, ComparisonOptions(), Preparation(), print)

Both sides run on the service's cores, the load generator on the last one, which is its own. Whatever happens, what was
started has ended when they return or raise, and worktrees are removed.
"""

import math
import os
import platform
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from hasten._core.processes import cores, split_cores, termination_unwinds
from hasten._core.version import __version__
from hasten.compare._environments import Environments, Preparation
from hasten.compare._git import find_repository, find_revisions, worktree
from hasten.compare._judge import Decision, Judge
from hasten.compare._result import Change, Comparison, Verdict
from hasten.compare._rounds import Interrupted, Rounds, Shape, shape_of
from hasten.compare._sides import RunningSide, Side, running
from hasten.load import Plan

Announce = Callable[[str], None]
_clock = time.monotonic


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonOptions:
    """How to compare.

    Attributes:
      budget: Seconds for the pairs; starting and warming up come on top.
      threshold: Relative; changes smaller than this do not matter.
      round_seconds: Measured part of a round; None for what the plan needs.
      suspend: Let a started side rest while the other is measured.
    """

    budget: float = 180.0
    threshold: float = 0.05
    round_seconds: float | None = None
    suspend: bool = True


def compare(before: Side, after: Side, plan: Plan, options: ComparisonOptions, announce: Announce) -> Comparison:
    """Return what has changed from one side to the other.

    Args:
      plan: What both are sent; its target is replaced by theirs, its duration by that of rounds.
      announce: Told what is going on, in a few words, as often as it changes.
    Raises:
      ConfigurationError: an app, a URL or the plan is wrong.
      TargetUnreachable: a side does not start or answer, or ends meanwhile; its last words are told.
    Cancellation: Ctrl-C while pairs are measured returns what is known so far (`partial`), elsewhere it is raised;
      SIGTERM and SIGHUP on the main thread end the sides and are raised as SystemExit.
    """
    shape = shape_of(plan, options.round_seconds)
    with tempfile.TemporaryDirectory(prefix="hasten-") as scratch, termination_unwinds():
        theirs, ours = split_cores() if before.app or after.app else (None, None)
        announce("starting both sides")
        with running(before, after, plan, Path(scratch), theirs) as sides, cores(ours):
            return _Session(before, after, plan, options, announce, shape, sides).run()


def compare_revisions(
    given: str,
    app: str,
    plan: Plan,
    options: ComparisonOptions,
    preparation: Preparation,
    announce: Announce,
    *,
    start_timeout: float = 60.0,
) -> Comparison:
    """Return what has changed from one revision of the current folder's repository to another.

    Args:
      given: `main..fix`; an empty one is the working tree.
      app: `module:app` in both.
      start_timeout: Seconds in which each must listen.
    Raises:
      ConfigurationError: besides `compare`'s, no repository, no such revision, or its environment cannot be made.
    Cancellation: as `compare`; worktrees are removed on every path.
    """
    shape_of(plan, options.round_seconds)  # before anything is installed for nothing
    repository = find_repository(Path.cwd())
    revisions = find_revisions(repository, given)
    with tempfile.TemporaryDirectory(prefix="hasten-") as scratch, termination_unwinds(), ExitStack() as trees:
        environments = Environments(repository, app, preparation, Path(scratch), announce)
        sides = []
        for number, revision in enumerate(revisions):
            announce(f"checking out {revision.name}")
            root = trees.enter_context(worktree(repository, revision, Path(scratch, f"tree-{number}")))
            workplace = environments.workplace(revision, root)
            sides.append(Side(name=revision.title, app=app, workplace=workplace, start_timeout=start_timeout))
        return compare(sides[0], sides[1], plan, options, announce)


class _Session:
    """The measuring of two sides that run."""

    def __init__(
        self,
        before: Side,
        after: Side,
        plan: Plan,
        options: ComparisonOptions,
        announce: Announce,
        shape: Shape,
        running_sides: list[RunningSide],
    ) -> None:
        self._before = before
        self._after = after
        self._plan = plan
        self._options = options
        self._announce = announce
        self._shape = shape
        self._sides = running_sides
        self._rounds = Rounds(running_sides, plan, shape, suspend=options.suspend)
        self._judge = Judge(threshold=options.threshold)
        self._begun = _clock()

    def run(self) -> Comparison:
        try:
            self._rounds.warm_up(self._announce)
        except Interrupted:
            raise KeyboardInterrupt from None
        self._begun = _clock()
        partial = False
        try:
            decision = self._measured()
        except (Interrupted, KeyboardInterrupt):
            decision, partial = self._judge.look(self._spent(), last=True), True
        return self._comparison(decision, partial=partial)

    def _measured(self) -> Decision:
        """Measure until it is decided, the budget is spent, or nothing can be said."""
        pairs, longest = 0, 0.0
        while self._rounds.failures.problem() is None:
            started = _clock()
            self._judge.add(self._rounds.pair())
            pairs += 1
            longest = max(longest, _clock() - started)
            left = self._options.budget * (1.0 - self._spent())
            decision = self._judge.look(1.0 if left < longest else self._spent())
            self._announce(progress_line(decision, pairs, left))
            if decision.decided:
                return decision
        return self._judge.look(self._spent(), last=True)

    def _spent(self) -> float:
        """Return the share of the budget that is used up."""
        return min(1.0, (_clock() - self._begun) / self._options.budget)

    def _comparison(self, decision: Decision, *, partial: bool) -> Comparison:
        problem = self._rounds.failures.problem()
        return Comparison(
            before=self._before.name,
            after=self._after.name,
            threshold=self._options.threshold,
            rounds=decision.rounds,
            discarded=decision.warming + decision.spoilt,
            seconds=_clock() - self._begun,
            changes=decision.changes,
            verdict=decision.verdict,
            problems=(problem,) if problem else decision.problems,
            pairs=self._judge.pairs,
            environment=self._environment(),
            partial=partial,
            notes=(*decision.notes, *self._notes()),
        )

    def _notes(self) -> list[str]:
        """Return what makes the sides unlike, or leaves something unknown."""
        unknown = [side.clock.missing for side in self._sides if side.clock.missing]
        notes = [f"CPU is not known: {missing}" for missing in dict.fromkeys(unknown)]
        there = [side.name for side in self._sides if not side.started]
        if len(there) == 1:
            notes.append(
                f"unlike the other, {there[0]} was not started here: it may have another core, and never rests"
            )
        return notes

    def _environment(self) -> dict[str, str]:
        usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return {
            "hasten": __version__,
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.release()} {platform.machine()}",
            "cpus": str(usable),
            "rate": f"{self._plan.rate:g}/s {self._plan.arrivals}",
            "round": f"{self._shape.measured:.3g} s after {self._shape.lead_in:.3g} s of lead-in",
            "plan": self._plan.source,
        }


def progress_line(decision: Decision, pairs: int, left: float) -> str:
    """Return how far it has come, in a few words: `23 pairs, GET / p50 +9.8% (+6.1% to +13.0%), at most 95 s left`."""
    parts = [f"{pairs} pair{'' if pairs == 1 else 's'}"]
    if decision.warming == pairs:
        parts.append("warming up")
    if (change := _foremost(decision.changes)) is not None:
        name = f"{change.kind} {change.metric}".strip()
        parts.append(f"{name} {change.change:+.1%} ({change.low:+.1%} to {change.high:+.1%})")
    parts.append(f"at most {max(left, 0.0):.0f} s left")
    return ", ".join(parts)


def _foremost(changes: tuple[Change, ...]) -> Change | None:
    """Return the change that says most: one that is decided before one that is not, then the largest."""
    said = [change for change in changes if not change.advisory and change.metric != "errors"]
    known = [change for change in said if not math.isnan(change.change)]
    return max(
        known, key=lambda change: (change.verdict in {Verdict.WORSE, Verdict.BETTER}, abs(change.change)), default=None
    )
