"""What a breaker says of itself."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class BreakerStatistics:
    """What a breaker has counted since it was made.

    Attributes:
      state: "half-open" while a probe is out.
      answers, slow: Calls that succeeded, and how many of them took longer than the bound.
      failures, timeouts: Calls that did not succeed.
      opened: How often it went from closed to open.
      probes, refused: What `allows` let through and held back while it was open.
    """

    state: Literal["closed", "open", "half-open"]
    answers: int
    slow: int
    failures: int
    timeouts: int
    opened: int
    probes: int
    refused: int
