"""A real benchmark of two trivial subjects: processes that spend CPU per line they are sent."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from benchmarks._harness import Benchmark, Effort, Prepared, Role, Subject
from benchmarks._processes import Cores, PinnedProcess

_CHILD = """
import sys
print("ready nowhere", flush=True)
for line in sys.stdin:
    sum(range(int(line)))
    print("done", flush=True)
"""
WORK = {"little": 20_000, "much": 400_000}


@dataclass
class ProcessTrial:
    """Sends one line a turn and reads the CPU that the answer took."""

    subject: str
    process: PinnedProcess
    case: str = "sum"
    turns: int = 2
    seeds: list[int] = field(default_factory=list)
    cpu_seconds: float = 0.0

    def turn(self, seed: int) -> None:
        self.seeds.append(seed)
        with self.process.awake():
            before = self.process.cpu_seconds()
            self.process.write_line(str(WORK[self.subject]).encode())
            assert self.process.read_line(10.0) == "done"
            self.cpu_seconds += self.process.cpu_seconds() - before

    def figures(self) -> Mapping[str, float]:
        figures = {"cpu": self.cpu_seconds * 1e6}
        self.cpu_seconds = 0.0
        return figures


class TrivialBenchmark(Benchmark):
    """Compares a sum with a longer one; remembers the processes and trials it had."""

    name = "trivial"
    summary = "two sums"
    subjects = (
        Subject("little", Role.LIMIT, "a short sum"),
        Subject("much", Role.OURS, "a long sum", "hasten"),
    )
    units: Mapping[str, str] = {"cpu": "µs"}
    packages = ("msgspec",)

    def __init__(self, child: str = _CHILD) -> None:
        self.pids: list[int] = []
        self.trials: list[ProcessTrial] = []
        self._child = child

    @contextmanager
    def prepare(self, effort: Effort) -> Iterator[Prepared]:
        with ExitStack() as stack:
            for subject in effort.choose(self.subjects):
                command = [sys.executable, "-c", self._child]
                process = stack.enter_context(PinnedProcess(subject.name, command, Cores.available().server))
                self.pids.append(process.pid)
                process.suspend()
                self.trials.append(ProcessTrial(subject.name, process))
            yield Prepared(tuple(self.trials), {"sum": "2 lines a round"}, lambda: {"note": "trivial"})
