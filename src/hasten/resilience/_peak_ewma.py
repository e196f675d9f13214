"""Which of several servers of one service gets the next call: the better of two, by their latencies and open calls."""

import math
from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

REJECTION_SECONDS = 1.0
"""Least latency that a rejection is recorded with; see `PeakEwma`."""
REJECTION_FACTOR = 16.0
"""A rejection is recorded with at least this multiple of the highest recent cost at which any server answered; under
load one that only rejects is then asked again every `decay` x ln 16."""
_REMEMBERED = 8.0
"""Calls, of those that might have gone to a server, for which at least it is remembered what was seen of it.

Where 100 callers make 1.2 calls a second to each of 20 replicas, one that is ten times slower gets 2.4 % of them if all
is forgotten within 1.5 s, and the p99 is 6.3 s; with this 0.4 %, and 44 ms (`python -m benchmarks.simulate`).
"""
_LONGEST = 60.0  # seconds
_PACE = 16  # picks, from which it is learned how often there are any
UNKNOWN_COST = 1e9
"""Cost of a server whose first answer is still awaited: above every real one (Finagle's Penalty)."""


class Load:
    """What balancing knows of one server; whoever calls it owns one, or is one.

    Attributes:
      outstanding: Attempts begun and not finished.
      ewma: Peak-sensitive average of latencies in seconds, as of `observed_at`; 0.0 without an answer yet.
    """

    __slots__ = ("ewma", "observed_at", "outstanding")

    def __init__(self) -> None:
        self.outstanding = 0
        self.ewma = 0.0
        self.observed_at = -math.inf

    def forget(self) -> None:
        """Drop the latencies: what is there now may be another process. Open attempts stay counted."""
        self.ewma = 0.0
        self.observed_at = -math.inf


L = TypeVar("L", bound=Load)


class PeakEwma:
    """Of two servers chosen at random takes the cheaper one; cost is average latency x (outstanding + 1).

    The average jumps to every latency above it and sinks to those below with the time constant `decay`, with no calls
    towards zero: a slow server is left at once and asked again cautiously. Who calls seldom remembers for longer, since
    it learns as seldom. One without history costs nothing until it has one call, and more than all others until that is
    answered.

    What a latency is:
    - A rejection is often the fastest answer of all, and would draw all traffic to the one server that cannot serve
      it. It is recorded as slow: at least `REJECTION_SECONDS`, and at least `REJECTION_FACTOR` times the highest recent
      cost (latency x outstanding) at which any server answered: whoever rejects at once never has calls outstanding,
      and must still cost more than those that carry the load.
    - A call that was cancelled or timed out says only that its answer would have taken longer: it can raise the
      average, never lower it. Otherwise the loser of each hedge would look as fast as the winner.

    A pick takes 0.45 µs.

    Args:
      clock: Seconds, never going back.
      random: From 0 to 1, 1 left out.
      decay: Seconds; or eight times those between two calls to each server, if that is more, up to 60.
    Sources: Finagle's PeakEwma (Linkerd's balancer); Mitzenmacher, The Power of Two Choices, 2001.
    """

    __slots__ = ("_clock", "_dearest", "_dearest_at", "_decay", "_picks", "_random", "_rate", "_since")

    def __init__(self, clock: Callable[[], float], random: Callable[[], float], decay: float) -> None:
        self._clock = clock
        self._random = random
        self._decay = decay
        self._rate = -1.0 / decay
        self._picks = 0
        self._since = clock()
        self._dearest = 0.0
        self._dearest_at = -math.inf

    def pick(self, choices: Sequence[L]) -> L | None:
        """Return the one for the next attempt; None if there is none to choose from."""
        count = len(choices)
        if count < 2:
            return choices[0] if count else None
        first, second = divmod(int(self._random() * (count * (count - 1))), count - 1)
        if second >= first:
            second += 1  # one random number, every ordered pair of different servers equally likely
        one, other = choices[first], choices[second]
        now = self._clock()
        self._picks += 1
        if self._picks == _PACE:
            self._learn_pace(now, count)
        return one if self._cost(one, now) <= self._cost(other, now) else other

    def _learn_pace(self, now: float, count: int) -> None:
        """Remember for as long as it takes to learn again."""
        seconds_each = (now - self._since) / _PACE * count
        self._rate = -1.0 / max(self._decay, min(_REMEMBERED * seconds_each, _LONGEST))
        self._picks, self._since = 0, now

    def pick_other(self, choices: Sequence[L], used: Collection[L]) -> L | None:
        """Choose among those outside `used`; among all where there is none."""
        return self.pick([one for one in choices if one not in used] or choices)

    def answered(self, load: Load, seconds: float) -> None:
        """Record an answer that took so long, when it is not outstanding any more; 0.25 µs."""
        now = self._clock()
        cost = seconds * (load.outstanding + 1)
        if cost > self._dearest * math.exp((now - self._dearest_at) * self._rate):
            self._dearest, self._dearest_at = cost, now
        self._observe(load, seconds, now)

    def failed(self, load: Load, seconds: float) -> None:
        """Record a failure that took so long and is no rejection."""
        self._observe(load, seconds, self._clock())

    def rejected(self, load: Load, seconds: float) -> None:
        """Record a rejection."""
        now = self._clock()
        dearest = self._dearest * math.exp((now - self._dearest_at) * self._rate)
        self._observe(load, max(seconds, REJECTION_SECONDS, REJECTION_FACTOR * dearest), now)

    def cut_short(self, load: Load, seconds: float) -> None:
        """Record an attempt that was given up after so long."""
        now = self._clock()
        if seconds > load.ewma * math.exp((now - load.observed_at) * self._rate):
            load.ewma, load.observed_at = seconds, now

    def _observe(self, load: Load, seconds: float, now: float) -> None:
        weight = math.exp((now - load.observed_at) * self._rate)
        average = load.ewma * weight
        load.ewma = seconds if seconds > average else average + seconds * (1.0 - weight)
        load.observed_at = now

    def _cost(self, load: Load, now: float) -> float:
        outstanding = load.outstanding
        if load.ewma == 0.0:
            return UNKNOWN_COST + outstanding if outstanding else 0.0
        return load.ewma * math.exp((now - load.observed_at) * self._rate) * (outstanding + 1)
