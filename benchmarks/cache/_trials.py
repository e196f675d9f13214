"""What is measured: operations in the process, hit ratios, reads over a server, and redis-benchmark."""

import csv
import resource
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean

from benchmarks._driven import Driven, OrderedProcess, figures_of
from benchmarks._processes import process_cpu_seconds
from benchmarks.cache._backend import Backend, require_program
from benchmarks.cache._orders import Calls, Drive, Figure, Follow
from benchmarks.cache._work import KEYS
from hasten._core.errors import InvalidMeasurement

UNITS: Mapping[str, str] = {
    "call": "ns",
    "hits": "%",
    "cpu": "µs",
    "rate": "/s",
    "p50": "µs",
    "p99": "µs",
    "server": "µs",
}
"""`call` is CPU of an operation in the process; `cpu` that of the client for a read over a server, `server` of that."""
_TRACE_SECONDS = 10.0


@dataclass(slots=True)
class CallTrial:
    """One kind of operation in the process; its case is its name."""

    subject: str
    case: str
    process: OrderedProcess
    order: Calls
    turns: int
    _values: list[float] = field(default_factory=list)

    def turn(self, seed: int) -> None:
        """Do it for a while; `seed` changes nothing."""
        self._values.append(self.process.measure(self.order, self.order.seconds, Figure).value)

    def figures(self) -> Mapping[str, float]:
        """Return the mean of the turns since the last call."""
        values, self._values = self._values, []
        return {"call": fmean(values) * 1e9}


@dataclass(slots=True)
class RatioTrial:
    """How many accesses of a trace are hits; its case is the trace's name."""

    subject: str
    process: OrderedProcess
    case: str
    turns: int = 1
    _value: float = 0.0

    def turn(self, seed: int) -> None:
        """Follow the trace of this seed."""
        self._value = self.process.measure(Follow(self.case, seed), _TRACE_SECONDS, Figure).value

    def figures(self) -> Mapping[str, float]:
        """Return what the last turn gave."""
        return {"hits": self._value * 100}


@dataclass(slots=True)
class RemoteTrial:
    """Reads over a server."""

    subject: str
    case: str
    process: OrderedProcess
    order: Drive
    turns: int
    _driven: list[Driven] = field(default_factory=list)

    def turn(self, seed: int) -> None:
        """Read for a while; `seed` changes nothing."""
        self._driven.append(self.process.measure(self.order, self.order.seconds + self.order.warm_up, Driven))

    def figures(self) -> Mapping[str, float]:
        """Return the figures of the turns since the last call."""
        driven, self._driven = self._driven, []
        return _figures(driven)


def _figures(driven: list[Driven]) -> dict[str, float]:
    """Return what is measured of reads: `cpu` is the client's, where the cache is."""
    figures = figures_of(driven)
    return {"cpu": figures.pop("client"), **figures}


@dataclass(slots=True)
class RedisBenchmarkTrial:
    """redis-benchmark's own GETs: one connection, `in_flight` commands in its pipeline. It verifies nothing."""

    subject: str
    case: str
    backend: Backend
    in_flight: int
    requests: int
    size_bytes: int
    turns: int
    _driven: list[Driven] = field(default_factory=list)

    def turn(self, seed: int) -> None:
        """Run it once; the values are set first, which is not measured."""
        self._run("set", KEYS * 8)
        before, server = _children_cpu(), process_cpu_seconds(self.backend.server_pid)
        row = self._run("get", self.requests)
        server = process_cpu_seconds(self.backend.server_pid) - server
        self._driven.append(
            Driven(
                calls=self.requests,
                seconds=self.requests / float(row["rps"]),
                client_cpu=_children_cpu() - before,
                server_cpu=server,
                p50=float(row["p50_latency_ms"]) / 1e3,
                p99=float(row["p99_latency_ms"]) / 1e3,
            )
        )

    def figures(self) -> Mapping[str, float]:
        """Return the figures of the turns since the last call."""
        driven, self._driven = self._driven, []
        return _figures(driven)

    def _run(self, test: str, requests: int) -> dict[str, str]:
        host, port = self.backend.place.split(":")
        sizes = ["-c", "1", "-P", str(self.in_flight), "-n", str(requests), "-r", str(KEYS), "-d", str(self.size_bytes)]
        command = [require_program("redis-benchmark"), "-h", host, "-p", port, "-t", test, "--csv", *sizes]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        rows = list(csv.DictReader(done.stdout.splitlines()))
        if done.returncode or len(rows) != 1:
            raise InvalidMeasurement("redis-benchmark", done.stderr.strip() or done.stdout.strip())
        return rows[0]


def _children_cpu() -> float:
    """Return the CPU seconds of the ended processes that this one started."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
