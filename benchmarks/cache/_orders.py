"""What the children are asked, and how they answer: one line of JSON each way."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeVar

import msgspec

from benchmarks._processes import PinnedProcess
from hasten._core.errors import InvalidMeasurement

Kind = Literal["hit", "miss", "set"]
T = TypeVar("T", bound="Answer")


class Calls(msgspec.Struct, frozen=True, tag=True):
    """Order: do one kind of operation for so many seconds of CPU, over and over."""

    kind: Kind
    seconds: float


class Follow(msgspec.Struct, frozen=True, tag=True):
    """Order: fill a new cache by one of `_work.TRACES`."""

    trace: str
    seed: int


class Drive(msgspec.Struct, frozen=True, tag=True):
    """Order: read through the second tier.

    Attributes:
      in_flight: How many at once.
      seconds: How long, after `warm_up` seconds that are not measured.
    """

    in_flight: int
    seconds: float
    warm_up: float = 0.0


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What every answer has.

    Attributes:
      problem: Why it does not count; empty when it does.
    """

    problem: str = ""


class Figure(Answer, frozen=True):
    """Of `Calls`: CPU seconds of one operation. Of `Follow`: the share of accesses that were hits."""

    value: float = 0.0


class Driven(Answer, frozen=True):
    """Of `Drive`: times in seconds, CPU of all calls together."""

    calls: int = 0
    seconds: float = 0.0
    client_cpu: float = 0.0
    server_cpu: float = 0.0
    p50: float = 0.0
    p99: float = 0.0


class CacheProcess(PinnedProcess):
    """A child that has a cache, seen from the benchmark; stopped while others have their turn."""

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
