"""The closed model: a child that does what it is ordered, as fast as answers come, and says what that took.

It reads one order a line and answers each with one line (`carry_out`). It reads the CPU of both sides itself
(`measured`), so that neither the orders nor the sorting of latencies is in the figures.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from statistics import fmean
from typing import Any, TypeVar

import msgspec

from benchmarks._processes import PinnedProcess, process_cpu_seconds
from hasten._core.errors import InvalidMeasurement

T = TypeVar("T", bound="Answer")


class WrongValueError(Exception):
    """Raised when a subject gave another value than the one it was asked for; its figures mean nothing."""


class RecomputedError(Exception):
    """Raised when a value was made again that was to come from a cache, or the other way round."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What every answer has.

    Attributes:
      problem: Why it does not count; empty when it does.
    """

    problem: str = ""


class Driven(Answer, frozen=True):
    """What a drive gave: times in seconds, CPU of all calls together."""

    calls: int = 0
    seconds: float = 0.0
    client_cpu: float = 0.0
    server_cpu: float = 0.0
    p50: float = 0.0
    p99: float = 0.0


class OrderedProcess(PinnedProcess):
    """A child that carries out orders, seen from the benchmark; stopped while others have their turn."""

    def measure(self, order: msgspec.Struct, seconds: float, answer: type[T]) -> T:
        """Have an order carried out, which takes about so many seconds.

        Raises:
          InvalidMeasurement: a value was wrong, or was not where the order says it is.
        """
        with self.awake():
            given = self.ask(order, seconds, answer)
        if given.problem:
            raise InvalidMeasurement(self.name, given.problem)
        return given


def figures_of(driven: Sequence[Driven]) -> dict[str, float]:
    """Return the figures of a trial's turns: CPU of each side per call in µs, calls a second, latencies in µs.

    Latencies are means of the turns' quantiles.
    """
    calls = sum(each.calls for each in driven)
    return {
        "client": sum(each.client_cpu for each in driven) / calls * 1e6,
        "server": sum(each.server_cpu for each in driven) / calls * 1e6,
        "rate": calls / sum(each.seconds for each in driven),
        "p50": fmean(each.p50 for each in driven) * 1e6,
        "p99": fmean(each.p99 for each in driven) * 1e6,
    }


async def measured(calls: Awaitable[list[float]], server_pid: int) -> Driven:
    """Await calls, which return the latency of each in seconds, and say what they took here and in the server."""
    server, client, started = process_cpu_seconds(server_pid), time.process_time(), time.perf_counter()
    latencies = await calls
    seconds, client = time.perf_counter() - started, time.process_time() - client
    server = process_cpu_seconds(server_pid) - server
    latencies.sort()
    p50, p99 = (latencies[int(len(latencies) * share)] for share in (0.5, 0.99))
    return Driven(calls=len(latencies), seconds=seconds, client_cpu=client, server_cpu=server, p50=p50, p99=p99)


async def carry_out(orders: Any, work: Callable[[Any], Awaitable[Answer]], failed: type[Answer]) -> None:
    """Answer orders until the parent closes stdin; the loop runs on meanwhile.

    Args:
      orders: The type of the orders.
      failed: Answers when `work` raises.
    """
    decoder = msgspec.json.Decoder(orders)
    while line := await asyncio.to_thread(sys.stdin.readline):
        try:
            answer = await work(decoder.decode(line))
        except Exception as error:
            answer = failed(problem=" ".join(f"{type(error).__name__}: {error}".split()))
        print(msgspec.json.encode(answer).decode(), flush=True)
