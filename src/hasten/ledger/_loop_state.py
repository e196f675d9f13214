"""What the ledger knows of one event loop: written by the loop's thread, read by the watchdog's."""

import os
import threading
from collections import deque
from collections.abc import Sequence
from time import monotonic, thread_time
from typing import TYPE_CHECKING, NamedTuple

from hasten._core.signals import LedgerHook, LoopHeld
from hasten.ledger._records import STRIDE, RequestRecord, Stall, TaskRecord
from hasten.ledger._sites import OWN, SiteTable

if TYPE_CHECKING:
    from hasten.ledger._backlog import Backlog
    from hasten.ledger._drive import Keeper

IDLE_GAP = 0.002
"""Seconds without a recorded step after which the loop counts as having been idle in between.

Callbacks and unrecorded tasks run in such gaps, so it must not be short; that a wait ends by chance within 2 ms after
a hold that did not delay it is rare enough."""
MARK_AGE = 0.004
"""The thread's clocks are read when a step begins and their last reading is older than this (seconds): 2.7 µs each."""
LONG_STEP = 0.004
"""A step this long (seconds) is split into computing, blocking and preempted by the thread's clocks."""
CLOCK_NOISE = 0.0002
"""Less than this (seconds) of blocking between two readings is their disagreement: the first is partly reckoned."""


class Hold(NamedTuple):
    """The loop ran nothing else from `start` to `end` (CLOCK_MONOTONIC seconds).

    Attributes:
      site: What held it.
      request: id of the holder's request; 0 where it is not known.
      preempted: For most of the time the kernel ran something else than the loop's thread: nobody's code is to blame.
    """

    start: float
    end: float
    site: int
    request: int
    preempted: bool = False


class Pause(NamedTuple):
    """A garbage collection of `generation` ran from `start` to `end`."""

    start: float
    end: float
    generation: int


class LoopState:
    """State of one loop; its thread is the one that made it.

    Args:
      like: Another state of the same loop: this one, made in any thread, has its thread, its clock and its pauses.

    Attributes:
      backlog: Ended requests whose accounts are to be made; the ledger sets it.
      keeper: Who has its requests recorded; the ledger, or a capture, sets it.
      current: The task whose step runs; None outside recorded steps.
      step_started: When that step began; 0.0 outside.
      last_end: When the last step ended.
      busy_since: When the loop last came back from idling, as far as recorded steps tell.
      holds: The last 256 holds, oldest first.
      hooks: Told of each hold.
      mark: When the thread's clocks were last read.
      ran: Seconds of the recorded steps since then.
      mark_age, long_step, clock_noise: MARK_AGE, LONG_STEP and CLOCK_NOISE; a capture reads the clocks at every step.
      pauses: The last 256 garbage collections of 0.5 ms or more.
    """

    __slots__ = (
        "_like", "_mark_cpu", "_mark_delay", "_schedstat", "backlog", "busy_since", "clock_noise", "current",
        "hold_threshold", "holds", "hooks", "keeper", "last_end", "long_step", "mark", "mark_age", "pauses", "ran",
        "sites", "step_started", "thread",
    )  # fmt: skip

    def __init__(
        self,
        sites: SiteTable,
        hold_threshold: float,
        hooks: Sequence[LedgerHook] = (),
        like: "LoopState | None" = None,
    ) -> None:
        self.sites = sites
        self.hooks = hooks
        self.backlog: Backlog
        self.keeper: Keeper
        self.hold_threshold = hold_threshold
        self.thread: int = threading.get_ident() if like is None else like.thread
        self.current: TaskRecord | None = None
        self.step_started = 0.0
        self.last_end = 0.0
        self.busy_since = 0.0
        self.holds: deque[Hold] = deque(maxlen=256)
        self.pauses: deque[Pause] = deque(maxlen=256) if like is None else like.pauses
        self.mark = 0.0
        self.ran = 0.0
        self.mark_age = MARK_AGE
        self.long_step = LONG_STEP
        self.clock_noise = CLOCK_NOISE
        self._mark_cpu = 0.0
        self._mark_delay = 0.0
        self._like = like
        self._schedstat = _open_schedstat() if like is None else -1

    @property
    def closed(self) -> bool:
        """Whether the file descriptor was given back, or never taken."""
        return self._schedstat < 0

    def close(self) -> None:
        """Give back the file descriptor; steps that still run count no time as preempted."""
        if self._schedstat >= 0:
            os.close(self._schedstat)
            self._schedstat = -1

    def begin(self, started: float) -> RequestRecord:
        """Return the record of a request that begins."""
        request = RequestRecord(started, self.sites)
        request.state = self
        return request

    def read_clocks(self, now: float) -> None:
        """Read the thread's CPU clock and run-queue delay at `now`, before a step that may turn out long."""
        self.mark = now
        self.ran = 0.0
        self._mark_cpu = thread_time()
        self._mark_delay = self.delay()

    def end_long_step(self, task: TaskRecord, request: RequestRecord, seconds: float) -> None:
        """Split the step of `task` that has just ended by the thread's clocks; note it as a hold when it is one."""
        ended = self.last_end
        started = ended - seconds
        cpu = thread_time() - (monotonic() - ended)
        before = min(self._mark_cpu + self.ran - seconds, cpu)  # the recorded steps since the mark used the CPU
        step = len(task.steps) // STRIDE - 1
        delay = self.delay()
        task.stalls.append(Stall(step, before, cpu, self._mark_delay, delay))
        self.mark = 0.0
        if seconds >= self.hold_threshold:
            seen = self._seen(task, started)
            site = max(seen, key=seen.count) if seen else OWN
            preempted = delay - self._mark_delay > 0.5 * seconds
            self.note_hold(Hold(started, ended, site, id(request), preempted))

    def _seen(self, task: TaskRecord, started: float) -> list[int]:
        """Return the sites at which the step of `task` that began at `started` was seen."""
        return [sample.site for sample in task.samples if sample.when >= started]

    def note_hold(self, hold: Hold) -> None:
        """Note that something has held the loop, and tell the hooks."""
        self.holds.append(hold)
        for hook in self.hooks:
            hook(LoopHeld(self.sites.place(hold.site), hold.end - hold.start, hold.preempted))

    def delay(self) -> float:
        """Return the seconds this thread was runnable and did not run (schedstat's second field); 0.0 if unknown."""
        if self._schedstat < 0:
            return 0.0 if self._like is None else self._like.delay()
        return int(os.pread(self._schedstat, 64, 0).split()[1]) * 1e-9


def _open_schedstat() -> int:
    """Open this thread's schedstat (Linux, Documentation/scheduler/sched-stats.rst); -1 where there is none."""
    try:
        return os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1
