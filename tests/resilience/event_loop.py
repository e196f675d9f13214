"""A simulated service on an event loop, whose clients give up: what a limiter makes of more than it can answer.

A loop reads all that has come, then runs all that is ready, and what comes meanwhile waits unread: a queue that no
limiter sees. A client that gives up closes its connection; the next one has to be accepted, which costs more than a
refusal. That is how services come to work for nobody at all.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from hasten.resilience import Limiter
from tests.resilience.clocks import Clock

COMPUTES, WAITS = 0.002, 0.005  # seconds of each request: on the loop, and on something else
ACCEPT, READ, REFUSE, ANSWER = 60e-6, 60e-6, 12e-6, 40e-6  # seconds of CPU
DROP = 40e-6  # for a connection whose client has gone before it was read, beside accepting it
PATIENCE = 0.1


@dataclass(eq=False)
class Ask:
    """A request.

    Attributes:
      sent: When its client has sent it; it waits `PATIENCE` from then.
      accepted: Its connection is.
      came, begun: As the limiter is told.
    """

    sent: float
    accepted: bool
    came: float = 0.0
    begun: float = 0.0
    ended: bool = False


@dataclass
class Outcome:
    """What has become of the requests, by the second in which they were sent."""

    offered: list[int]
    good: list[int]
    refused: list[int]
    took: list[tuple[float, float]] = field(default_factory=list)
    limits: list[float] = field(default_factory=list)

    def goodput(self, since: int, until: int) -> float:
        """Return the answers in time a second."""
        return sum(self.good[since:until]) / (until - since)

    def answered(self, since: int, until: int) -> float:
        """Return the share of requests that were answered in time."""
        return sum(self.good[since:until]) / sum(self.offered[since:until])

    def refusals(self, since: int, until: int) -> float:
        """Return the share of requests that were refused."""
        return sum(self.refused[since:until]) / sum(self.offered[since:until])

    def p99(self, since: float, until: float) -> float:
        """Return the 99th percentile of what was answered in time, seconds."""
        took = sorted(seconds for sent, seconds in self.took if since <= sent < until)
        return took[int(0.99 * len(took))]


class Loop:
    """Runs the service."""

    def __init__(self, limiter_at: Callable[[Clock, random.Random], Limiter], seconds: int, seed: int) -> None:
        self._source = random.Random(seed)
        self._clock = Clock(0.0)
        self._limiter = limiter_at(self._clock, self._source)
        self._seconds = seconds
        self._idle = 0  # connections that clients keep open
        self._arriving: deque[Ask] = deque()
        self._unread: list[Ask] = []
        self._ready: deque[Ask] = deque()
        self._waiting: list[tuple[float, int, Ask]] = []
        self._under_way: deque[Ask] = deque()
        self.outcome = Outcome([0] * seconds, [0] * seconds, [0] * seconds)

    @property
    def _now(self) -> float:
        return self._clock.now

    def _spend(self, seconds: float) -> None:
        self._clock.now += seconds

    def run(self, rate: Callable[[float], float]) -> Outcome:
        """Run it; `rate` is of requests a second, by the time."""
        times, at = [], 0.0
        while at < self._seconds:
            at += self._source.expovariate(rate(at))
            times.append(at)
        coming = deque(times[:-1])
        while self._now < self._seconds:
            self._send(coming)
            if not (self._unread or self._ready or self._has_woken()):
                upcoming = [coming[0]] if coming else [float(self._seconds)]
                if self._waiting:
                    upcoming.append(self._waiting[0][0])
                self._clock.now = max(self._now, min(upcoming))
                continue
            self._read()
            self._give_up()
            self._step()
            self.outcome.limits.append(self._limiter.limit)
        return self.outcome

    def _has_woken(self) -> bool:
        return bool(self._waiting) and self._waiting[0][0] <= self._now

    def _send(self, coming: deque[float]) -> None:
        while coming and coming[0] <= self._now:
            sent = coming.popleft()
            kept = self._idle > 0
            self._idle -= kept
            self._unread.append(Ask(sent, accepted=kept))
            self.outcome.offered[int(sent)] += 1

    def _read(self) -> None:
        """Accept connections, and read from those that were accepted in an earlier pass."""
        unread, self._unread = self._unread, []
        for ask in unread:
            if not ask.accepted:
                self._spend(ACCEPT)
                ask.accepted = True
                self._unread.append(ask)
            elif self._now - ask.sent >= PATIENCE:
                self._spend(DROP)
            elif self._limiter.admits():
                self._spend(READ)
                ask.came = ask.sent if self._now - ask.sent >= 0.008 else self._now
                self._ready.append(ask)
                self._under_way.append(ask)
            else:
                self._spend(REFUSE)
                self._idle += 1
                self.outcome.refused[int(ask.sent)] += 1

    def _give_up(self) -> None:
        """Cancel what clients do not wait for any more."""
        while self._under_way and (self._under_way[0].ended or self._now - self._under_way[0].sent >= PATIENCE):
            ask = self._under_way.popleft()
            if not ask.ended:
                ask.ended = True
                self._limiter.abandoned(self._now - ask.came)

    def _step(self) -> None:
        """Run all that is ready."""
        while self._has_woken():
            self._ready.append(heapq.heappop(self._waiting)[2])
        for _ in range(len(self._ready)):
            ask = self._ready.popleft()
            if ask.ended:
                continue
            if not ask.begun:
                ask.begun = self._now
                self._spend(COMPUTES)
                heapq.heappush(self._waiting, (self._now + WAITS, id(ask), ask))
            else:
                self._answer(ask)

    def _answer(self, ask: Ask) -> None:
        self._spend(ANSWER)
        ask.ended = True
        self._limiter.ended(self._now - ask.came, "", ask.begun - ask.came)
        took = self._now - ask.sent
        if took < PATIENCE:
            self._idle += 1
            self.outcome.good[int(ask.sent)] += 1
            self.outcome.took.append((ask.sent, took))
