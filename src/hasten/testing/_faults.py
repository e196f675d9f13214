"""What a proxy does to what passes through it."""

import math
from dataclasses import dataclass
from typing import Literal

from hasten._core.errors import ConfigurationError

Direction = Literal["both", "up", "down"]
"""Up is from the client to the server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What happens to the bytes of each connection, and to new ones.

    Attributes:
      latency, jitter: Seconds that each piece is late, and up to how many more; pieces keep their order.
      rate: Bytes a second that pass, in each direction of each connection.
      slice_bytes: Pieces are written so many bytes at a time; 0 leaves them as they come.
      stopped: Nothing passes, and it is kept until this ends, up to 4 MiB: a server that is frozen.
      swallowed: Nothing passes, and it is lost: a network that has gone, after the connection was made.
      refused: New connections are refused: a server that is down.
      direction: That all but `refused` is for.
    Raises:
      ConfigurationError: a value is negative, or `rate` not positive.
    """

    latency: float = 0.0
    jitter: float = 0.0
    rate: float = math.inf
    slice_bytes: int = 0
    stopped: bool = False
    swallowed: bool = False
    refused: bool = False
    direction: Direction = "both"

    def __post_init__(self) -> None:
        for name in ("latency", "jitter", "slice_bytes"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ConfigurationError(f"Faults({name}={value})", "must be 0 or greater, and finite")
        if not self.rate > 0:
            raise ConfigurationError(f"Faults(rate={self.rate})", "must be greater than 0")

    def hit(self, direction: Direction) -> bool:
        """Tell whether they are for a direction."""
        return self.direction in ("both", direction)


NO_FAULTS = Faults()
