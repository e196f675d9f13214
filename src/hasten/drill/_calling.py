"""Calls at a rate, by clients of several kinds: when each was made, how long it took, and who has answered."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from math import ceil, inf
from time import monotonic
from typing import Any, Literal, TypeVar

import msgspec

from hasten.drill._stage import Service
from hasten.http.client import Client

T = TypeVar("T")
Call = Callable[[], Awaitable[str]]
"""Makes a call, and returns the name of who has answered; raises where it fails."""
SERVICE = "hasten.drill.Backend"
_PATIENCE = 10.0  # seconds after which a call of gRPC is given up: no drill waits for one that never ends


@dataclass(frozen=True, slots=True)
class Called:
    """A call that was made.

    Attributes:
      at: When, by `time.monotonic()`.
      seconds: Until its answer, or its end without one.
      by: Who has answered; empty where it failed.
    """

    at: float
    seconds: float
    by: str


async def drive(call: Call, rate: float, seconds: float, *, seed: int = 1) -> list[Called]:
    """Make so many calls a second, whatever becomes of them, and return all when the last has ended.

    Times count from when a call was due: one that its client makes late has waited already.

    Cancellation: ends the calls under way.
    """
    chance = random.Random(seed)
    called: list[Called] = []
    began, at = monotonic(), 0.0
    async with asyncio.TaskGroup() as group:
        while (at := at + chance.expovariate(rate)) < seconds:
            due = began + at
            if (wait := due - monotonic()) > 0.0:
                await asyncio.sleep(wait)
            group.create_task(_make(call, due, called))
    return called


async def _make(call: Call, due: float, called: list[Called]) -> None:
    at = min(due, monotonic())  # timers of a loop count in milliseconds, and may be early
    by = ""
    with suppress(Exception):  # that it has failed is noted, whatever its client calls that
        by = await call()
    called.append(Called(at, monotonic() - at, by))


def quantile(values: Sequence[float], part: float) -> float:
    """Return the value that this part of all are at or below; infinite for none."""
    return sorted(values)[max(0, ceil(part * len(values)) - 1)] if values else inf


# ---- clients


@asynccontextmanager
async def by_http(urls: Sequence[str], path: str, **options: Any) -> AsyncIterator[Call]:
    """Call by GET, with hasten's client."""
    async with Client(urls, **options) as client:

        async def call() -> str:
            response = await client.get(path)
            return response.raise_for_status().text()

        yield call


@asynccontextmanager
async def by_rpc(addresses: Sequence[str], name: str, **options: Any) -> AsyncIterator[Call]:
    """Call by gRPC, with hasten's channel.

    Args:
      name: Of the caller, which the backend counts it by.
    """
    from hasten.rpc import Channel

    async with Channel(f"ipv4:{','.join(addresses)}", **options) as channel:
        await channel.channel_ready()
        call = channel.unary_unary(f"/{SERVICE}/Work")

        async def made() -> str:
            return str(await call(name.encode(), timeout=_PATIENCE), "utf-8")

        yield made


@asynccontextmanager
async def by_grpc_aio(
    addresses: Sequence[str], name: str, *, service_config: Mapping[str, Any] | None = None
) -> AsyncIterator[Call]:
    """Call by gRPC, with grpc.aio's channel."""
    import grpc

    options = [("grpc.service_config", msgspec.json.encode(service_config or {}).decode())]
    async with grpc.aio.insecure_channel(f"ipv4:{','.join(addresses)}", options=options) as channel:
        await channel.channel_ready()
        call: Any = channel.unary_unary(f"/{SERVICE}/Work")

        async def made() -> str:
            return str(await call(name.encode(), timeout=_PATIENCE), "utf-8")

        yield made


def method_config(kind: Literal["retryPolicy", "hedgingPolicy"], policy: Mapping[str, Any]) -> dict[str, Any]:
    """Return a service config in which all methods have one policy."""
    return {"methodConfig": [{"name": [{}], kind: policy}]}


def has_grpc() -> bool:
    """Tell whether gRPC can be drilled: it is an extra."""
    return find_spec("grpc") is not None


def backend_options(**environment: str) -> dict[str, str]:
    """Return the environment of a backend, which serves gRPC where that can be drilled."""
    return {"HASTEN_DRILL_GRPC": "1" if has_grpc() else "", **environment}


# ---- what a subject tells


async def asked(service: Service, path: str, kind: type[T]) -> T:
    """Return what a subject answers to a question of the drill's, which it does not count."""
    async with Client(service.url, timeout=5.0, breaker=None) as client:
        return await client.get(path, decode=kind)
