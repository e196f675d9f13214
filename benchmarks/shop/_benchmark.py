"""`shop`: the editions under one plan, at the same rates: CPU of all processes of an edition for a request, and p99.

Each edition has a copy of the data of its own, all its processes on one core, and the third parties on the client's.
The slow one is asked as often as it can answer, eight times a second, and the others beside it; then the fast one and
the peers' at half of what the slower of the two could do.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks._harness import Benchmark, Effort, Prepared, Role, Subject
from benchmarks._load import LoadClient
from benchmarks._processes import Cores, PinnedProcess, Stage
from benchmarks._served import UNITS, ServedTrial, Shape, remark_late_turns
from benchmarks.shop._edition import Edition
from examples.shop.data import database_path, ensure_with_notice

_PLANS = {
    "plan": Path(__file__).parents[2] / "examples" / "shop" / "plan.toml",
    "popular": Path(__file__).with_name("popular.toml"),
}
_SLOW, _HALF = "slow", "half"
_SLOW_RATE = 8.0  # requests/s: examples/shop/plan.toml, what the slow edition can do
_TRIED_RATE = 30.0  # requests/s at which it is found what a request costs
_LOAD = 0.5  # of the core


class ShopBenchmark(Benchmark):
    """CPU and latency of the shop's editions."""

    name = "shop"
    summary = "the shop's editions under the same plan: slow, fast, and the best of the popular libraries"
    subjects = (
        Subject("ready", Role.LIMIT, "a bare ASGI app on uvicorn with the answers ready", "uvicorn"),
        Subject("fast", Role.OURS, "examples/shop/fast", "hasten"),
        Subject("peers", Role.PEER, "examples/shop/peers: FastAPI, grpc.aio, cashews, FastStream", "fastapi"),
        Subject("slow", Role.PEER, "examples/shop/slow: what many teams really write"),
    )
    units: Mapping[str, str] = UNITS
    packages = ("grpcio", "cashews", "faststream", "aiohttp", "uvloop", "httptools")

    @contextmanager
    def prepare(self, effort: Effort) -> Iterator[Prepared]:
        """Start the editions, find what their requests cost; yield the trials."""
        cores = Cores.available()
        with tempfile.TemporaryDirectory(prefix="hasten-shop-") as folder, Stage() as stage:
            client = stage.enter_context(LoadClient(cores.client))
            servers = {
                subject.name: stage.start(_server(subject.name, Path(folder), cores))
                for subject in effort.choose(self.subjects)
            }
            stage.suspend()
            trials: list[ServedTrial] = []
            conditions: dict[str, str] = {}
            for plan in _PLANS:
                for load in (_SLOW, _HALF):
                    case = f"{plan}-{load}"
                    if effort.measures(case):
                        made, conditions[case] = _trials(case, plan, load, servers, client, effort)
                        trials += made
            yield Prepared(tuple(trials), conditions, lambda: remark_late_turns(trials))


def _server(name: str, folder: Path, cores: Cores) -> PinnedProcess:
    if name == "ready":
        return PinnedProcess("ready answers", [sys.executable, "-m", "benchmarks.shop._ready"], cores.server)
    source = database_path(None, {})
    ensure_with_notice(source)
    database = Path(shutil.copy(source, folder / f"{name}.sqlite"))
    return Edition(name, database, cores.server, cores.client)


def _trials(
    case: str, plan: str, load: str, servers: Mapping[str, PinnedProcess], client: LoadClient, effort: Effort
) -> tuple[list[ServedTrial], str]:
    """Return the trials of a case, and its condition."""
    chosen = {name: server for name, server in servers.items() if load == _SLOW or name != "slow"}
    rate = _SLOW_RATE
    if load == _HALF:
        costs = [_cost(plan, name, server, client, effort) for name, server in chosen.items() if name != "ready"]
        rate = float(f"{_LOAD / max(costs, default=_LOAD / _SLOW_RATE):.2g}")
    turns, seconds = (1, 3.0) if effort.quick else (2, 10.0)
    trials = [
        ServedTrial(name, case, server, client, server.address, rate, Shape(turns, seconds, 1.0), str(_PLANS[plan]))
        for name, server in chosen.items()
    ]
    return trials, f"{rate:,.0f} requests/s"


def _cost(plan: str, name: str, server: PinnedProcess, client: LoadClient, effort: Effort) -> float:
    """Return the seconds of CPU that a request costs an edition, its caches filled as far as a while fills them."""
    seconds = 3.0 if effort.quick else 10.0
    trial = ServedTrial(
        name, f"{plan}-cost", server, client, server.address, _TRIED_RATE, Shape(1, seconds, 1.0), str(_PLANS[plan])
    )
    trial.turn(seed=0)
    return trial.figures()["cpu"] / 1e6
