"""The trial of a call: one pair of client and server, one kind of call."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from benchmarks._driven import Driven, figures_of
from benchmarks._processes import PinnedProcess
from benchmarks.rpc._client import IN_FLIGHT, Drive, RpcClient
from benchmarks.rpc._orders import SIZES_BYTES, SMALL_BYTES

UNITS: Mapping[str, str] = {"p50": "µs", "p99": "µs", "rate": "/s", "cpu": "µs", "client": "µs", "server": "µs"}
"""CPU per call, of both processes together and of each; latencies as the client's code sees them."""


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of call."""

    size_bytes: int
    in_time: bool
    in_flight: int

    @property
    def name(self) -> str:
        """Such as `100B-deadline-64`."""
        size = "100B" if self.size_bytes == SMALL_BYTES else "10KB"
        return f"{size}-{'deadline' if self.in_time else 'plain'}-{self.in_flight}"

    @property
    def about(self) -> str:
        """What its name means."""
        extras = "a deadline and a traceparent" if self.in_time else "neither deadline nor metadata"
        return f"{self.size_bytes:,} bytes each way, {extras}, {self.in_flight} in flight"


def all_cases() -> Iterator[Case]:
    """Return each size, with and without deadline and metadata, one in flight and many."""
    return (Case(*values) for values in itertools.product(SIZES_BYTES, (False, True), IN_FLIGHT))


@dataclass(slots=True)
class CallTrial:
    """Both processes are stopped except during its turns."""

    subject: str
    case: str
    server: PinnedProcess
    client: RpcClient
    order: Drive
    turns: int
    _driven: list[Driven] = field(default_factory=list)

    def turn(self, seed: int) -> None:
        """Call for a while; `seed` changes nothing, since there is nothing random in it."""
        with self.server.awake():
            self._driven.append(self.client.measure(self.order, self.order.seconds + self.order.warm_up, Driven))

    def figures(self) -> Mapping[str, float]:
        """Return the figures of the turns since the last call; `cpu` is that of both processes."""
        driven, self._driven = self._driven, []
        figures = figures_of(driven)
        return {**figures, "cpu": figures["client"] + figures["server"]}
