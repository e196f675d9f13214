"""How many requests a service works on at once: as many as keep it busy, and hardly any that wait.

Beyond what a service can do, more under way only make each slower, until none is answered in time. A limit that is
found, not guessed, keeps those that are admitted quick, and refuses the rest while a refusal is cheap.
"""

import random
from collections.abc import Callable
from math import inf
from time import monotonic

from hasten._core.errors import ConfigurationError
from hasten.resilience._guard import Guard
from hasten.resilience._limiter_statistics import LimiterStatistics
from hasten.resilience._priority import SHARES, Priority
from hasten.resilience._refused import Refused
from hasten.resilience._standing_queue import StandingQueue
from hasten.resilience._unloaded import Unloaded

_FEWEST_ANSWERS = 10
"""Between two changes of the limit, at least; else as many as the limit: those of one response time."""
_WAITS = 2.0  # for the loop, each as long: until the work begins, and behind what it waits for
_NO_QUEUE = 0.1  # of an answer's time: up to so much it has met none
_PROBE_SHARE = 0.5  # of the limit, while it is looked what answers take without load


class Limiter:
    """Bounds the requests under way by what their answers take, compared with what they take without load.

        if limiter.admits(Priority.NORMAL):
            ...
            limiter.ended(seconds, "GET /products/{id}")   # or abandoned(), or dropped()
        else:
            ...                                            # refuse: 503, Retry-After

    TCP Vegas' arithmetic: of n requests under way whose answers take r times as long as unloaded ones, n (1 - 1/r)
    wait. While fewer than 3 log10(limit) wait the limit grows, while more than 6 log10(limit) do it shrinks. Two things
    differ. Vegas takes the shortest time ever seen for the unloaded one; here it is the mean of each kind of request: a
    cache's hits and misses, a page and a report differ, and are no queue. And of several response times the least
    counts: bursts, which a service has at 0.9 times its capacity, pass by themselves. What stays is taken away at once.

    Unloaded is what is answered while less than half of the limit is in use. Where that does not happen any more, the
    limit is halved now and then until some requests that began since have been answered, after one second, then twice
    as long each, up to `probe_every`: what was learned in an overload, or before a release, does not last.

    One event loop's; `admits` and `ended` together cost 0.4 µs. Below `room` in flight every priority is admitted.

    Args:
      initial: Limit at the start.
      least, most: Bounds of the limit.
      probe_every: Seconds, the most.
      clock: Seconds, never going back.
      chance: From 0 to 1, 1 left out: processes do not probe together.
    Raises:
      ConfigurationError: not 1 <= least <= initial <= most, or `probe_every` is not positive.
    Source: Brakmo and Peterson, TCP Vegas, 1995; Netflix concurrency-limits (VegasLimit); Envoy's adaptive concurrency
      filter, for the looking anew.
    """

    __slots__ = (
        "_admitted", "_answers", "_busy", "_clock", "_enough", "_expected", "_least", "_most", "_queue", "_refused",
        "_rooms", "_took", "_unloaded", "in_flight", "limit", "room",
    )  # fmt: skip

    def __init__(
        self,
        *,
        initial: int = 20,
        least: int = 4,
        most: int = 1000,
        probe_every: float = 10.0,
        clock: Callable[[], float] = monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        if not 1 <= least <= initial <= most:
            raise ConfigurationError(f"Limiter(initial={initial})", f"not 1 <= {least} <= {initial} <= {most}")
        if not 0.0 < probe_every < inf:
            raise ConfigurationError(f"Limiter(probe_every={probe_every})", "must be greater than 0, and finite")
        self._least, self._most = least, most
        self._clock = clock
        self._unloaded = Unloaded(probe_every, clock, chance)
        self.in_flight = 0
        self._admitted, self._refused = [0] * len(Priority), [0] * len(Priority)
        self.limit = float(initial)
        self._queue = StandingQueue()
        self._begin_window()
        self._make_room()

    def admits(self, priority: int = Priority.NORMAL) -> bool:
        """Admit a request, which `ended` or `dropped` follows; False, and nothing follows, where there is no room."""
        if self.in_flight < self._rooms[priority]:
            self.in_flight += 1
            self._admitted[priority] += 1
            return True
        self._refused[priority] += 1
        return False

    def refuses(self, priority: int = Priority.NORMAL) -> bool:
        """Refuse a request where there is no room; False, and nothing is counted, where `admits` is to be asked."""
        if self.in_flight < self._rooms[priority]:
            return False
        self._refused[priority] += 1
        return True

    def dropped(self) -> None:
        """Note that a request has ended by what says nothing of the load: it was cancelled, or failed."""
        self.in_flight -= 1

    def ended(self, seconds: float, kind: str = "", queued: float = 0.0) -> None:
        """Note that a request was answered, after so long.

        Args:
          kind: Requests of one kind take about the same: their route. Kinds from the 257th on are one.
          queued: Seconds of them before its work had begun, where that is known: those are no part of what an answer
            takes without load, however few are under way.
        """
        unloaded = self._unloaded
        if queued <= _NO_QUEUE * seconds:
            expected = unloaded.expected(kind, seconds - _WAITS * queued, quiet=2 * self.in_flight < self.limit)
        else:
            unqueued = max(0.0, seconds - _WAITS * queued)
            expected = max(unqueued, unloaded.expected(kind, unqueued, quiet=False, straight=False))
        self._judge(seconds, expected)

    def abandoned(self, seconds: float, kind: str = "") -> None:
        """Note that nobody waits for a request any more, after so long: it would have taken longer.

        Clients that give up in an overload leave no answers: without this the limiter would not hear of it.
        """
        expected = self._unloaded.exceeded(kind, seconds)
        if expected:
            self._judge(seconds, expected)
        else:
            self.dropped()

    def _judge(self, seconds: float, expected: float) -> None:
        in_flight = self.in_flight
        self.in_flight = in_flight - 1
        self._took += seconds
        self._expected += expected
        self._busy += in_flight
        self._answers += 1
        if self._answers >= self._enough:
            self._adjust()

    def _adjust(self) -> None:
        """Change the limit by what the last answers took."""
        busy = self._busy / self._answers
        waiting = busy * (1.0 - self._expected / self._took) if self._took > self._expected else 0.0
        quiet = 2.0 * busy < self.limit
        change = self._queue.change(waiting, self.limit, quiet=quiet)
        if not self._unloaded.probing:
            self.limit = min(max(self.limit + change, self._least), self._most)
        self._unloaded.look(quiet=quiet)
        self._begin_window()
        self._make_room()

    def _begin_window(self) -> None:
        self._took = self._expected = self._busy = 0.0
        self._answers = 0
        self._enough: float = max(_FEWEST_ANSWERS, self.limit)

    def _make_room(self) -> None:
        room = max(float(self._least), self.limit * _PROBE_SHARE) if self._unloaded.probing else self.limit
        self._rooms = [max(1.0, room * share) for share in SHARES]
        self.room = self._rooms[Priority.LOW]

    def guard(self) -> Guard:
        """Return what bounds a block, or as a decorator each call of a function.

        Raises:
          Refused: when the block begins, at the limit.
        """
        return Guard(self, self._clock)

    def begin(self, now: float) -> None:
        """Admit one piece of work of normal priority."""
        if not self.admits():
            raise Refused("limiter", f"{self.in_flight} are under way, of {self.limit:.0f}")

    def end(self, began: float, now: float, error: BaseException | None) -> None:
        """Note the end of what `begin` has admitted."""
        if error is None:
            self.ended(now - began)
        else:
            self.dropped()

    def statistics(self) -> LimiterStatistics:
        """Return the state and the counts now."""
        by_priority = tuple(self._admitted), tuple(self._refused)
        return LimiterStatistics(self.limit, self.in_flight, *by_priority, self._unloaded.probes)
