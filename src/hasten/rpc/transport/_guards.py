"""Counters that tell abuse from use."""

import math
import time
from collections.abc import Callable


class TokenBucket:
    """So many at once, so many a second.

    Args:
      burst: Tokens when full, as at the start.
      rate: Tokens that come back a second.
      clock: Monotonic seconds.
    """

    __slots__ = ("_at", "_burst", "_clock", "_rate", "tokens")

    def __init__(self, burst: float, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst = burst
        self._rate = rate
        self._clock = clock
        self._at = clock()
        self.tokens = float(burst)

    def take(self, count: float = 1.0) -> bool:
        """Take `count` tokens; the level may go below zero, and False says that it did."""
        self._refill()
        self.tokens -= count
        return self.tokens >= 0.0

    def give(self, count: float) -> None:
        """Put tokens back, as far as there is room."""
        self.tokens = min(self._burst, self.tokens + count)

    def seconds_until_positive(self) -> float:
        """Return how long no token is left; infinite where none come back."""
        self._refill()
        if self.tokens >= 0.0:
            return 0.0
        return -self.tokens / self._rate if self._rate else math.inf

    def _refill(self) -> None:
        now = self._clock()
        self.tokens = min(self._burst, self.tokens + (now - self._at) * self._rate)
        self._at = now


class ResetBudget:
    """Pays for streams that end early: by a token bucket, and by the streams that do not.

    Each stream that was opened and not reset gives a token back, once: those that are open now may still be reset, so
    only what lies above the most there ever were counts.
    """

    __slots__ = ("_bucket", "_most_kept", "_resets")

    def __init__(self, burst: float, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._bucket = TokenBucket(burst, rate, clock)
        self._resets = 0
        self._most_kept = 0

    def take(self, opened: int) -> bool:
        """Pay for a reset; False when it is one too many.

        Args:
          opened: Streams that were opened until now.
        """
        self._resets += 1
        kept = opened - self._resets
        if kept > self._most_kept:
            self._bucket.give(kept - self._most_kept)
            self._most_kept = kept
        return self._bucket.take()


class PingStrikes:
    """Counts PINGs that come sooner than allowed (grpc-core's rule, gRFC A8).

    Data of ours in between forgives them, because peers measure their bandwidth with PINGs while it flows.
    """

    __slots__ = ("_clock", "_count", "_last", "_most", "_seconds", "_sent_bytes")

    def __init__(self, most: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._seconds = seconds
        self._clock = clock
        self._last = -seconds
        self._sent_bytes = 0
        self._count = 0

    def strike(self, sent_bytes: int) -> bool:
        """Note a PING; True when it is one too many.

        Args:
          sent_bytes: What we have sent as DATA until now.
        """
        now = self._clock()
        is_soon = now - self._last < self._seconds and sent_bytes == self._sent_bytes
        self._count = self._count + 1 if is_soon else 0
        self._last = now
        self._sent_bytes = sent_bytes
        return self._count > self._most
