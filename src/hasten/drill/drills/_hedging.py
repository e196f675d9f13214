"""One call of a hundred stalls: what its p99 is where slow calls are sent a second time, and what that costs."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from math import inf

from hasten.drill._calling import (
    Call,
    asked,
    backend_options,
    by_grpc_aio,
    by_http,
    by_rpc,
    drive,
    method_config,
    quantile,
)
from hasten.drill._drill import Drill
from hasten.drill._result import Measure
from hasten.drill._stage import Service, Stage

_BACKEND = "hasten.drill.subjects.backend:app"
_STALLS = 90  # one call of so many: with 100 the p99 would be now a stall, now none
_MEDIAN = 0.0055  # seconds
_RATE = 200.0  # calls a second
_BETTER, _EXTRA = 10.0, 2.0  # times, and % of the calls
Client = Callable[[], AbstractAsyncContextManager[Call]]


@dataclass(slots=True)
class Turns:
    """What a client did, in all of its turns.

    Attributes:
      seconds: Of each call, infinite where it failed.
      seen: Calls of it that the backend has seen.
    """

    seconds: list[float] = field(default_factory=list)
    seen: int = 0

    @property
    def p99(self) -> float:
        """In seconds."""
        return quantile(self.seconds, 0.99)

    @property
    def extra(self) -> float:
        """Calls that the backend has seen beyond those made, in % of these."""
        return 100.0 * (self.seen / len(self.seconds) - 1.0) if self.seconds else inf


async def _run(stage: Stage) -> Sequence[Measure]:
    seconds, rounds = (0.5, 1) if stage.quick else (5.0, 3)
    environment = backend_options(HASTEN_DRILL_STALLS=str(_STALLS))
    async with stage.hasten(_BACKEND, "--admin", "off", **environment) as backend:
        clients = _clients(backend, await asked(backend, "/grpc", str))
        turns = {name: Turns() for name in clients}
        for number in range(rounds):
            for name, client in clients.items():
                stage.say(f"{name}, round {number + 1} of {rounds}")
                async with client() as call:
                    made = await drive(call, _RATE, seconds, seed=number)
                turns[name].seconds += [one.seconds if one.by else inf for one in made]
        calls = await asked(backend, "/calls", dict[str, int])
    for name, its in turns.items():
        its.seen = calls.get(name, 0)
    return _measures(turns)


def _clients(backend: Service, grpc: str) -> dict[str, Client]:
    """Return what makes each client, by its name."""
    clients: dict[str, Client] = {
        "http": partial(by_http, [backend.url], "/work?http", hedge=2.0),
        "http-plain": partial(by_http, [backend.url], "/work?http-plain"),
    }
    if grpc:
        config = method_config("hedgingPolicy", {"maxAttempts": 2, "hedgingDelay": f"{2 * _MEDIAN}s"})
        clients["rpc"] = partial(by_rpc, [grpc], "rpc", service_config=config)
        clients["rpc-plain"] = partial(by_rpc, [grpc], "rpc-plain")
        clients["grpc.aio"] = partial(by_grpc_aio, [grpc], "grpc.aio")
    return clients


def _measures(turns: Mapping[str, Turns]) -> list[Measure]:
    measures = [*_pair("HTTP", turns["http"], turns["http-plain"])]
    if "rpc" in turns:
        measures += _pair("gRPC", turns["rpc"], turns["rpc-plain"])
        measures.append(
            Measure(
                promise="p99 of hedged calls of gRPC, a tenth of grpc.aio's, which does not hedge",
                asked=1e3 * turns["grpc.aio"].p99 / _BETTER,
                measured=1e3 * turns["rpc"].p99,
                unit="ms",
                beside="grpc.aio",
                beside_measured=1e3 * turns["grpc.aio"].p99,
            )
        )
    return measures


def _pair(kind: str, hedged: Turns, plain: Turns) -> list[Measure]:
    return [
        Measure(
            promise=f"p99 of hedged calls of {kind}, a tenth of that without",
            asked=1e3 * plain.p99 / _BETTER,
            measured=1e3 * hedged.p99,
            unit="ms",
            beside="without hedging",
            beside_measured=1e3 * plain.p99,
        ),
        Measure(
            promise=f"calls of {kind} that the backend has seen beyond those made",
            asked=_EXTRA,
            measured=hedged.extra,
            unit="%",
            beside="without hedging",
            beside_measured=plain.extra,
        ),
    ]


HEDGING = Drill(
    name="hedging",
    about=f"a service of which one call of {_STALLS} stalls for 200 ms, the others take 3 to 8 ms",
    run=_run,
)
