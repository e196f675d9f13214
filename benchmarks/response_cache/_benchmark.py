"""`response-cache`: an HTTP hit, beside frameworks' and libraries' caches and an app that has every answer ready.

All serve the same documents with uvicorn, uvloop and httptools from one process each, on one core, stopped while
others have their turn; one lean client has the other core and asks over 32 connections as fast as answers come. Ours
are measured by uvicorn's own protocol, and by hasten's.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from benchmarks._driven import Driven, OrderedProcess, figures_of
from benchmarks._harness import Benchmark, Effort, Prepared, Role, Subject
from benchmarks._processes import Cores, PinnedProcess, Stage
from benchmarks.response_cache._client import Ask
from benchmarks.response_cache._work import BODY_BYTES, CONNECTIONS, UNCACHED

_CONDITIONS: Mapping[str, str] = {
    "hit": f"{BODY_BYTES} bytes of JSON, {CONNECTIONS} connections",
    "forms": (
        "hasten answers behind FastAPI's look for OpenTelemetry and its three layers, as fastapi, cashews and"
        " fastapi-cache2 do; hasten-outer before them; bare and litestar have none of these; hasten-protocol and"
        " hasten-run are served by our protocol, which writes a hit at once, all others by uvicorn's over httptools"
    ),
}


class ResponseCacheBenchmark(Benchmark):
    """CPU and latency of a cached response."""

    name = "response-cache"
    summary = "a hit in a cache of HTTP responses, in memory, behind uvicorn"
    subjects = (
        Subject("bare", Role.LIMIT, "an ASGI app that has every answer ready", "uvicorn"),
        Subject("hasten", Role.OURS, "app.add_middleware(ResponseCache): behind FastAPI's own", "hasten"),
        Subject("hasten-outer", Role.OURS, "ResponseCache(app): around the app"),
        Subject("hasten-protocol", Role.OURS, "and served by HttpProtocol"),
        Subject("hasten-run", Role.OURS, "and with ledger and monitor: as hasten run serves it"),
        Subject("bare-protocol", Role.PEER, "bare, served by HttpProtocol: it sends messages, and gains nothing"),
        Subject("fastapi", Role.PEER, "FastAPI without a cache", "fastapi"),
        Subject("litestar", Role.PEER, "Litestar with cache=", "litestar"),
        Subject("fastapi-cache2", Role.PEER, "FastAPI with its decorator", "fastapi-cache2"),
        Subject("cashews", Role.PEER, "FastAPI with its decorator: no HTTP caching", "cashews"),
        Subject("cashews-http", Role.PEER, "and with its middlewares for Cache-Control and ETag"),
    )
    units: Mapping[str, str] = {"cpu": "µs", "rate": "/s", "p50": "µs", "p99": "µs"}
    packages = ("uvloop", "httptools", "starlette", "pydantic")

    @contextmanager
    def prepare(self, effort: Effort) -> Iterator[Prepared]:
        """Start the services and the client; yield a trial for each subject."""
        cores = Cores.available()
        turns, seconds, warm_up = (1, 0.3, 0.05) if effort.quick else (3, 0.5, 0.1)
        with Stage() as stage:
            command = [sys.executable, "-m", "benchmarks.response_cache._client"]
            client = stage.start(OrderedProcess("client of response-cache", command, cores.client))
            trials = []
            for subject in effort.choose(self.subjects):
                server = stage.start(_service(subject.name, cores.server))
                address = server.address.removeprefix("http://")
                order = Ask(address, server.pid, seconds, warm_up, subject.name not in UNCACHED)
                trials.append(ResponseTrial(subject.name, server, client, order, turns))
            stage.suspend()
            yield Prepared(tuple(trials), _CONDITIONS)


def _service(name: str, core: int) -> PinnedProcess:
    command = [sys.executable, "-m", "benchmarks.response_cache._apps", name]
    return PinnedProcess(f"service of subject {name!r}", command, core)


@dataclass(slots=True)
class ResponseTrial:
    """One service; it is stopped except during its turns."""

    subject: str
    server: PinnedProcess
    client: OrderedProcess
    order: Ask
    turns: int
    case: str = "hit"
    _driven: list[Driven] = field(default_factory=list)

    def turn(self, seed: int) -> None:
        """Ask for a while; `seed` changes nothing."""
        with self.server.awake():
            self._driven.append(self.client.measure(self.order, self.order.seconds + self.order.warm_up, Driven))

    def figures(self) -> Mapping[str, float]:
        """Return the figures of the turns since the last call; `cpu` is the server's."""
        driven, self._driven = self._driven, []
        figures = figures_of(driven)
        del figures["client"]  # of no subject
        return {"cpu": figures.pop("server"), **figures}
