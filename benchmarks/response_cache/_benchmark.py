"""`response-cache`: an HTTP hit, beside frameworks' and libraries' caches and an app that has every answer ready.

All serve the same documents with uvicorn, uvloop and httptools from one process each, on one core, stopped while
others have their turn; one lean client has the other core and asks over 32 connections as fast as answers come.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from statistics import fmean

from benchmarks._harness import Benchmark, Effort, Prepared, Role, Subject
from benchmarks._processes import Cores, PinnedProcess
from benchmarks.cache._orders import CacheProcess, Driven
from benchmarks.response_cache._client import Ask
from benchmarks.response_cache._work import BODY_BYTES, CONNECTIONS, UNCACHED


class ResponseCacheBenchmark(Benchmark):
    """CPU and latency of a cached response."""

    name = "response-cache"
    summary = "a hit in a cache of HTTP responses, in memory, behind uvicorn"
    subjects = (
        Subject("bare", Role.LIMIT, "an ASGI app that has every answer ready", "uvicorn"),
        Subject("hasten", Role.OURS, "FastAPI, add_middleware(hasten.http.ResponseCache)", "hasten"),
        Subject("hasten-outer", Role.OURS, "ResponseCache(app), before FastAPI's own middleware"),
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
        with ExitStack() as stack:
            command = [sys.executable, "-m", "benchmarks.response_cache._client"]
            client = stack.enter_context(CacheProcess("client of response-cache", command, cores.client))
            client.suspend()
            trials = []
            for subject in effort.choose(self.subjects):
                server = stack.enter_context(_service(subject.name, cores.server))
                server.suspend()
                address = server.address.removeprefix("http://")
                order = Ask(address, server.pid, seconds, warm_up, subject.name not in UNCACHED)
                trials.append(ResponseTrial(subject.name, server, client, order, turns))
            yield Prepared(tuple(trials), {"hit": f"{BODY_BYTES} bytes of JSON, {CONNECTIONS} connections"})


def _service(name: str, core: int) -> PinnedProcess:
    command = [sys.executable, "-m", "benchmarks.response_cache._apps", name]
    return PinnedProcess(f"service of subject {name!r}", command, core)


@dataclass(slots=True)
class ResponseTrial:
    """One service; it is stopped except during its turns."""

    subject: str
    server: PinnedProcess
    client: CacheProcess
    order: Ask
    turns: int
    case: str = "hit"
    _driven: list[Driven] = field(default_factory=list)

    def turn(self, seed: int) -> None:
        """Ask for a while; `seed` changes nothing."""
        with self.server.awake():
            self._driven.append(self.client.measure(self.order, self.order.seconds + self.order.warm_up, Driven))

    def figures(self) -> Mapping[str, float]:
        """Return the figures of the turns since the last call: the server's CPU, means of the turns' quantiles."""
        driven, self._driven = self._driven, []
        calls = sum(each.calls for each in driven)
        return {
            "cpu": sum(each.server_cpu for each in driven) / calls * 1e6,
            "rate": calls / sum(each.seconds for each in driven),
            "p50": fmean(each.p50 for each in driven) * 1e6,
            "p99": fmean(each.p99 for each in driven) * 1e6,
        }
