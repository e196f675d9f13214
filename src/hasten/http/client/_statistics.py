"""What a client has counted of its hosts."""

from dataclasses import dataclass

from hasten.resilience import BreakerStatistics


@dataclass(frozen=True, slots=True, kw_only=True)
class HostStatistics:
    """One host of a client: its connections now, its attempts since the client began.

    Attributes:
      name: `pricing:8000`; without the port where it is the scheme's.
      address, port: To connect to.
      used, idle: Connections that carry a request or are made for one, and those that wait for one.
      limit: Of both together.
      waiting: Requests that wait for a connection.
      first, retries, hedges: Attempts, by why they were made: for the call itself, after a failure, beside a slow one.
      transparent: Requests that were written a second time, because a connection that was kept had been closed.
      failures: Attempts without an answer that the host is to blame for, and those answered by 502, 503 or 504.
      breaker: None without one, and for an `AdaptiveBreaker`, which has no states.
    """

    name: str
    address: str
    port: int
    used: int = 0
    idle: int = 0
    limit: int
    waiting: int = 0
    first: int = 0
    retries: int = 0
    hedges: int = 0
    transparent: int = 0
    failures: int = 0
    breaker: BreakerStatistics | None = None


@dataclass(frozen=True, slots=True)
class ClientStatistics:
    """What a client has counted.

    Attributes:
      hosts: In the order in which they were given.
    """

    hosts: tuple[HostStatistics, ...]
