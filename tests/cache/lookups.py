"""One lookup, watched: whether it was answered at once, and how long it took."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from time import perf_counter
from typing import Generic, TypeVar

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Look(Generic[Value]):
    """What a lookup gave.

    Attributes:
      waited: It was not answered at once: the event loop turned meanwhile.
      seconds: How long it took.
    """

    value: Value
    waited: bool
    seconds: float


async def look(lookup: Awaitable[Value]) -> Look[Value]:
    """Await a call of a cached function."""
    turned: list[None] = []
    at_the_next_turn = asyncio.get_running_loop().call_soon(turned.append, None)
    began = perf_counter()
    value = await lookup
    seconds = perf_counter() - began
    at_the_next_turn.cancel()
    return Look(value, bool(turned), seconds)
