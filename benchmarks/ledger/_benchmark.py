"""`ledger`: what the ledger costs a service, beside two profilers, on the cheapest and on a chatty route.

All subjects serve the same app (`_app.py`) from one process each, on one core; the load generator and the
echo process have the other. A subject that has no turn is stopped. Arrivals are open-model (Poisson) at one
rate for all subjects of a case. The bare app and the ledger are measured at the rate that keeps the bare
app's core 30 % busy (`hello`, `ten`). A profiled service would drown in that, so the peers have a case of
their own at the rate that keeps the slowest 30 % busy, with the bare app and the ledger beside them again
(`hello-low`, `ten-low`).
"""

import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks._harness import Benchmark, Effort, Prepared, Role, Subject
from benchmarks._load import LoadClient
from benchmarks._processes import Cores, PinnedProcess
from benchmarks._served import UNITS, ServedTrial, Shape, remark_late_turns
from benchmarks.ledger._echo import ROUND_TRIPS

_BUSY = 0.3
_HIGHEST_RATE = 8_000.0  # requests/s: the generator is honest up to about 15,000
_ROUTES = ("hello", "ten")
# First rate and steps; the cost of a request falls as the rate rises, so one step would end too low.
_CALIBRATION = (200.0, 3)
_P99_REQUESTS = 2_000  # fewer leave a round's p99 to less than 20 requests


class LedgerBenchmark(Benchmark):
    """CPU and latency per request, with and without the ledger."""

    name = "ledger"
    summary = f"the ledger on a hello route and on one with {ROUND_TRIPS} awaits, beside pyinstrument and yappi"
    subjects = (
        Subject("bare", Role.LIMIT, "FastAPI on uvicorn, nothing installed", "fastapi"),
        Subject("default", Role.OURS, "hasten.ledger.install(app): 1 request in 20 in the ledger", "hasten"),
        Subject("every", Role.OURS, "every request in the ledger"),
        Subject("doctor", Role.OURS, "every request in detail, written to a file"),
        Subject("pyinstrument", Role.PEER, "a profiler for each request, 1 ms", "pyinstrument"),
        Subject("yappi", Role.PEER, "CPU clock, no built-ins, one thread", "yappi"),
    )
    units: Mapping[str, str] = UNITS
    packages = ("uvicorn", "uvloop", "httptools", "starlette")

    @contextmanager
    def prepare(self, effort: Effort) -> Iterator[Prepared]:
        """Start the services, the client and the echo process; find the rates; yield the trials."""
        subjects = effort.choose(self.subjects)
        cores = Cores.available()
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hasten-benchmark-")))
            echo = stack.enter_context(
                PinnedProcess("echo process", [sys.executable, "-m", "benchmarks.ledger._echo"], cores.client)
            )
            client = stack.enter_context(LoadClient(cores.client))
            servers = {
                subject: stack.enter_context(_service(subject.name, echo.address, folder, cores.server))
                for subject in subjects
            }
            yield _Bench(client, servers, effort).prepared()


def _service(name: str, echo_address: str, folder: Path, core: int) -> PinnedProcess:
    command = [sys.executable, "-m", "benchmarks.ledger._app", name, echo_address, str(folder)]
    return PinnedProcess(f"service of subject {name!r}", command, core)


class _Bench:
    """The started processes, and what is done with them."""

    def __init__(self, client: LoadClient, servers: Mapping[Subject, PinnedProcess], effort: Effort) -> None:
        self._client = client
        self._servers = servers
        self._effort = effort
        for server in servers.values():
            server.suspend()

    def prepared(self) -> Prepared:
        """Find the rates, then return a trial for each subject and case it takes part in."""
        trials: list[ServedTrial] = []
        conditions: dict[str, str] = {}
        for route in _ROUTES:
            for case, subjects, rate in self._cases(route):
                shape = self._shape(case, rate)
                conditions[case] = f"{rate:,.0f} requests/s, {shape.turns} x {shape.seconds:.2g} s a round"
                trials.extend(self._trial(subject, route, case, rate, shape) for subject in subjects)
        return Prepared(tuple(trials), conditions, lambda: remark_late_turns(trials))

    def _cases(self, route: str) -> Iterator[tuple[str, tuple[Subject, ...], float]]:
        """Yield the cases of a route: name, subjects, requests/s."""
        rates = {subject: self._calibrate(subject, route) for subject in self._servers}
        fast = tuple(subject for subject in rates if subject.role is not Role.PEER)
        if fast:
            yield route, fast, next((rates[s] for s in fast if s.role is Role.LIMIT), min(rates.values()))
        peers = [rates[subject] for subject in rates if subject.role is Role.PEER]
        if peers:
            yield f"{route}-low", tuple(s for s in rates if s.name != "every"), min(peers)

    def _shape(self, case: str, rate: float) -> Shape:
        if self._effort.quick:
            return Shape(turns=1, seconds=0.2, warm_up=0.05)
        turns = 2 if case.endswith("-low") else 6
        return Shape(turns, max(0.5, _P99_REQUESTS / turns / rate) if turns == 6 else 0.5, warm_up=0.1)

    def _calibrate(self, subject: Subject, route: str) -> float:
        """Return the requests/s that keep the server's core 30 % busy; it warms code and connections, too."""
        rate, steps = _CALIBRATION
        for _ in range(steps if subject.role is not Role.OURS else 1):
            trial = self._trial(subject, route, "calibration", rate, Shape(1, 0.3, warm_up=0.05))
            trial.turn(seed=1)
            rate = _rate(trial.figures()["cpu"] * 1e-6)
        return rate

    def _trial(self, subject: Subject, route: str, case: str, rate: float, shape: Shape) -> ServedTrial:
        server = self._servers[subject]
        return ServedTrial(subject.name, case, server, self._client, f"{server.address}/{route}", rate, shape)


def _rate(cpu_seconds: float) -> float:
    """Return the requests/s that use 30 % of a core at this cost each, to two figures."""
    return min(_HIGHEST_RATE, float(f"{_BUSY / cpu_seconds:.2g}"))
