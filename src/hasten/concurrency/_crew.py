"""The work of a `ThreadPool` on one event loop: what is queued, what is done, who waits for it."""

import asyncio
from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from time import monotonic
from typing import Any

from hasten._core.signals import ThreadOutcome
from hasten.concurrency._job import Job
from hasten.concurrency._workers import Workers
from hasten.resilience import DeadlineExceeded, Refused

Tell = Callable[[ThreadOutcome, float, float], None]
"""Told of the outcome of each job, of the seconds that it waited, and of those that it ran."""


class Crew:
    """Bounds, queues and settles jobs, in the loop's thread.

    Jobs that end before the loop looks share one wake-up, which is a system call each.

    Args:
      most: Jobs that are not done, those that wait included.
    """

    def __init__(self, loop: AbstractEventLoop, name: str, threads: int, most: int, tell: Tell) -> None:
        self.loop = loop
        self._name, self._threads, self._most, self._tell = name, threads, most, tell
        self._workers = Workers(f"hasten-{name}", threads, self._done)
        self._ended: deque[Job] = deque()  # by threads, and not looked at by the loop
        self._not_settled = 0
        self._woken = False
        self._closing = False
        self._idle = asyncio.Event()

    @property
    def under_way(self) -> int:
        """Jobs that are not done, in any thread."""
        return self._not_settled - len(self._ended)

    @property
    def waiting(self) -> int:
        """Jobs that no thread has taken, in any thread."""
        return self._workers.waiting

    def submit(self, deadline: float, function: Callable[..., Any], args: Any, kwargs: Any) -> Job:
        """Queue a call; `result` follows.

        Raises:
          Refused: there are as many as may be, or no more are taken.
        """
        under_way = self._not_settled - len(self._ended)
        if under_way >= self._most or self._closing:
            self._tell("refused", 0.0, 0.0)
            reason = f"{self._threads} are busy, and {under_way - self._threads} wait"
            raise Refused(f"threads {self._name}", "it is closing" if self._closing else reason)
        job = Job(copy_context(), deadline, self.loop.create_future(), function, args, kwargs)
        self._workers.add(job, under_way + 1)
        self._not_settled += 1
        return job

    async def result(self, job: Job) -> Any:
        """Return what a call has returned, or raise what it has raised."""
        try:
            return await job.future
        except BaseException:
            if job.future.cancelled() and self._workers.remove(job):
                now = monotonic()
                self._tell("left" if now < job.deadline else "expired", now - job.queued, 0.0)
                self._forget_one()
            raise
        finally:
            del job  # an error's traceback holds this frame, and the job's future the error

    async def aclose(self, seconds: float) -> None:
        """Take no more, wait for what there is, and refuse what has not begun by then; see `ThreadPool.aclose`."""
        self._closing = True
        try:
            if self._not_settled:
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await self._idle.wait()
        finally:
            self.end()

    def end(self) -> None:
        """Refuse what waits, and let the threads end; also when the loop is closed."""
        self._closing = True
        for job in self._workers.end():
            if not job.future.done() and not self.loop.is_closed():
                job.future.set_exception(Refused(f"threads {self._name}", "it was closed"))
            self._tell("refused", 0.0, 0.0)
            self._not_settled -= 1

    # ---- the end of a job

    def _done(self, job: Job) -> None:
        """In a thread: hand a job back to the loop."""
        self._ended.append(job)
        if not self._woken:
            self._woken = True
            with suppress(RuntimeError):  # the loop was closed before
                self.loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        self._woken = False  # before looking: who comes later wakes the loop again
        ended = self._ended
        while ended:
            job = ended.popleft()
            began = job.began or job.ended
            self._tell(_settled(job), began - job.queued, job.ended - began)
            self._forget_one()

    def _forget_one(self) -> None:
        self._not_settled -= 1
        if self._closing and not self._not_settled:
            self._idle.set()


def _settled(job: Job) -> ThreadOutcome:
    """Give who waits for a job its value or error."""
    future, error = job.future, job.error
    if not job.began:
        if not future.done():
            future.set_exception(DeadlineExceeded())
        return "expired"
    if future.done():  # it was cancelled
        return "abandoned"
    if error is None:
        future.set_result(job.value)
        return "ok"
    future.set_exception(error)
    return "error"
