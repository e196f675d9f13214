"""A service under load, simulated: one CPU that takes requests in their order, then a wait of each for itself."""

import heapq
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from hasten.resilience import Limiter, Priority
from tests.resilience.clocks import Clock

Draw = Callable[[random.Random, float], float]
REFUSAL = 0.000006
"""CPU seconds that a refusal takes in the protocol (measured)."""


def constant(seconds: float) -> Draw:
    return lambda _source, _now: seconds


@dataclass
class Kind:
    """Requests of a kind: their CPU time and wait, in seconds, and their share of all.

    `cpu` and `wait` draw for a request that comes at a moment.
    """

    cpu: Draw
    wait: Draw
    share: float = 1.0
    name: str = ""
    priority: Priority = Priority.NORMAL


@dataclass
class Outcome:
    """What became of the requests of whole seconds, by second and priority.

    Attributes:
      took: Of those that were answered: when they came, and how long it took.
    """

    offered: Counter[tuple[int, Priority]] = field(default_factory=Counter)
    refused: Counter[tuple[int, Priority]] = field(default_factory=Counter)
    good: Counter[tuple[int, Priority]] = field(default_factory=Counter)
    took: list[tuple[float, float]] = field(default_factory=list)

    def share_refused(self, since: int, until: int) -> float:
        """Return the share of the requests of some seconds that were refused."""
        return _sum(self.refused, since, until) / _sum(self.offered, since, until)

    def goodput(self, since: int, until: int) -> float:
        """Return the requests a second that were answered within the deadline."""
        return _sum(self.good, since, until) / (until - since)

    def success(self, priority: Priority, since: int, until: int) -> float:
        """Return the share of one priority's requests that were answered within the deadline."""
        return _sum(self.good, since, until, priority) / _sum(self.offered, since, until, priority)

    def p99(self, since: float, until: float) -> float:
        """Return the 99th percentile of what was answered, seconds."""
        took = sorted(seconds for came, seconds in self.took if since <= came < until)
        return took[int(0.99 * len(took))]


def _sum(counts: Counter[tuple[int, Priority]], since: int, until: int, priority: Priority | None = None) -> int:
    return sum(
        count
        for (second, of), count in counts.items()
        if since <= second < until and (priority is None or of is priority)
    )


def drive(
    limiter_at: Callable[[Clock, random.Random], Limiter],
    rate: Callable[[float], float],
    kinds: Callable[[float], list[Kind]],
    *,
    seconds: float,
    deadline: float = 0.1,
    seed: int = 1,
) -> Outcome:
    """Send a simulated service Poisson arrivals, and return what became of them.

    Args:
      rate: Requests a second, by the time.
      kinds: Of requests, by the time.
      deadline: Within which an answer is good.
    """
    source, clock, outcome = random.Random(seed), Clock(0.0), Outcome()
    limiter = limiter_at(clock, source)
    under_way: list[tuple[float, int, float, Kind]] = []
    free_at, arrival, number = 0.0, 0.0, 0
    while True:
        arrival += source.expovariate(rate(arrival))
        while under_way and under_way[0][0] <= min(arrival, seconds):
            clock.now, _, came, kind = heapq.heappop(under_way)
            limiter.ended(clock.now - came, kind.name)
            outcome.good[int(came), kind.priority] += clock.now - came <= deadline
            outcome.took.append((came, clock.now - came))
        if arrival >= seconds:
            return outcome
        clock.now, number = arrival, number + 1
        offered = kinds(arrival)
        (kind,) = source.choices(offered, [each.share for each in offered])
        outcome.offered[int(arrival), kind.priority] += 1
        free_at = max(arrival, free_at)
        if limiter.admits(kind.priority):
            free_at += kind.cpu(source, arrival)
            heapq.heappush(under_way, (free_at + kind.wait(source, arrival), number, arrival, kind))
        else:
            outcome.refused[int(arrival), kind.priority] += 1
            free_at += REFUSAL
