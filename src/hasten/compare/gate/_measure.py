"""Measures a service alone: round after round, as long as the plan says."""

import hashlib
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from hasten._core.processes import cores, split_cores, termination_unwinds
from hasten.compare._result import Round
from hasten.compare._rounds import Interrupted, Shape, kind_round, sent, shape_of
from hasten.compare._sides import RunningSide, Side, running_alone
from hasten.compare.gate._baseline import FEWEST_ROUNDS
from hasten.compare.gate._objectives import Measured
from hasten.compare.gate._settings import ALL
from hasten.load import LoadResult, Plan, run

Announce = Callable[[str], None]
_SPOILT = 0.25  # share of the rounds that may be spoilt by the generator's own lateness; others take their places
_FEW_SPOILT = 2


class Measurement(msgspec.Struct, frozen=True):
    """What a service alone has taken.

    Attributes:
      rounds: One by one, those that were spoilt left out.
      kinds: By name, with ALL.
    """

    rounds: tuple[Round, ...]
    kinds: dict[str, Measured]


def measure(side: Side, plan: Plan, announce: Announce) -> Measurement:
    """Start a service, drive the plan in rounds, end the service.

    Args:
      plan: Its warm-up is driven first, its duration is that of all rounds together, at least FEWEST_ROUNDS of them.
    Raises:
      ConfigurationError: app, URL or plan are wrong.
      TargetUnreachable: the service does not start or answer.
      InvalidMeasurement: the load generator was late in more than one round of four, and more than two.
    Cancellation: Ctrl-C, SIGTERM and SIGHUP end the service first and are raised on.
    """
    shape = shape_of(plan)
    with TemporaryDirectory(prefix="hasten-") as scratch, termination_unwinds():
        theirs, ours = split_cores() if side.app else (None, None)
        announce("starting")
        with running_alone(side, plan, Path(scratch), theirs) as running, cores(ours):
            return _measured(running, plan, shape, announce)


def _measured(side: RunningSide, plan: Plan, shape: Shape, announce: Announce) -> Measurement:
    wanted = max(FEWEST_ROUNDS, math.ceil(plan.duration / shape.measured))
    announce("warming up")
    if plan.warmup:
        _driven(side, plan.with_settings(warmup=0.0, duration=plan.warmup))
    results: list[LoadResult] = []
    rounds: list[Round] = []
    tried = 0
    while len(rounds) < wanted:
        announce(f"measuring, round {len(rounds) + 1} of {wanted}")
        seeded = plan.with_settings(warmup=shape.lead_in, duration=shape.measured, seed=plan.seed + tried)
        result, cpu = _driven(side, seeded)
        tried += 1
        if result.valid:
            results.append(result)
            rounds.append(Round(tuple(map(kind_round, result.kinds)), cpu / sent(seeded), result.lateness_p99))
        elif tried - len(rounds) > max(_FEW_SPOILT, _SPOILT * wanted):
            result.require_valid()
    return Measurement(tuple(rounds), _kinds(plan, results, rounds))


def _driven(side: RunningSide, plan: Plan) -> tuple[LoadResult, float]:
    """Return what was answered, and the CPU seconds it took."""
    begun = side.clock.read()
    result = run(plan.with_target(side.url), request_ids=True)
    side.require_running()
    if result.partial:
        raise Interrupted
    return result, side.clock.read() - begun


def _kinds(plan: Plan, results: Iterable[LoadResult], rounds: Iterable[Round]) -> dict[str, Measured]:
    """Return all latencies by kind, and of all kinds together with the mean CPU time."""
    latencies: list[list[float]] = [[] for _ in plan.requests]
    accepts = [kind.accepts for kind in plan.requests]
    for result in results:
        if result.requests is not None:
            records = result.requests
            for kind, status, latency in zip(records.kinds, records.statuses, records.latencies, strict=True):
                latencies[kind].append(latency if accepts[kind](status) else math.inf)
    cpu = [one.cpu for one in rounds]
    measured = {kind.name: _measured_of(found) for kind, found in zip(plan.requests, latencies, strict=True)}
    everything = [latency for found in latencies for latency in found]
    return measured | {ALL: _measured_of(everything, sum(cpu) / len(cpu) if cpu else math.nan)}


def _measured_of(latencies: list[float], cpu: float = math.nan) -> Measured:
    return Measured(sorted(latencies), latencies.count(math.inf), cpu)


def plan_digest(plan: Plan) -> str:
    """Return what tells one plan's requests from another's, in 16 hexadecimal digits."""
    said = [plan.rate, plan.arrivals, *(msgspec.to_builtins(kind) for kind in plan.requests)]
    return hashlib.sha256(msgspec.json.encode(said)).hexdigest()[:16]
