"""The client side: one process on its own core that drives URLs with hasten's open-model load generator.

It lives for the whole run, so that no turn pays for its start, and keeps the latencies of a trial's turns
together until their quantiles are asked for. `python -m benchmarks._load` is the child: it reads one order a
line and answers each with one line.
"""

import sys
from collections import defaultdict
from pathlib import Path

import msgspec

from benchmarks._child import announce, die_with_parent
from benchmarks._processes import PinnedProcess
from hasten._core.errors import HastenError, InvalidMeasurement
from hasten._core.histogram import Histogram
from hasten.load import LoadResult, Plan, run

_TOLERATED_LATENESS = 0.001
"""Seconds at p99. Not a share of the subject's p99, which would keep more of a slow subject's turns."""


class Drive(msgspec.Struct, frozen=True, tag=True):
    """Order: send `rate` requests/s to `url`.

    Attributes:
      plan: File of the plan that says what is sent, `url` being the target; empty for GETs of `url`.
      trial: Under this name the latencies are kept.
      seconds: How long, after `warm_up` seconds whose latencies are not kept.
      seed: Of the arrivals.
    """

    trial: str
    url: str
    rate: float
    seconds: float
    warm_up: float
    seed: int
    plan: str = ""


class TakeLatency(msgspec.Struct, frozen=True, tag=True):
    """Order: return the quantiles of what was kept for `trial`, and forget it."""

    trial: str


class Driven(msgspec.Struct, frozen=True):
    """What a drive gave.

    Attributes:
      sent: Requests, those of the warm-up included.
      late: The generator itself was late, so the latencies were not kept; the server's CPU is right.
      problem: Why it does not count; empty when it does.
    """

    sent: int = 0
    late: bool = False
    problem: str = ""


class Latency(msgspec.Struct, frozen=True):
    """Quantiles of a trial's turns, in seconds from the intended send time; 0.0 when nothing was kept."""

    p50: float
    p99: float


class LoadClient(PinnedProcess):
    """The load generator's process, seen from the benchmark."""

    def __init__(self, core: int) -> None:
        super().__init__("load generator", [sys.executable, "-m", "benchmarks._load"], core)

    def drive(self, order: Drive) -> Driven:
        """Drive once.

        Raises:
          InvalidMeasurement: requests failed or could not be sent, so the subject did not keep up with the
            rate.
        """
        driven = self.ask(order, order.seconds + order.warm_up, Driven)
        if driven.problem:
            raise InvalidMeasurement(f"{order.trial} at {order.rate:,.0f} requests/s", driven.problem)
        return driven

    def take_latency(self, trial: str) -> Latency:
        """Return the latencies of the turns of `trial` since the last call."""
        return self.ask(TakeLatency(trial), 0.0, Latency)


class _Driver:
    """The child's side."""

    def __init__(self) -> None:
        self._latencies: defaultdict[str, Histogram] = defaultdict(Histogram)

    def serve(self) -> None:
        """Answer orders until the parent closes stdin."""
        orders = msgspec.json.Decoder(Drive | TakeLatency)
        for line in sys.stdin:
            order = orders.decode(line)
            answer = self._drive(order) if isinstance(order, Drive) else self._take(order)
            print(msgspec.json.encode(answer).decode(), flush=True)

    def _drive(self, order: Drive) -> Driven:
        try:
            plan = (
                Plan.from_file(Path(order.plan), target=order.url) if order.plan else Plan.for_url(order.url, rate=1.0)
            )
            plan = plan.with_settings(rate=order.rate, duration=order.seconds, warmup=order.warm_up, seed=order.seed)
            result = run(plan, request_ids=True)
        except HastenError as error:
            return Driven(problem=str(error))
        return self._keep(order.trial, result)

    def _keep(self, trial: str, result: LoadResult) -> Driven:
        if result.total.failed or result.missed:
            return Driven(problem=f"{result.total.failed} failed, {result.missed} not sent: {result.total.errors}")
        if result.requests is None or not len(result.requests):
            return Driven(problem="no request was due")
        late = result.lateness_p99 > _TOLERATED_LATENESS
        if not late:
            histogram = self._latencies[trial]
            for latency in result.requests.latencies:
                histogram.record(latency)
        return Driven(sent=max(result.requests.numbers) + 1, late=late)

    def _take(self, order: TakeLatency) -> Latency:
        return Latency(*self._latencies.pop(order.trial, Histogram()).quantiles((0.5, 0.99)))


if __name__ == "__main__":
    die_with_parent()
    announce("on stdin")
    _Driver().serve()
