"""How often something may happen: so many times a second, and so many at once."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from hasten._core.errors import ConfigurationError
from hasten.resilience._guard import Guard
from hasten.resilience._refused import Refused

_ROUNDING = 1e-6  # of a piece: times add up to a little less than they are


@dataclass(frozen=True, slots=True)
class RateLimitStatistics:
    """What a rate limit has counted since it was made.

    Attributes:
      admitted, refused: Pieces of work.
      available: How many would be admitted now.
    """

    admitted: int
    refused: int
    available: float


class RateLimit:
    """A token bucket: `rate` pieces of work a second in the long run, `burst` at once after a quiet time.

    Over any `t` seconds at most `rate * t + burst` are admitted. An admission costs 0.2 µs. One event loop's.

    Args:
      rate: A second.
      burst: At least 1; a second's worth if not given, or 1.
      clock: Seconds, never going back.
    Raises:
      ConfigurationError: `rate` is not positive, or `burst` below 1.
    Source: RFC 2697, section 3 (the committed token bucket).
    """

    __slots__ = ("_admitted", "_at", "_burst", "_clock", "_rate", "_refused", "_tokens")

    def __init__(self, rate: float, *, burst: int | None = None, clock: Callable[[], float] = monotonic) -> None:
        if not 0.0 < rate < math.inf:
            raise ConfigurationError(f"RateLimit(rate={rate})", "must be greater than 0, and finite")
        self._burst = max(1, int(rate)) if burst is None else burst
        if self._burst < 1:
            raise ConfigurationError(f"RateLimit(burst={burst})", "must be at least 1")
        self._clock = clock
        self._rate = rate
        self._tokens = float(self._burst)
        self._at = clock()
        self._admitted = self._refused = 0

    def admits(self, pieces: int = 1) -> bool:
        """Admit so many pieces of work together; False, and none is admitted, if that is too many now."""
        tokens = self._refill(self._clock())
        if tokens < pieces - _ROUNDING:
            self._refused += pieces
            return False
        self._tokens = tokens - pieces
        self._admitted += pieces
        return True

    def _refill(self, now: float) -> float:
        tokens = self._tokens + (now - self._at) * self._rate
        self._at = now
        self._tokens = tokens = tokens if tokens < self._burst else float(self._burst)
        return tokens

    def wait(self, pieces: int = 1) -> float:
        """Return the seconds until so many pieces would be admitted; infinite if they are more than `burst`."""
        if pieces > self._burst:
            return math.inf
        return max(0.0, pieces - self._refill(self._clock())) / self._rate

    # ---- as a guard

    def guard(self) -> Guard:
        """Return what counts a block as one piece of work, or as a decorator each call of a function.

        Raises:
          Refused: when the block begins, with the seconds after which one more would be admitted.
        """
        return Guard(self, self._clock)

    def begin(self, now: float) -> None:
        """Admit one piece of work."""
        tokens = self._refill(now)
        if tokens < 1.0 - _ROUNDING:
            self._refused += 1
            raise Refused("rate limit", f"more than {self._rate:g} a second", self.wait())
        self._tokens = tokens - 1.0
        self._admitted += 1

    def end(self, began: float, now: float, error: BaseException | None) -> None:
        """Note the end of what was admitted: it changes nothing."""

    def statistics(self) -> RateLimitStatistics:
        """Return the counts now."""
        return RateLimitStatistics(self._admitted, self._refused, self._refill(self._clock()))
