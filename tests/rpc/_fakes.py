"""A transport that stays in memory, and a loop whose time the test moves."""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import Any, cast


class MemoryTransport(asyncio.Transport):
    """What asyncio gives a protocol, without a socket.

    Attributes:
      written: Bytes that were written and not taken.
      reading: Whether the protocol wants to be given data.
      ended: Whether the protocol has said that it writes no more.
      peer_reads: Whether what is written leaves at once; without, it waits and counts for the buffer's limits.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: asyncio.Protocol, *, peer_reads: bool = True) -> None:
        super().__init__()
        self.written = bytearray()
        self.writes = 0
        self.reading = True
        self.ended = False
        self.peer_reads = peer_reads
        self._loop = loop
        self._protocol = protocol
        self._high = 64 * 1024
        self._waiting = 0
        self._writing_paused = False
        self._closing = False
        protocol.connection_made(self)

    def feed(self, data: bytes) -> None:
        """Give the protocol what a peer sent, as a loop does: not when it has closed."""
        if not self._closing:
            self._protocol.data_received(data)

    def take(self) -> bytes:
        """Return what was written, as a peer that reads."""
        written = bytes(self.written)
        self.written.clear()
        self._waiting = 0
        if self._writing_paused:
            self._writing_paused = False
            self._protocol.resume_writing()
        return written

    def write(self, data: Any) -> None:
        self.written += data
        self.writes += 1
        if not self.peer_reads:
            self._waiting += len(data)
        if self._waiting > self._high and not self._writing_paused:
            self._writing_paused = True
            self._protocol.pause_writing()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = high if high is not None else 64 * 1024

    def get_write_buffer_size(self) -> int:
        return self._waiting

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        self.close()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default


class ManualLoop:
    """The few methods of a loop that need time; `advance` moves it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.unhandled: list[dict[str, Any]] = []
        self._timers: list[tuple[float, int, asyncio.Handle]] = []
        self._numbers = itertools.count()

    def as_loop(self) -> asyncio.AbstractEventLoop:
        return cast("asyncio.AbstractEventLoop", self)

    def time(self) -> float:
        return self.now

    def get_debug(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.unhandled.append(context)

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self.as_loop())
        heapq.heappush(self._timers, (self.now + delay, next(self._numbers), handle))
        return handle

    def call_soon(self, callback: Callable[..., object], *args: Any) -> asyncio.Handle:
        return self.call_later(0.0, callback, *args)

    @property
    def timers(self) -> int:
        """Timers that are set and not cancelled."""
        return sum(not handle.cancelled() for _, _, handle in self._timers)

    def advance(self, seconds: float) -> None:
        """Let time pass; what is due runs in order."""
        end = self.now + seconds
        while self._timers and self._timers[0][0] <= end:
            at, _, handle = heapq.heappop(self._timers)
            self.now = max(self.now, at)
            if not handle.cancelled():
                handle._run()
        self.now = end
