"""The trial of a subject that is a server: drive it, read the CPU it used, ask for the latencies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks._load import Drive, LoadClient
from benchmarks._processes import PinnedProcess

UNITS: Mapping[str, str] = {"cpu": "µs", "p50": "ms", "p99": "ms"}
"""CPU of the server's process per request; latencies from the intended send time."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How a round's requests are spread: `turns` of `seconds` each, after `warm_up` seconds untimed."""

    turns: int
    seconds: float
    warm_up: float


@dataclass(slots=True)
class ServedTrial:
    """One server at one rate; it is stopped except during its turns.

    Attributes:
      plan: As of `Drive`.
      taken: Turns so far.
      late: Those in which the load generator was late.
    """

    subject: str
    case: str
    server: PinnedProcess
    client: LoadClient
    url: str
    rate: float
    shape: Shape
    plan: str = ""
    taken: int = 0
    late: int = 0
    _cpu_seconds: float = 0.0
    _requests: int = 0
    _late: int = 0

    @property
    def turns(self) -> int:
        return self.shape.turns

    @property
    def _name(self) -> str:
        return f"{self.subject}, {self.case}"

    def turn(self, seed: int) -> None:
        """Drive once; CPU counts from the warm-up on, which is cold for every subject alike."""
        order = Drive(self._name, self.url, self.rate, self.shape.seconds, self.shape.warm_up, seed, self.plan)
        with self.server.awake():
            before = self.server.cpu_seconds()
            driven = self.client.drive(order)
            self._cpu_seconds += self.server.cpu_seconds() - before
        self._requests += driven.sent
        self.taken += 1
        self.late += driven.late
        self._late += driven.late

    def figures(self) -> Mapping[str, float]:
        """Return CPU per request in µs and latencies in ms of the turns since the last call.

        Latencies are absent when the load generator was late in more than half of the turns.
        """
        figures = {"cpu": self._cpu_seconds / self._requests * 1e6}
        latency = self.client.take_latency(self._name)
        if 2 * self._late <= self.turns:
            figures |= {"p50": latency.p50 * 1e3, "p99": latency.p99 * 1e3}
        self._cpu_seconds, self._requests, self._late = 0.0, 0, 0
        return figures


def remark_late_turns(trials: Sequence[ServedTrial]) -> Mapping[str, str]:
    """Say in how many turns the generator was late."""
    late = sum(trial.late for trial in trials)
    taken = sum(trial.taken for trial in trials)
    if not late:
        return {}
    return {"load generator": f"late in {late} of {taken} turns (busy core); their latencies do not count"}
