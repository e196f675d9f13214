"""Looks at the loop's thread, and at threads that work for requests, some hundred times a second, for a capture.

The thread that looks needs the interpreter's lock, which a loop that computes gives away when it waits for something,
or after the switch interval, 5 ms: steps shorter than that would never be seen. So the interval is lowered while it
looks, and each look stands for all ticks that have passed within the step: a C function that keeps the lock for 50 ms
is seen once, and counts five times.

Whether the thread computes or is blocked is asked of its CPU clock: two readings, a tenth of a millisecond apart. A
thread that the kernel keeps off the CPU looks like one that sleeps, but for its state in `/proc`.
"""

import contextlib
import os
import random
import sys
import threading
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from types import CodeType, FrameType
from typing import Any, NamedTuple

from hasten.ledger._drive import DRIVER_CODE
from hasten.ledger._loop_state import LoopState
from hasten.ledger._records import TaskRecord
from hasten.ledger._sites import FRAMEWORKS, OWN, START
from hasten.ledger._stacks import StackTable, StackTask
from hasten.ledger._watchdog import Watchdog, uncollected

_SWITCH = 0.00002
"""Seconds after which a thread that runs Python gives the interpreter's lock to one that waits for it. Others that wait
sleep longer: the kernel adds 0.05 ms to what is not as exact as the sampler."""
_LONGEST_SLEEP = 0.05
_APART = 0.0001
_COMPUTING = 0.05
"""Share of the time between two readings from which on a thread computes."""
_MOST_LOOKS = 20_000


class Look(NamedTuple):
    """What was seen of a step, or of a function in a thread: when, the stack, whether blocked, for how many ticks."""

    when: float
    stack: int
    blocked: bool
    ticks: int


class Outside(NamedTuple):
    """What was seen of the loop's thread outside of recorded steps; `scope` is ASGI's, of the request it works for."""

    stack: int
    blocked: bool
    ticks: int
    scope: Any


class Sampler(Watchdog):
    """Samples one loop's thread for a capture, from `start` to `stop`; names what holds the loop, as a watchdog does.

    Args:
      rate: Looks a second.
      outside: Told of what runs outside of recorded steps.
      failed: Told of an error, which ends it.
    """

    cpu = 0.0
    """CPU seconds that the loop's thread has used in the time, once this has ended; 0.0 where that is not known."""

    def __init__(
        self,
        loop: AbstractEventLoop,
        state: LoopState,
        table: StackTable,
        *,
        rate: int,
        outside: Callable[[Outside], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        super().__init__(loop, state, interval=1.0 / rate, calm=1.0 / rate, oldest=0.0, check=_nothing)
        self._thread.name = "hasten-sampler"
        self._table = table
        self._outside = outside
        self._failed = failed
        self._random = random.Random()
        self._due = 0.0
        self._ticks = 0
        self._used = 0.0  # CPU seconds between the last two looks
        self._used_before = 0.0
        self._status = _open_status(state.thread)
        self.workers: dict[int, tuple[CodeType, int, list[Look]]] = {}
        """By thread: the code of the frame below which a request's function runs, the stack that has handed it over,
        and where looks are noted."""

    def _watch(self) -> None:
        _sleep_exactly()
        before = sys.getswitchinterval()
        lowered = min(before, _SWITCH)
        sys.setswitchinterval(lowered)
        lowered = sys.getswitchinterval()
        self._due = monotonic() + self._interval * self._random.random()
        used = self._used_before = self._cpu()
        try:
            while not self._stopped:
                pause = self._due - monotonic()
                if pause > 0.0:
                    time.sleep(min(pause, _LONGEST_SLEEP))
                if self._due <= monotonic():
                    self._look()
        except Exception as error:
            if not self._stopped and not self._loop.is_closed():
                self._failed(error)
        finally:
            with contextlib.suppress(OSError):  # the loop's thread has ended
                self.cpu = self._cpu() - used
            if sys.getswitchinterval() == lowered:  # else somebody else has set it
                sys.setswitchinterval(before)
            if self._status >= 0:
                os.close(self._status)

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def _look(self) -> None:
        now = monotonic()
        state = self._state
        self._count(now, state.step_started or state.last_end)
        used = self._cpu()
        self._used, self._used_before = used - self._used_before, used
        super()._look()
        if self.workers:
            self._look_at_workers(now)

    def _look_at_workers(self, now: float) -> None:
        with uncollected():
            frames = sys._current_frames()  # noqa: SLF001 - documented, and the only way
            for thread, (stop, origin, looks) in list(self.workers.items()):
                stack = self._table.standing(frames.get(thread), origin, stop)
                if stack != OWN and len(looks) < _MOST_LOOKS:
                    looks.append(Look(now, stack, False, 1))  # noqa: FBT003
            del frames

    def _count(self, now: float, since: float) -> None:
        """Count the ticks that were due until now, those before `since` aside; one at least.

        A look is late by some tenths of a millisecond, and stands for when it is, not for when it was due: else the
        first of them of each step would never be seen, and the last would be lost.
        """
        self._ticks = 0
        while self._due <= now:
            self._ticks += self._due >= since
            self._due += self._interval * (0.5 + self._random.random())  # no step of a service's own keeps pace with it
        self._ticks = max(1, self._ticks)

    def _sample(self, task: TaskRecord, started: float, now: float) -> None:
        origin = task.origin if isinstance(task, StackTask) else START
        with uncollected():
            stack = self._table.standing(self._frame(), origin, DRIVER_CODE)
        ticks = self._ticks
        if self._state.current is not task or self._state.step_started != started:
            return
        blocked = self._blocked()
        if ticks > 1 and not blocked and self._clock is not None:
            # The kernel has kept the thread off the CPU for some of them, and at that place by chance.
            ticks = max(1, min(ticks, round(self._used / self._interval)))
        if isinstance(task, StackTask) and len(task.looks) < _MOST_LOOKS:
            task.looks.append(Look(now, stack, blocked, ticks))

    def site(self) -> int:
        """Return the stack of the loop's thread outside of recorded steps, and tell of it."""
        with uncollected():
            frame = self._frame()
            stack = self._table.standing(frame, START, DRIVER_CODE)
            scope = _scope(frame, self._table) if stack != OWN else None
            del frame
        if stack != OWN:
            self._outside(Outside(stack, self._blocked(), self._ticks, scope))
        return stack

    def _frame(self) -> FrameType | None:
        return sys._current_frames().get(self._state.thread)  # noqa: SLF001

    def _blocked(self) -> bool:
        """Tell whether the loop's thread sleeps: in a tenth of a millisecond it uses no CPU, and wants none."""
        if self._clock is None:
            return False
        before, start = self._cpu(), monotonic()
        time.sleep(_APART)
        used, seconds = self._cpu() - before, monotonic() - start
        return used < _COMPUTING * min(seconds, 2 * _APART) and not self._wants_to_run()

    def _wants_to_run(self) -> bool:
        """Tell whether the kernel lists the loop's thread as one that runs or is ready to (proc(5), stat's third)."""
        if self._status < 0:
            return False
        status = os.pread(self._status, 256, 0)
        return status[status.rfind(b")") + 2 :][:1] == b"R"


def _nothing() -> None:
    """Check nothing: the ledger's own watchdog does."""


def _open_status(thread: int) -> int:
    """Open a thread's stat (Linux); -1 where there is none, or the thread is not Python's."""
    for one in threading.enumerate():
        if one.ident == thread and one.native_id is not None:
            try:
                return os.open(f"/proc/self/task/{one.native_id}/stat", os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                return -1
    return -1


def _sleep_exactly() -> None:
    """Have this thread sleep as long as it asks for, not 0.05 ms longer (Linux; proc(5), /proc/pid/timerslack_ns)."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{threading.get_native_id()}/timerslack_ns").write_text("1")


def _scope(frame: FrameType | None, table: StackTable) -> Any:
    """Return the ASGI scope that the outermost framework function on a running stack was called with, if there is."""
    found: Any = None
    while frame is not None:
        code = frame.f_code
        if "scope" in code.co_varnames and table.package(code) in FRAMEWORKS:
            scope = frame.f_locals.get("scope")
            if isinstance(scope, dict) and scope.get("type") == "http":
                found = scope
        frame = frame.f_back
    return found
