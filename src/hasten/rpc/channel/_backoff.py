"""When a lost connection, or a failed name resolution, may be tried again."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from hasten._core.errors import ConfigurationError

LONGEST_SECONDS = 86_400.0
"""No pause is longer than a day; a longer one is a mistake in the unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackoffPolicy:
    """How pauses between attempts grow. All durations are seconds.

    Attributes:
      initial: From the start of the first attempt to the start of the second.
      multiplier: Growth from one failed attempt to the next.
      maximum: Bound of the growth.
      jitter: Each pause is spread evenly by this part up and down, so that clients that lost one server at the same
        moment do not come back at the same moment.
      min_connect_timeout: An attempt is given at least so long before it counts as failed.
    Source: grpc/grpc doc/connection-backoff.md, with the initial 1 s of its implementations.
    """

    initial: float = 1.0
    multiplier: float = 1.6
    maximum: float = 120.0
    jitter: float = 0.2
    min_connect_timeout: float = 20.0

    def __post_init__(self) -> None:
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if not (math.isfinite(value) and low <= value <= high):
                raise ConfigurationError(f"BackoffPolicy({name}={value})", f"must be from {low:g} to {high:g}")
        if self.maximum < self.initial:
            raise ConfigurationError(f"BackoffPolicy(maximum={self.maximum})", f"is below initial={self.initial}")


_RANGES = (
    ("initial", 0.001, LONGEST_SECONDS),
    ("multiplier", 1.0, 100.0),
    ("maximum", 0.001, LONGEST_SECONDS),
    ("jitter", 0.0, 1.0),
    ("min_connect_timeout", 0.001, LONGEST_SECONDS),
)
DEFAULT_BACKOFF = BackoffPolicy()


class Backoff:
    """The pauses of one thing that is tried until it succeeds; all times are by the caller's clock.

    Pauses run from the start of an attempt, not from its failure: an attempt that took longer than its pause is
    followed by the next at once.

    Attributes:
      retry_at: When the next attempt may begin; `-inf` before the first and after a success.
    """

    __slots__ = ("_pause", "_policy", "_random", "retry_at")

    def __init__(self, random: Callable[[], float], policy: BackoffPolicy = DEFAULT_BACKOFF) -> None:
        """Start without a failure; `random` returns floats from 0 to below 1, as random.random."""
        self._policy = policy
        self._random = random
        self._pause = 0.0
        self.retry_at = -math.inf

    def begin(self, now: float) -> float:
        """Note that an attempt begins; return its timeout in seconds, at least `min_connect_timeout`."""
        policy = self._policy
        self._pause = min(self._pause * policy.multiplier, policy.maximum) if self._pause else policy.initial
        self.retry_at = now + self._pause * (1.0 + policy.jitter * (2.0 * self._random() - 1.0))
        return max(self.retry_at - now, policy.min_connect_timeout)

    def reset(self) -> None:
        """Note a success: the next attempt may begin at once and its pause is the initial one again."""
        self._pause = 0.0
        self.retry_at = -math.inf
