"""What is measured: messages of one kind of work, by one subject, over one broker."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks._driven import OrderedProcess, figures_of
from benchmarks.events._orders import Drive, Moved

UNITS: Mapping[str, str] = {"cpu": "µs", "both": "µs", "rate": "/s", "p50": "µs", "p99": "µs", "server": "µs"}
"""`cpu` is that of the subject's process for a message in what is measured, `both` for all that it does with it, from
publishing to acknowledging; `server` is the broker's."""
_SECONDS = 20.0  # that a drive may take without being late


@dataclass(slots=True)
class EventTrial:
    """One kind of work."""

    subject: str
    case: str
    process: OrderedProcess
    order: Drive
    turns: int
    _moved: list[Moved] = field(default_factory=list)

    def turn(self, seed: int) -> None:
        """Do it once; `seed` changes nothing."""
        self._moved.append(self.process.measure(self.order, _SECONDS, Moved))

    def figures(self) -> Mapping[str, float]:
        """Return the figures of the turns since the last call; latencies where messages have one."""
        moved, self._moved = self._moved, []
        figures = figures_of([each.driven for each in moved])
        figures["cpu"] = figures.pop("client")
        if self.order.work == "consume":
            del figures["p50"], figures["p99"]
            figures["both"] = sum(each.whole_cpu for each in moved) / (len(moved) * self.order.messages) * 1e6
        return figures
