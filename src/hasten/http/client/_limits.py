"""The bounds of a client."""

from dataclasses import dataclass
from math import inf

from hasten._core.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a client takes of itself and of the services it calls. Durations in seconds.

    Attributes:
      connections: To one host at a time; who finds none free waits, first come first served.
      connect_timeout: Of one connection: its name, its addresses, TLS.
      idle: An idle connection is used again for so long, unless the server says another time in a Keep-Alive field.
        Below what servers use: a request that meets a connection's end has to be sent again, or fails (uvicorn closes
        after 5, Node.js too).
      most_bytes: Of an answer's body that is kept whole.
    """

    connections: int = 100
    connect_timeout: float = 1.0
    idle: float = 4.0
    most_bytes: int = 32 * 1024 * 1024

    def __post_init__(self) -> None:
        for name in ("connections", "connect_timeout", "idle", "most_bytes"):
            value = getattr(self, name)
            if not 0 < value < inf:
                raise ConfigurationError(f"Limits({name}={value})", "must be greater than 0, and finite")
