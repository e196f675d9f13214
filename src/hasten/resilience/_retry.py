"""When a failed call may be sent again; whether the budget has room for it is `RetryBudget`'s to say."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from hasten._core.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often a call is sent, and how long the pauses between are. Durations in seconds.

    Only for calls that may be carried out twice. A call's deadline goes over all attempts together.

    Attributes:
      attempts: At most so many, the first one included; 1 never retries.
      first_backoff: Pause before the first retry.
      longest_backoff: Bound of the pauses, before jitter.
      multiplier: Each pause is so many times the one before it; below 1 they shrink.
      jitter: Each pause is spread evenly by this part up and down, so that calls that failed at the same moment do not
        come back at the same moment.
    Source: gRFC A6, section Exponential Backoff, as amended in 2024 (grpc/proposal#452: 0.8 to 1.2 times the pause,
      the longest too; before, 0 to 1 times).
    """

    attempts: int = 3
    first_backoff: float = 0.05
    longest_backoff: float = 1.0
    multiplier: float = 2.0
    jitter: float = 0.2

    def __post_init__(self) -> None:
        if not self.attempts >= 1:
            raise ConfigurationError(f"RetryPolicy(attempts={self.attempts})", "must be at least 1")
        for name in ("first_backoff", "longest_backoff", "multiplier", "jitter"):
            value = getattr(self, name)
            if not 0.0 <= value < math.inf:
                raise ConfigurationError(f"RetryPolicy({name}={value})", "must be 0 or greater, and finite")
        if self.jitter > 1.0:
            raise ConfigurationError(f"RetryPolicy(jitter={self.jitter})", "must be at most 1: pauses are not negative")

    def delay(self, attempt: int, random: Callable[[], float]) -> float:
        """Return the seconds to wait before retry number `attempt`: 1 for the first; 0.2 µs.

        Args:
          attempt: Counted from the call, or from the last pause that the server itself asked for (gRFC A6, pushback).
          random: Returns floats from 0 to below 1, as random.random.
        """
        try:
            backoff = min(self.first_backoff * self.multiplier ** (attempt - 1), self.longest_backoff)
        except OverflowError:
            backoff = self.longest_backoff if self.first_backoff else 0.0
        return backoff * (1.0 + self.jitter * (2.0 * random() - 1.0))
