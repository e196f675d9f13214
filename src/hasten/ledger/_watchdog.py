"""Who holds the loop: a thread that looks at the loop's thread and pings the loop when it is not idle.

While a recorded step runs, a look notes the stack into the step's task. When the loop is neither idle nor in a
recorded step, the watchdog asks it to call back: an answer later than the hold threshold is a hold, named by the
stacks seen meanwhile, whether a recorded request made it or not.

A look costs 10 µs of CPU beside a loop that is a third busy, half of it for the wake, and 100 µs beside one that never
idles, because the threads hand the interpreter's lock to and fro. So the thread looks five times a second while all is
calm, and every interval for ten seconds after a hold was seen.
"""

import contextlib
import functools
import gc
import os
import sys
import threading
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterator
from time import monotonic

from hasten.ledger._drive import DRIVER_CODE
from hasten.ledger._loop_state import Hold, LoopState
from hasten.ledger._records import Sample, TaskRecord
from hasten.ledger._sites import OWN

_COLLECTS_ANYWHERE = sys.version_info < (3, 12)
_LOOKING = threading.RLock()  # which only its owner can give back
_PATIENCE = 0.05
_ALERT = 10.0
_MOST_SAMPLES = 512
_QUIET_LOOKS = 4
"""Looks at an idle loop before it is asked all the same: C code that uvloop calls directly has no frame to see."""


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Collect no garbage while another thread's frames are looked at.

    Up to Python 3.11 a frame object that is made may begin a collection, whose callbacks give the other thread its
    turn: it ends the function, and the object is of memory that is gone. CPython guards `sys._current_frames` so
    (gh-106883), but not `f_back`.
    """
    if not _COLLECTS_ANYWHERE:
        yield
        return
    alone = _LOOKING.acquire(timeout=_PATIENCE)  # else one's end would let the other's collections begin
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
        if alone:
            _LOOKING.release()


@functools.cache
def _guard_forks() -> None:
    """Have nobody look while the process forks: the child would collect no garbage, and its lock be taken, for ever."""
    if _COLLECTS_ANYWHERE and hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_begin_fork, after_in_parent=_end_fork, after_in_child=_end_fork)


def _begin_fork() -> None:
    _LOOKING.acquire(timeout=_PATIENCE)


def _end_fork() -> None:
    with contextlib.suppress(RuntimeError):  # it was not to be had, and is not ours
        _LOOKING.release()


class Watchdog:
    """Watches one loop's thread.

    Args:
      interval: Seconds between looks while something is up.
      calm: Seconds between looks while nothing is.
      oldest: A recorded step is sampled once it is this old (seconds).
      check: Called at every look, on the watchdog's thread.
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        state: LoopState,
        *,
        interval: float,
        calm: float,
        oldest: float,
        check: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._state = state
        self._interval = interval
        self._calm = calm
        self._oldest = oldest
        self._check = check
        self._stopped = False
        self._thread = threading.Thread(target=self._watch, name="hasten-watchdog", daemon=True)
        self._pinged = 0.0
        self._quiet = 0
        self._delay = 0.0
        self._seen: list[int] = []
        self._clock = _thread_clock(state.thread)

    def start(self) -> None:
        """Begin to watch."""
        _guard_forks()
        self._thread.start()

    def stop(self) -> None:
        """Stop; returns without waiting for the thread, which ends after its next wake."""
        self._stopped = True

    def _watch(self) -> None:
        while not self._stopped:
            time.sleep(self._pause())
            try:
                self._look()
                self._check()
            except (RuntimeError, OSError):  # the loop or its file descriptor was closed
                return

    def _pause(self) -> float:
        holds = self._state.holds
        alert = self._pinged or (holds and monotonic() - holds[-1].end < _ALERT)
        return self._interval if alert else self._calm

    def _look(self) -> None:
        state = self._state
        now = monotonic()
        task, started = state.current, state.step_started
        if task is not None:
            self._sample(task, started, now)
        elif self._pinged:
            self._note(self.site())
        else:
            site = self.site()
            self._quiet += 1
            if site != OWN or self._quiet >= _QUIET_LOOKS:
                self._ping(now, site)

    def _sample(self, task: TaskRecord, started: float, now: float) -> None:
        """Note where the step of `task` stands that began at `started`."""
        if now - started >= self._oldest:
            site = self.site()
            if site != OWN and self._state.current is task and len(task.samples) < _MOST_SAMPLES:
                task.samples.append(Sample(now, site, self._cpu(), self._state.delay()))

    def _note(self, site: int) -> None:
        if site != OWN and len(self._seen) < _MOST_SAMPLES:
            self._seen.append(site)

    def _ping(self, now: float, site: int) -> None:
        self._seen = [site]
        self._delay = self._state.delay()
        self._pinged = now
        self._quiet = 0
        self._loop.call_soon_threadsafe(self._answer)

    def _answer(self) -> None:
        """On the loop: note a hold when the answer comes late and no recorded step explains it."""
        start, end = self._pinged, monotonic()
        state = self._state
        if end - start >= state.hold_threshold:
            explained = sum(max(0.0, min(end, hold.end) - max(start, hold.start)) for hold in state.holds)
            if explained < 0.5 * (end - start):
                named = [site for site in self._seen if site != OWN]
                site = max(named, key=named.count) if named else OWN
                state.note_hold(Hold(start, end, site, 0, state.delay() - self._delay > 0.5 * (end - start)))
        self._pinged = 0.0

    def site(self) -> int:
        """Return where the loop's thread stands, in any thread."""
        with uncollected():
            frame = sys._current_frames().get(self._state.thread)  # noqa: SLF001 - documented, and the only way
            return self._state.sites.running(frame, DRIVER_CODE)

    def _cpu(self) -> float:
        return time.clock_gettime(self._clock) if self._clock is not None else 0.0


def _thread_clock(thread: int) -> int | None:
    """Return the CPU clock of a thread (Linux, POSIX pthread_getcpuclockid); None where there is none."""
    if hasattr(time, "pthread_getcpuclockid"):
        return time.pthread_getcpuclockid(thread)
    return None
