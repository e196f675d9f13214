"""`rpc`: a call from one service to another, over gRPC and over HTTP, beside the cheapest protocol there is.

Each subject is a client and a server in a process each, on a core each, one connection between them (64 pooled for
HTTP/1.1). The client makes calls as fast as replies come, one at once or 64. All do the same: the client builds and
serialises a message, the server parses it and answers, from an `async def` handler, with a new message made from it,
the client parses and checks that. Both processes are stopped while others have their turn.
"""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks._harness import Benchmark, Effort, Prepared, Role, Subject, Trial
from benchmarks._processes import Cores, Stage
from benchmarks.rpc import _calls, _memory
from benchmarks.rpc._calls import CallTrial, Case, all_cases
from benchmarks.rpc._certificate import make_certificate
from benchmarks.rpc._client import Drive, RpcClient
from benchmarks.rpc._memory import MEMORY_CASE, MemoryTrial
from benchmarks.rpc._server import RpcServer
from benchmarks.rpc._stack import Place, Transport


@dataclass(frozen=True, slots=True)
class Pair:
    """Who calls whom.

    Attributes:
      whole: It takes part in every case, and not only in those with deadline and metadata.
    """

    client: str
    server: str
    transport: Transport = Transport.TCP
    whole: bool = False


PAIRS: Mapping[str, Pair] = {
    "raw": Pair("raw", "raw", whole=True),
    "hasten": Pair("hasten", "hasten", whole=True),
    "grpc.aio": Pair("grpc.aio", "grpc.aio", whole=True),
    "grpclib": Pair("grpclib", "grpclib", whole=True),
    "fastapi-aiohttp": Pair("fastapi-aiohttp", "fastapi-aiohttp", whole=True),
    "fastapi-httpx": Pair("fastapi-httpx", "fastapi-httpx", whole=True),
    "hasten-unix": Pair("hasten", "hasten", Transport.UNIX),
    "hasten-tls": Pair("hasten", "hasten", Transport.TLS),
    "grpc.aio-tls": Pair("grpc.aio", "grpc.aio", Transport.TLS),
    "hasten:grpc.aio": Pair("hasten", "grpc.aio"),
    "grpc.aio:hasten": Pair("grpc.aio", "hasten"),
}
"""By subject."""
_IN_MEMORY = ("hasten", "grpc.aio")


class RpcBenchmark(Benchmark):
    """Latency, rate, CPU and memory of calls."""

    name = "rpc"
    summary = "a call between two services: gRPC by hasten, grpc.aio and grpclib, HTTP by FastAPI, bare messages"
    subjects = (
        Subject("raw", Role.LIMIT, "length-prefixed messages, a task a call", "protobuf"),
        Subject("hasten", Role.OURS, "hasten.rpc, default limits", "hasten"),
        Subject("grpc.aio", Role.PEER, "default options and poller", "grpcio"),
        Subject("grpclib", Role.PEER, "default configuration", "grpclib"),
        Subject("fastapi-aiohttp", Role.PEER, "protobuf body over HTTP/1.1, 64 connections", "aiohttp"),
        Subject("fastapi-httpx", Role.PEER, "protobuf body over HTTP/1.1, 64 connections", "httpx"),
        Subject("hasten-unix", Role.OURS, "over a unix socket"),
        Subject("hasten-tls", Role.OURS, "TLS, EC P-256"),
        Subject("grpc.aio-tls", Role.PEER, "TLS, EC P-256"),
        Subject("hasten:grpc.aio", Role.OURS, "client of hasten, server of grpc.aio"),
        Subject("grpc.aio:hasten", Role.OURS, "client of grpc.aio, server of hasten"),
    )
    units: Mapping[str, str] = {**_calls.UNITS, **_memory.UNITS}
    packages = ("uvloop", "fastapi", "uvicorn", "httptools")

    @contextmanager
    def prepare(self, effort: Effort) -> Iterator[Prepared]:
        """Start every subject's client and server, warm; yield a trial for each kind of call, and those of memory."""
        subjects = [subject.name for subject in effort.choose(self.subjects)]
        cores = Cores.available()
        with Stage() as stage:
            folder = Path(stage.enter_context(tempfile.TemporaryDirectory(prefix="hasten-benchmark-")))
            if any(PAIRS[subject].transport is Transport.TLS for subject in subjects):
                make_certificate(folder)
            pairs = _Pairs(stage, folder, cores)
            trials = [trial for subject in subjects for trial in _trials(subject, pairs, quick=effort.quick)]
            stage.suspend()
            place = Place(Transport.TCP, folder)
            in_memory = [MemoryTrial(name, place, cores.server) for name in subjects if name in _IN_MEMORY]
            conditions = {case.name: case.about for case in all_cases()} | {MEMORY_CASE: _memory.ABOUT}
            yield Prepared((*trials, *in_memory), conditions)


class _Pairs:
    """Starts clients and servers; a server is shared by the pairs that call it."""

    def __init__(self, stage: Stage, folder: Path, cores: Cores) -> None:
        self._stage = stage
        self._folder = folder
        self._cores = cores
        self._servers: dict[tuple[str, Transport], RpcServer] = {}

    def server(self, pair: Pair) -> RpcServer:
        """Return the server of a pair, started."""
        key = pair.server, pair.transport
        if key not in self._servers:
            process = RpcServer(pair.server, Place(pair.transport, self._folder), self._cores.server)
            self._servers[key] = self._stage.start(process)
        return self._servers[key]

    def client(self, pair: Pair) -> RpcClient:
        """Return a new client of a pair, connected and warm."""
        place = Place(pair.transport, self._folder)
        return self._stage.start(RpcClient(pair.client, place, self.server(pair), self._cores.client))


def _trials(subject: str, pairs: _Pairs, *, quick: bool) -> Iterator[Trial]:
    pair = PAIRS[subject]
    client, server = pairs.client(pair), pairs.server(pair)
    turns, seconds, warm_up = (1, 0.12, 0.03) if quick else (2, 0.25, 0.05)
    for case in all_cases():
        if case.in_time or pair.whole:
            order = _order(case, seconds, warm_up)
            yield CallTrial(subject, case.name, server, client, order, turns)


def _order(case: Case, seconds: float, warm_up: float) -> Drive:
    return Drive(case.size_bytes, case.in_time, case.in_flight, seconds, warm_up)
