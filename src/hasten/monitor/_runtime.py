"""The event loop and the interpreter: lag, blocking sites, collections, threads, tasks."""

import asyncio
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any

from hasten._core.signals import Collected, LedgerSignal, RequestRecorded
from hasten.monitor import _catalogue as catalogue
from hasten.monitor._recorder import Reading, Recorder

BEAT = 0.1
"""Seconds between two beats."""
_LATE = 0.05
"""Seconds that a beat may be late before the loop counts as blocked now."""


class Runtime:
    """What a monitor knows of the loop of its app.

    A timer of the loop calls back ten times a second: how late it does is the loop's lag, for all that is on it.

    Args:
      executors: Returns the thread pools that are in use, in any thread.
      clock: Monotonic seconds.
    """

    def __init__(
        self,
        recorder: Recorder,
        executors: Callable[[], Iterable[ThreadPoolExecutor]],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._executors = executors
        self._lag = recorder.histograms(catalogue.LOOP_LAG).child()
        self._steps = recorder.histograms(catalogue.LOOP_STEP).child()
        self._blocking = recorder.counters(catalogue.LOOP_BLOCKING)
        self._blocking_time = recorder.counters(catalogue.LOOP_BLOCKING_TIME)
        self._pauses = recorder.histograms(catalogue.GC_PAUSE)
        self._thread_waits = recorder.histograms(catalogue.THREADPOOL_WAIT).child()
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._limiter: Any = None
        recorder.add_reader(self._read)

    # ---- the loop

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop that is watched now."""
        return self._loop

    def start(self) -> None:
        """Watch the running loop, and no other any more."""
        self.stop()
        self._due = self._clock() + BEAT  # before there is a loop: another thread may look
        self._loop = asyncio.get_running_loop()
        self._limiter = _limiter()
        self._wait()

    def stop(self) -> None:
        """Watch no loop; in its thread, or when it is closed."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop = self._limiter = None

    def _wait(self) -> None:
        if self._loop is not None:
            self._due = self._clock() + BEAT
            self._timer = self._loop.call_later(BEAT, self._beat)

    def _beat(self) -> None:
        self._lag.observe(max(0.0, self._clock() - self._due))
        self._wait()

    def blocked_for(self) -> float:
        """Return for how many seconds the loop has not called back, in any thread; 0.0 while it does, or if it ended.

        Sees what takes 50 ms or more.
        """
        loop = self._loop
        if loop is None or loop.is_closed():
            return 0.0
        late = self._clock() - self._due
        return late if late > _LATE else 0.0

    # ---- signals

    def note(self, signal: LedgerSignal) -> None:
        """Count what the ledger has seen."""
        if isinstance(signal, RequestRecorded):
            for seconds in signal.steps:
                self._steps.observe(seconds)
            for seconds in signal.thread_waits:
                self._thread_waits.observe(seconds)
        elif isinstance(signal, Collected):
            self._pauses.child(str(signal.generation)).observe(signal.seconds)
        elif not signal.preempted:
            site = signal.site or "unknown"
            self._blocking.child(site).value += 1
            self._blocking_time.child(site).value += signal.seconds

    # ---- reading

    def _read(self) -> Iterator[Reading]:
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        yield catalogue.LOOP_BLOCKED, (), self.blocked_for()
        yield catalogue.LOOP_TASKS, (), len(asyncio.all_tasks(loop))
        if self._limiter is not None:
            yield from _limiter_readings(self._limiter)
        for executor in self._executors():
            yield from _executor_readings(executor)


def _limiter() -> Any:
    """Return what bounds anyio's threads in the running loop; None where anyio is not used."""
    to_thread: Any = sys.modules.get("anyio.to_thread")
    if to_thread is None or asyncio.current_task() is None:  # anyio asks for it
        return None
    return to_thread.current_default_thread_limiter()


def _executor_readings(executor: ThreadPoolExecutor) -> Iterator[Reading]:
    """Return how many of an executor's threads are at work; it tells nobody, so its own attributes are read."""
    pool = executor._thread_name_prefix or ""  # noqa: SLF001
    threads = len(executor._threads)  # noqa: SLF001
    idle = min(executor._idle_semaphore._value, threads)  # noqa: SLF001
    yield catalogue.THREADPOOL_THREADS, (pool, "busy"), threads - idle
    yield catalogue.THREADPOOL_THREADS, (pool, "limit"), executor._max_workers  # noqa: SLF001
    yield catalogue.THREADPOOL_QUEUED, (pool,), executor._work_queue.qsize()  # noqa: SLF001


def _limiter_readings(limiter: Any) -> Iterator[Reading]:
    now = limiter.statistics()
    yield catalogue.THREADPOOL_THREADS, ("anyio", "busy"), now.borrowed_tokens
    yield catalogue.THREADPOOL_THREADS, ("anyio", "limit"), now.total_tokens
    yield catalogue.THREADPOOL_QUEUED, ("anyio",), now.tasks_waiting
