"""What is measured beside requests at a rate (`ServedTrial`): calls of what is guarded, and servers at their limit."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean

from benchmarks._driven import Driven, OrderedProcess, figures_of
from benchmarks.resilience._orders import Ask, Called, Calls
from benchmarks.resilience._server import Service

UNITS: Mapping[str, str] = {"added": "µs", "call": "µs", "cpu": "µs", "rate": "/s", "p50": "ms", "p99": "ms"}
"""`call` is CPU of a guarded call, `added` what of it is the guard's; `cpu` is the server's for a request."""
_CALL_SECONDS = 0.5  # a turn, at most


@dataclass(slots=True)
class CallTrial:
    """Calls of a function under one guard."""

    subject: str
    case: str
    process: OrderedProcess
    stretches: int
    turns: int
    _called: list[Called] = field(default_factory=list)

    def turn(self, seed: int) -> None:
        """Call for a while; `seed` changes nothing."""
        self._called.append(self.process.measure(Calls(self.case, self.stretches), _CALL_SECONDS, Called))

    def figures(self) -> Mapping[str, float]:
        """Return the means of the turns since the last call."""
        called, self._called = self._called, []
        figures = {"call": fmean(each.cpu for each in called) * 1e6}
        if self.subject != "limit":
            figures["added"] = fmean(each.cpu - each.bare for each in called) * 1e6
        return figures


@dataclass(slots=True)
class SaturationTrial:
    """Requests to one server as fast as it answers; it is stopped except during its turns."""

    subject: str
    case: str
    server: Service
    client: OrderedProcess
    seconds: float
    warm_up: float
    turns: int
    refused: bool = False
    _driven: list[Driven] = field(default_factory=list)

    def turn(self, seed: int) -> None:
        """Ask for a while; `seed` changes nothing."""
        address = self.server.address.removeprefix("http://")
        order = Ask(address, self.server.server_pid, self.seconds, self.warm_up, self.refused)
        with self.server.awake():
            self._driven.append(self.client.measure(order, self.seconds + self.warm_up, Driven))

    def figures(self) -> Mapping[str, float]:
        """Return the figures of the turns since the last call."""
        driven, self._driven = self._driven, []
        figures = figures_of(driven)
        return {"cpu": figures["server"], "rate": figures["rate"]}
