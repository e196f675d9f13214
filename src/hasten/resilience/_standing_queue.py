"""Whether what waits is a queue that stands, or a burst that passes, and what follows for a limit.

A pure part of `Limiter`.
"""

from math import inf, log10

_FEW_WAIT, _MANY_WAIT = 3.0, 6.0  # times log10(limit)
_STEP = 4.0  # times log10(limit), of the limit at a change
_GROWS_AFTER, _SHRINKS_AFTER = 8, 6
"""Response times. With 8 to shrink, too, and one step each, 97 % were answered in time from one second after a rise
from 0.9 to twice the capacity, at a p99 of 98 ms; with 6 and all at once 99 %, 68 ms (tests/resilience/event_loop.py).
With 5, answers that differ, a cache's hits and misses, passed for a queue: 87 % of the goodput (queueing.py, there).
"""


class StandingQueue:
    """Watches how many wait, one response time after another.

    While fewer than 3 log10(limit) wait at least once in eight response times the limit grows by 4 log10(limit). Where
    more than 6 log10(limit) wait in each of six it shrinks by all that are more, in the least of them.
    """

    __slots__ = ("_crowded", "_least", "_standing", "_windows")

    def __init__(self) -> None:
        self._least = self._standing = inf
        self._windows = self._crowded = 0

    def change(self, waiting: float, limit: float, *, quiet: bool) -> float:
        """Return what to add to the limit after a response time in which so many waited.

        Args:
          quiet: Less than half of the limit was in use: it does not grow.
        """
        unit = log10(max(10.0, limit))
        self._least = min(self._least, waiting)
        self._windows += 1
        if waiting > _MANY_WAIT * unit:
            self._standing = min(self._standing, waiting)
            self._crowded += 1
        else:
            self._standing, self._crowded = inf, 0
        if self._crowded >= _SHRINKS_AFTER:
            change = -max(_STEP * unit, self._standing - _MANY_WAIT * unit)
            self._standing, self._crowded = inf, 0
        elif self._windows < _GROWS_AFTER:
            return 0.0
        else:
            change = _STEP * unit if self._least < _FEW_WAIT * unit and not quiet else 0.0
        self._least, self._windows = inf, 0
        return change
