"""What a limiter says of itself."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LimiterStatistics:
    """What a limiter has counted since it was made.

    Attributes:
      limit: Now.
      in_flight: Admitted, and not ended.
      admitted, refused: By priority, the lowest first.
      probes: How often it has looked anew at what answers take without load.
    """

    limit: float
    in_flight: int
    admitted: tuple[int, ...]
    refused: tuple[int, ...]
    probes: int
