"""When a connection stops reading from its peer: the back-pressure of HTTP/2 itself."""

import asyncio
import time
from collections.abc import Callable
from enum import IntFlag

from hasten.rpc._limits import Limits
from hasten.rpc.transport._guards import TokenBucket

_LONGEST_REST = 1.0  # seconds until a connection is looked at again: it may have gone


class Pause(IntFlag):
    """Why nothing is read."""

    WORK = 1
    REPLIES = 2


class Reading:
    """Pauses the transport's reading for reasons, and resumes it when none is left.

    Frames that are dear to take are paid from a budget, and replies to control frames may pile up only so far while
    the peer does not read: a flood then stops at the peer's own socket.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, limits: Limits, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._pauses = Pause(0)
        self._most_replies = limits.control_frames
        self._replies = 0
        budget = limits.decoded_header_bytes_per_second
        self._work_budget = TokenBucket(budget, budget, clock)

    def connect(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    @property
    def paused(self) -> bool:
        return bool(self._pauses)

    def charge_work(self, decoded_bytes: int) -> None:
        """Count header bytes that were dear to decode, or what costs as much; the connection rests until it is paid."""
        if not self._work_budget.take(decoded_bytes) and not self._pauses & Pause.WORK:
            self._pause(Pause.WORK)
            self._rest()

    def _rest(self) -> None:
        """Resume once the work is paid, that too that stood in the same read behind the first too much."""
        seconds = self._work_budget.seconds_until_positive()
        if seconds == 0.0:
            self._resume(Pause.WORK)
        elif self._transport is not None and not self._transport.is_closing():
            self._loop.call_later(min(seconds, _LONGEST_REST), self._rest)

    def charge_reply(self) -> None:
        """Count a reply that waits for the socket."""
        self._replies += 1
        if self._replies > self._most_replies:
            self._pause(Pause.REPLIES)

    def forgive_replies(self) -> None:
        """Note that the socket has taken what waited."""
        self._replies = 0
        self._resume(Pause.REPLIES)

    def _pause(self, reason: Pause) -> None:
        if not self._pauses and self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()
        self._pauses |= reason

    def _resume(self, reason: Pause) -> None:
        if self._pauses:
            self._pauses &= ~reason
            if not self._pauses and self._transport is not None and not self._transport.is_closing():
                self._transport.resume_reading()
