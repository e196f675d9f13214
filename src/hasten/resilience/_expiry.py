"""The deadline blocks of one event loop that are watched, with one timer for all of them.

`call_later` and `cancel` for each block would cost 2 µs, most of what `asyncio.timeout` costs. Here a block that ends
in time costs a set's `add` and `discard`: blocks that begin one after the other end at ever later deadlines, so the
timer stands already, and it is looked at again only when it fires.
"""

import asyncio
import math
import threading
import weakref
from contextvars import Context
from time import monotonic
from typing import Protocol

_SLACK = 0.001  # uvloop counts in whole milliseconds: without it the timer would fire too early every other time
_SWEEP_SPACING = 0.002


class Expiring(Protocol):
    """What is watched."""

    deadline: float

    def expire(self) -> None:
        """Take notice that `deadline`, by `time.monotonic()`, has passed; called once."""


class Expiry:
    """Tells what is in `watched` when its deadline has passed: never before, within 5 ms after if the loop is free.

    A sweep costs 0.04 µs for each one watched and runs at most 500 times a second, as a rule once per deadline.

    Attributes:
      watched: Whoever adds to it must call `watch_from` when `due` is later than its deadline.
      due: When the next sweep is, by `time.monotonic()`.
    """

    __slots__ = ("__weakref__", "_context", "_timer", "due", "loop", "watched")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.watched: set[Expiring] = set()
        self.due = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._context = Context()  # else the timer would hold on to the variables of the first request for good

    def sweep_at(self, deadline: float) -> None:
        """Sweep at `deadline` at the latest."""
        if self._timer is not None:
            self._timer.cancel()
        self.due = deadline
        delay = max(deadline - monotonic(), 0.0) + _SLACK
        self._timer = self.loop.call_later(delay, self._sweep, context=self._context)

    def _sweep(self) -> None:
        self._timer = None
        self.due = math.inf
        now = monotonic()
        earliest = math.inf
        for one in list(self.watched):
            if one.deadline <= now:
                self.watched.discard(one)
                one.expire()
            elif one.deadline < earliest:
                earliest = one.deadline
        if earliest < math.inf:
            self.sweep_at(max(earliest, now + _SWEEP_SPACING))


class _Running(threading.local):
    """The expiry of the loop that runs in this thread.

    A weak reference: the blocks and the armed timer hold it, and a closed loop is held by nobody.
    """

    expiry: "weakref.ref[Expiry] | None" = None


_running = _Running()


def expiry_of(loop: asyncio.AbstractEventLoop) -> Expiry:
    """Return the one of `loop`, which runs in this thread; made anew when nothing was watched for a while."""
    reference = _running.expiry
    expiry = None if reference is None else reference()
    if expiry is None or expiry.loop is not loop:
        expiry = Expiry(loop)
        _running.expiry = weakref.ref(expiry)
    return expiry
