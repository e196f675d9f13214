"""A broker under the contract: how its tests reach it, and what they share."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import msgspec

from hasten.events import Broker, Bus, Message, RetryPolicy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LONGEST = 40.0
"""Seconds that a test waits for what is to come; far more than any broker needs."""
loop_factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
"""Of the loops that scenarios run in; a fixture changes it."""
QUICKLY = RetryPolicy(5, first=0.01, longest=0.02)


class OrderPaid(msgspec.Struct, frozen=True):
    """The payload of most tests."""

    number: int
    customer: str = "mia"


class Adapter:
    """One kind of broker.

    Args:
      name: Of the kind, with the server's version.
      connect: Makes a broker, not started: another connection to the same messages.
      knows_groups: It can say that a topic has no group yet.
    """

    def __init__(self, name: str, connect: Callable[[], Broker], *, knows_groups: bool = True) -> None:
        self.name = name
        self.knows_groups = knows_groups
        self._connect = connect

    def bus(self, **options: Any) -> Bus:
        """Return a bus with a connection of its own."""
        return Bus(self._connect(), **options)

    @asynccontextmanager
    async def joined(self, *buses: Bus) -> "AsyncIterator[None]":
        """Run buses for a block; they are closed in the order in which they stand."""
        for bus in buses:
            await bus.start()
        try:
            yield
        finally:
            for bus in buses:
                await bus.aclose()


class Seen:
    """What handlers have got, and waiting for it."""

    def __init__(self) -> None:
        self.payloads: list[Any] = []
        self.messages: list[Message] = []
        self._more = asyncio.Condition()

    async def note(self, payload: Any, message: Message) -> None:
        """Add one."""
        async with self._more:
            self.payloads.append(payload)
            self.messages.append(message)
            self._more.notify_all()

    async def count(self, most: int) -> None:
        """Wait until there are so many."""
        async with asyncio.timeout(LONGEST), self._more:
            await self._more.wait_for(lambda: len(self.payloads) >= most)


def new_topic() -> str:
    """Return a topic that no other test has."""
    return f"orders.{uuid4().hex[:12]}"


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run a scenario in a loop of its own; one that waits for ever fails."""

    async def bounded() -> None:
        async with asyncio.timeout(2 * LONGEST):
            await scenario

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(bounded())


async def eventually(holds: Callable[[], Coroutine[Any, Any, bool]]) -> None:
    """Ask until the answer is yes: the broker tells nobody when it has taken a settlement."""
    give_up = time.monotonic() + LONGEST
    while not await holds():
        assert time.monotonic() < give_up, "it never came to be"
        await asyncio.sleep(0.01)
