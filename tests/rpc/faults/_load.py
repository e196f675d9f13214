"""Calls at a steady rate, whatever becomes of those before: the open model."""

import asyncio
from collections import Counter
from collections.abc import Callable

import grpc

import hasten.rpc
from tests.rpc.faults._service import SERVICE

_TICK_SECONDS = 0.005


class OpenLoad:
    """Starts so many unary calls a second while the block runs, and counts how they end: `async with OpenLoad(...)`.

    Args:
      rate: Calls a second, started in groups every 5 ms; what a busy loop could not start in time follows at once.
    Attributes:
      outcomes: Ended calls by code.
      problems: What the failed ones said.
    """

    def __init__(self, channel: hasten.rpc.Channel, rate: float) -> None:
        self.outcomes: Counter[grpc.StatusCode] = Counter()
        self.problems: Counter[str] = Counter()
        self._method = channel.unary_unary(f"/{SERVICE}/Unary")
        self._rate = rate
        self._started = 0
        self._running: asyncio.Task[None] | None = None
        self._calls: set[asyncio.Task[None] | None] = set()
        self._changed = asyncio.Event()

    async def __aenter__(self) -> "OpenLoad":
        self._running = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Start no more, and wait for those that were started."""
        assert self._running is not None
        self._running.cancel()
        await asyncio.wait([self._running])
        await self.until(lambda: self.ended == self._started)

    @property
    def ended(self) -> int:
        return self.outcomes.total()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is true after a call has ended."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def more(self, count: int) -> None:
        """Wait until so many further calls have ended."""
        most = self.ended + count
        await self.until(lambda: self.ended >= most)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        while True:
            due = int((loop.time() - begin) * self._rate)
            for _ in range(due - self._started):
                self._started += 1
                self._calls.add(asyncio.create_task(self._call()))
            await asyncio.sleep(_TICK_SECONDS)

    async def _call(self) -> None:
        try:
            await self._method(b"load", timeout=20.0)
        except grpc.aio.AioRpcError as error:
            self.outcomes[error.code()] += 1
            self.problems[error.details() or ""] += 1
        else:
            self.outcomes[grpc.StatusCode.OK] += 1
        self._calls.discard(asyncio.current_task())
        self._changed.set()
