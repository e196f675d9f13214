"""Interleaved rounds: both sides are sent the same requests at the same times, one after the other, in random order.

    pair ── a fair coin says who is first ── resume, lead-in, round, suspend ── the same for the other

What changes on the machine from one minute to the next meets both rounds of a pair, and goes out of their ratio.
Connections are made anew in each lead-in, on both sides.
"""

import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from hasten._core.durations import format_duration
from hasten._core.errors import ConfigurationError, TargetUnreachable
from hasten.compare._result import KindRound, Pair, Round
from hasten.compare._sides import RunningSide
from hasten.load import KindResult, LoadResult, Plan, Problem, arrival_times, run

Announce = Callable[[str], None]

_ENOUGH = 100  # requests of the rarest kind in a round, where its length allows
_SHORTEST, _LONGEST = 0.5, 2.0  # seconds of a round: short ones make many pairs of the same budget
_FEW = 20  # requests in a round, below which it is made longer
_LONGEST_OF_FEW = 10.0
_LEAST = 5
_LEAD_IN_REQUESTS = 30
LATENESS = "generator's lateness"
"""Of hasten.load's checks, the one that is another here."""
_TOLERATED_LATENESS = 0.0002  # seconds, of half of the requests
_TOLERATED_SHARE = 0.25  # of the fastest kind's p50: a change then looks smaller by a fifth, and never larger
_FAILING = 0.1  # share of a kind's requests, on both sides
_FAILURES_NEED = 20  # requests of each side before anything is said of that share


class Interrupted(Exception):
    """Raised when a round has been cut short by Ctrl-C."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Of a round, in seconds: `lead_in` is driven and not counted, `measured` is."""

    lead_in: float
    measured: float

    @property
    def total(self) -> float:
        """Seconds of both."""
        return self.lead_in + self.measured


def shape_of(plan: Plan, measured: float | None = None) -> Shape:
    """Return how long the rounds of a plan are.

    Args:
      measured: Seconds asked for; None for what its rate and its rarest kind need, within bounds.
    Raises:
      ConfigurationError: hardly a request would come in a round.
    """
    lead_in = min(_SHORTEST, max(0.2, _LEAD_IN_REQUESTS / plan.rate))
    if measured is None:
        measured = _measured(plan)
    if plan.rate * measured < _LEAST:
        problem = f"{plan.rate:g} requests/s give {plan.rate * measured:.2g} in a round of {measured:g} s"
        raise ConfigurationError(plan.place("rate"), problem, f"raise --rate or --round: it takes {_LEAST}")
    return Shape(lead_in, measured)


def _measured(plan: Plan) -> float:
    weights = [kind.weight for kind in plan.requests]
    rarest = plan.rate * min(weights) / sum(weights)
    seconds = min(_LONGEST, max(_SHORTEST, _ENOUGH / rarest)) if rarest > 0 else _LONGEST
    return max(seconds, min(_LONGEST_OF_FEW, _FEW / plan.rate))


class Rounds:
    """Measures pairs.

    Args:
      sides: Before and after, both running.
      suspend: Let the side that is not measured rest (see _sides).

    Attributes:
      failures: What has failed so far, and why.
    """

    def __init__(self, sides: list[RunningSide], plan: Plan, shape: Shape, *, suspend: bool) -> None:
        self._before, self._after = sides
        self._plan = plan.with_settings(warmup=shape.lead_in, duration=shape.measured)
        self._warm_up_seconds = plan.warmup
        self._suspend = suspend
        # Not the plan's own generator: its requests are the same in each pair, and the pairs would be one.
        self._chance = random.Random(f"{plan.seed}:pairs")
        self.failures = Failures()

    def warm_up(self, announce: Announce) -> None:
        """Drive each side as long as the plan's warm-up; whether that was enough, the judge finds out.

        Raises:
          TargetUnreachable: a side does not answer, or has ended.
          Interrupted: by Ctrl-C.
        """
        if not self._warm_up_seconds:
            return
        plan = self._plan.with_settings(warmup=0.0, duration=self._warm_up_seconds)
        for role, side in (("before", self._before), ("after", self._after)):
            announce(f"warming up {role}")
            self.failures.add(role, self._drive(side, plan)[0])

    def pair(self) -> Pair:
        """Measure a pair.

        Raises:
          TargetUnreachable: a side does not answer, or has ended: with its last words.
          Interrupted: by Ctrl-C; nothing of the pair counts.
        """
        seed = self._chance.getrandbits(48)
        before_first = self._chance.random() < 0.5
        plan = self._plan.with_settings(seed=seed)
        roles = {"before": self._before, "after": self._after}
        order = list(roles) if before_first else list(reversed(roles))
        rounds = {role: self._round(role, roles[role], plan) for role in order}
        return Pair(seed, before_first, rounds["before"], rounds["after"])

    def _round(self, role: str, side: RunningSide, plan: Plan) -> Round:
        result, used = self._drive(side, plan)
        self.failures.add(role, result)
        return Round(
            kinds=tuple(kind_round(kind) for kind in result.kinds),
            cpu=used / sent(plan),
            lateness_p99=result.lateness_p99,
            problems=problems_of(result),
        )

    def _drive(self, side: RunningSide, plan: Plan) -> tuple[LoadResult, float]:
        """Return what a side has answered, and the CPU seconds it took, lead-in included."""
        other = self._after if side is self._before else self._before
        if self._suspend:
            other.suspend()
            side.resume()
        begun = side.clock.read()
        try:
            result = run(plan.with_target(side.url))
        except TargetUnreachable:
            side.require_running()  # its last words say more
            raise
        used = side.clock.read() - begun
        side.require_running()
        if result.partial:
            raise Interrupted
        return result, used


def problems_of(result: LoadResult) -> tuple[Problem, ...]:
    """Return why a round cannot be judged by.

    A load test's own check asks whether the generator's lateness changed the p99. Here p50 and CPU are judged, so it is
    half of the requests that must have been sent in time: a generator that loses its core for some milliseconds in a
    round adds noise to the p99, which both sides have alike, and nothing to the p50.
    """
    others = [problem for problem in result.problems if problem.check != LATENESS]
    fastest = min((kind.p50 for kind in result.kinds if kind.offered), default=math.inf)
    limit = max(_TOLERATED_LATENESS, _TOLERATED_SHARE * fastest)
    if result.lateness_p50 > limit:
        figure = f"p50 {format_duration(result.lateness_p50)}, above {format_duration(limit)} it changes the result"
        others.append(Problem(LATENESS, figure, "lower the rate or free a core for the generator"))
    return tuple(others)


def sent(plan: Plan) -> int:
    """Return how many requests a round sends, lead-in included: all that it has used CPU for."""
    seconds = plan.warmup + plan.duration
    return max(1, sum(1 for _ in arrival_times(plan.rate, seconds, arrivals=plan.arrivals, seed=plan.seed)))


def kind_round(kind: KindResult) -> KindRound:
    """Return what a run tells of one kind of request; its latencies are NaN where none was due."""
    if not kind.offered:
        return KindRound(kind.name, 0, 0, math.nan, math.nan, math.nan)
    return KindRound(kind.name, kind.offered, kind.failed, kind.p50, kind.p90, kind.p99)


class Failures:
    """Counts what has failed, to tell a plan that suits neither side from a side that fails."""

    def __init__(self) -> None:
        self._offered: Counter[tuple[str, str]] = Counter()
        self._failed: Counter[tuple[str, str]] = Counter()
        self._how: dict[str, Counter[str]] = {}

    def add(self, role: str, result: LoadResult) -> None:
        """Count the requests of a run, unless the generator itself may have made them fail."""
        if problems_of(result):
            return
        for kind in result.kinds:
            self._offered[kind.name, role] += kind.offered
            self._failed[kind.name, role] += kind.failed
            how = {name: count for name, count in kind.errors.items() if name != "status"}
            how |= {f"status {status}": count for status, count in kind.statuses.items()}
            self._how.setdefault(kind.name, Counter()).update(how)

    def problem(self) -> Problem | None:
        """Return why nothing can be compared: a kind of request that often fails on both sides; None without one."""
        for kind, how in self._how.items():
            shares = [self._share(kind, role) for role in ("before", "after")]
            if min(shares) > _FAILING:
                cause = how.most_common(1)[0][0]
                figure = f"{kind}: {shares[0]:.0%} of before's and {shares[1]:.0%} of after's fail, mostly by {cause}"
                return Problem("errors", figure, "mend the plan, or lower the rate if both are overloaded")
        return None

    def _share(self, kind: str, role: str) -> float:
        offered = self._offered[kind, role]
        return self._failed[kind, role] / offered if offered >= _FAILURES_NEED else 0.0
