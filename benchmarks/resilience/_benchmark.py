"""`resilience`: what guards of calls cost beside the libraries for them, and `hasten run` beside other servers.

A guarded function awaits nothing, so that all of the figure is the guard's; each library has a process of its own, on
one core, which calls the function without a guard in turn. The servers serve one FastAPI app from one process each, on
one core, stopped while others have their turn. Once they are asked over 32 connections as fast as they answer, then by
an open model (Poisson) at half of what each of them could, then all at half of what the slowest could. Servers that
have no room refuse every request, in the closed model.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from benchmarks._driven import OrderedProcess
from benchmarks._harness import Benchmark, Effort, Prepared, Role, Subject, Trial
from benchmarks._load import LoadClient
from benchmarks._processes import Cores, Stage
from benchmarks._served import ServedTrial, Shape, remark_late_turns
from benchmarks.resilience._app import PATH
from benchmarks.resilience._client import CONNECTIONS
from benchmarks.resilience._refusing import REFUSING
from benchmarks.resilience._server import SERVERS, Service
from benchmarks.resilience._stack import SETUPS
from benchmarks.resilience._trials import UNITS, CallTrial, SaturationTrial
from benchmarks.resilience._work import AT_ONCE

_MOST, _HALF, _SAME = "hello-most", "hello-half", "hello-same"
_REFUSALS = "refusals"
_HIGHEST_RATE = 8_000.0  # requests/s: the generator is honest up to about 15,000 where nobody else is on its core
_P99_REQUESTS = 2_000  # fewer leave a round's p99 to less than 20 requests
_CONDITIONS: Mapping[str, str] = {
    "retry": "three attempts, no pauses; the first one succeeds",
    "retry-again": "three attempts, no pauses; the first one fails, the second succeeds",
    "breaker": "closed",
    "deadline": "one second; asyncio is asyncio.timeout",
    "at-once": f"{AT_ONCE}, one is under way; asyncio is asyncio.Semaphore",
    "rate": "a thousand million a second: nothing is refused, and nothing waits",
    "hedge": "answered before the hedge is sent",
    _REFUSALS: f"{CONNECTIONS} connections ask a server that has no room; the limit answers without a look",
    _MOST: f"{CONNECTIONS} connections, each asks again when its answer is there",
}


class ResilienceBenchmark(Benchmark):
    """CPU of guards, and CPU, rates and latency of servers."""

    name = "resilience"
    summary = "guards of calls (retry, breaker, deadline, limits, hedge), servers with FastAPI's hello, refusals"
    subjects = (
        Subject("limit", Role.LIMIT, "the call itself; a bare ASGI app on uvicorn; a refusal unread", "uvicorn"),
        Subject("hasten", Role.OURS, "hasten.resilience, as a decorator", "hasten"),
        Subject("hasten-block", Role.OURS, "as a block"),
        Subject("hasten-adaptive", Role.OURS, "AdaptiveBreaker, as a decorator"),
        Subject("hasten-adaptive-block", Role.OURS, "as a block"),
        Subject("hasten-limiter", Role.OURS, "Limiter, whose limit is found, as a decorator"),
        Subject("hasten-limiter-block", Role.OURS, "as a block"),
        Subject("stamina", Role.PEER, "its decorator, without hooks", "stamina"),
        Subject("tenacity", Role.PEER, "one AsyncRetrying for all calls", "tenacity"),
        Subject("aiobreaker", Role.PEER, "call_async, in memory", "aiobreaker"),
        Subject("purgatory", Role.PEER, "a block, in memory", "purgatory"),
        Subject("asyncio", Role.PEER, "asyncio.timeout; asyncio.Semaphore"),
        Subject("aiolimiter", Role.PEER, "a block", "aiolimiter"),
        Subject("hasten-run", Role.OURS, "hasten run as it is: ledger, monitor, admin port"),
        Subject("hasten-run-least", Role.OURS, "--admin off --sample-every 1000000"),
        Subject("uvicorn", Role.PEER, "uvloop, httptools, no access log"),
        Subject("granian", Role.PEER, "--interface asgi --loop uvloop --http 1 --no-ws", "granian"),
        Subject("granian-st", Role.PEER, "and --runtime-mode st"),
        Subject("hypercorn", Role.PEER, "on uvloop, no access log", "hypercorn"),
        Subject("hasten-edge", Role.OURS, "Edge with a limiter, served by HttpProtocol, as by hasten run"),
        Subject("hasten-edge-layer", Role.OURS, "served by uvicorn's own protocol"),
        Subject("uvicorn-limit", Role.PEER, "limit_concurrency=1, which closes the connection, too"),
        Subject("asgi-counter", Role.PEER, "ten lines of ASGI middleware"),
        Subject("fastapi-dependency", Role.PEER, "HTTPException(503) from a dependency"),
    )
    units: Mapping[str, str] = UNITS
    packages = ("fastapi", "starlette", "uvloop", "httptools")

    @contextmanager
    def prepare(self, effort: Effort) -> Iterator[Prepared]:
        """Start what the chosen cases need, find the rates; yield the trials."""
        with Stage() as stage:
            trials: list[Trial] = [*_guard_trials(stage, effort)]
            conditions = dict(_CONDITIONS)
            served: list[ServedTrial] = []
            if effort.measures(_REFUSALS):
                trials += _refusal_trials(stage, effort)
            if any(map(effort.measures, (_MOST, _HALF, _SAME))):
                servers = _Servers(stage, effort)
                trials += servers.at_most()
                served = servers.at_rates()
                conditions |= servers.conditions
            stage.suspend()
            cases = {trial.case for trial in (*trials, *served)}
            yield Prepared(
                (*trials, *served),
                {case: text for case, text in conditions.items() if case in cases},
                lambda: remark_late_turns(served),
            )


def _guard_trials(stage: Stage, effort: Effort) -> Iterator[CallTrial]:
    turns, stretches = (1, 25) if effort.quick else (3, 50)
    core = Cores.available().server
    for subject in effort.choose(ResilienceBenchmark.subjects):
        cases = [case for case in SETUPS if subject.name in SETUPS[case] and effort.measures(case)]
        if cases:
            command = [sys.executable, "-m", "benchmarks.resilience._guards_child", subject.name]
            process = stage.start(OrderedProcess(f"guards of subject {subject.name!r}", command, core))
            yield from (CallTrial(subject.name, case, process, stretches, turns) for case in cases)


def _refusal_trials(stage: Stage, effort: Effort) -> list[SaturationTrial]:
    cores = Cores.available()
    turns, seconds, warm_up = (1, 0.2, 0.05) if effort.quick else (3, 0.3, 0.1)
    names = [subject.name for subject in effort.choose(ResilienceBenchmark.subjects) if subject.name in REFUSING]
    if not names:
        return []
    client = stage.start(_client(cores.client))
    servers = {name: stage.start(Service(name, cores.server, "_refusing")) for name in names}
    return [
        SaturationTrial(name, _REFUSALS, server, client, seconds, warm_up, turns, refused=True)
        for name, server in servers.items()
    ]


def _client(core: int) -> OrderedProcess:
    return OrderedProcess("client of servers", [sys.executable, "-m", "benchmarks.resilience._client"], core)


class _Servers:
    """The servers and their clients.

    Attributes:
      conditions: The rates, by case.
    """

    def __init__(self, stage: Stage, effort: Effort) -> None:
        cores = Cores.available()
        self._effort = effort
        self._asker = stage.start(_client(cores.client))
        self._generator = stage.enter_context(LoadClient(cores.client))
        self._servers = {
            subject.name: stage.start(Service(subject.name, cores.server))
            for subject in effort.choose(ResilienceBenchmark.subjects)
            if subject.name in SERVERS
        }
        stage.suspend()
        self.conditions: dict[str, str] = {}

    def at_most(self) -> list[SaturationTrial]:
        """Return the trials of servers that are asked as fast as they answer."""
        turns, seconds, warm_up = (1, 0.3, 0.1) if self._effort.quick else (3, 0.5, 0.1)
        return [
            SaturationTrial(name, _MOST, server, self._asker, seconds, warm_up, turns)
            for name, server in self._servers.items()
        ]

    def at_rates(self) -> list[ServedTrial]:
        """Find what each server can; return the trials at half of its own, and at half of the slowest one's."""
        if not any(map(self._effort.measures, (_HALF, _SAME))):
            return []
        halves = {name: self._half(name, server) for name, server in self._servers.items()}
        same = min(halves.values(), default=0.0)
        self.conditions[_HALF] = "requests/s: " + ", ".join(f"{name} {rate:,.0f}" for name, rate in halves.items())
        self.conditions[_SAME] = f"{same:,.0f} requests/s"
        return [
            *(self._served(name, _HALF, rate, same) for name, rate in halves.items()),
            *(self._served(name, _SAME, same, same) for name in halves),
        ]

    def _half(self, name: str, server: Service) -> float:
        """Return half of the requests/s that a server answers, to two figures, and not more than can be sent."""
        trial = SaturationTrial(name, "calibration", server, self._asker, 0.4, 0.4, 1)
        trial.turn(seed=0)
        return min(_HIGHEST_RATE, float(f"{trial.figures()['rate'] / 2:.2g}"))

    def _served(self, name: str, case: str, rate: float, lowest: float) -> ServedTrial:
        turns, seconds = (1, 0.3) if self._effort.quick else (3, max(0.5, _P99_REQUESTS / 3 / lowest))
        server = self._servers[name]
        shape = Shape(turns, seconds, warm_up=0.1)
        return ServedTrial(name, case, server, self._generator, server.address + PATH, rate, shape)
