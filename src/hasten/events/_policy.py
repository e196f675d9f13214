"""How a group handles what fails, and what comes together."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from hasten._core.errors import ConfigurationError
from hasten.resilience import RetryPolicy as Backoff


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a message whose handler raised is handled again, and when. Durations in seconds.

    Attributes:
      retries: So often after the first time; then it is a dead letter. 0 buries at the first failure.
      first, longest: The pause before the first retry; each one after that is twice as long, `longest` at most.
      jitter: Each pause is spread evenly by this part up and down, so that what failed together does not come back
        together.
    Raises:
      ConfigurationError: a value is negative or not finite.
    """

    retries: int = 5
    first: float = 0.2
    longest: float = 30.0
    jitter: float = 0.2

    def __post_init__(self) -> None:
        if self.retries < 0:
            raise ConfigurationError(f"RetryPolicy(retries={self.retries})", "must be 0 or greater")
        for name in ("first", "longest", "jitter"):
            value = getattr(self, name)
            if not 0.0 <= value < math.inf:
                raise ConfigurationError(f"RetryPolicy({name}={value})", "must be 0 or greater, and finite")
        if self.jitter > 1.0:
            raise ConfigurationError(f"RetryPolicy(jitter={self.jitter})", "must be at most 1: pauses are not negative")

    def delay(self, attempt: int, random: Callable[[], float]) -> float:
        """Return the seconds from a failed attempt, 1 for the first, to the next."""
        backoff = Backoff(first_backoff=self.first, longest_backoff=self.longest, jitter=self.jitter)
        return backoff.delay(attempt, random)


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages that are handled together: the handler takes a list of payloads.

    Attributes:
      most: So many at most.
      wait: Seconds that the first one waits for others at most.
    Raises:
      ConfigurationError: a value is out of bounds.
    """

    most: int = 100
    wait: float = 0.05

    def __post_init__(self) -> None:
        if self.most < 1:
            raise ConfigurationError(f"Batch(most={self.most})", "must be at least 1")
        if not 0.0 <= self.wait < math.inf:
            raise ConfigurationError(f"Batch(wait={self.wait})", "must be 0 or greater, and finite")
