"""Tasks that nobody waits for, kept until they have ended."""

import asyncio
import logging
from collections.abc import Coroutine
from contextvars import copy_context
from dataclasses import dataclass
from math import inf
from types import TracebackType
from typing import Any, Self, TypeVar

from hasten._core.ambient import AMBIENT, Carried
from hasten._core.errors import ConfigurationError
from hasten.resilience import Refused

T = TypeVar("T")
_DRAIN = 10.0
_logger = logging.getLogger("hasten.concurrency")


@dataclass(frozen=True, slots=True)
class BackgroundStatistics:
    """What has been kept since it was made.

    Attributes:
      running: Tasks now.
      done, failed, cancelled, refused: Tasks, by their end.
    """

    running: int
    done: int
    failed: int
    cancelled: int
    refused: int


class Background:
    """Runs coroutines that nobody waits for, and has a reference to each: asyncio itself has only weak ones.

        background = Background()
        hasten.install(app, bus=background)

        background.keep(send_mail(order))

    A task that nobody refers to can be collected before it has ended, and an error of it is seen by nobody, or late.
    One that is kept ends by itself; its error is logged, once. It works for no request: it has the trace of the one
    that it was begun in, and not the deadline. When the app stops, what runs has 10 s to end.

    One event loop's. Keeping one costs 2 µs beside the task itself.

    Args:
      most: Tasks at once: work that nobody waits for has no other bound.
    Raises:
      ConfigurationError: `most` is below 1.
    """

    def __init__(self, most: int = 1000) -> None:
        if most < 1:
            raise ConfigurationError(f"Background({most})", "must be at least 1")
        self._most = most
        self._tasks: set[asyncio.Task[Any]] = set()
        self._done = self._failed = self._cancelled = self._refused = 0
        self._closing = False

    def keep(self, coroutine: Coroutine[Any, Any, T], *, name: str | None = None) -> "asyncio.Task[T]":
        """Return a task of `coroutine`, which needs not be kept or awaited.

        Raises:
          Refused: as many as may run do, or it is closing; the coroutine is closed.
        """
        if self._closing or len(self._tasks) >= self._most:
            coroutine.close()
            self._refused += 1
            raise Refused("background", "it is closing" if self._closing else f"{len(self._tasks)} tasks run")
        context, ambient = copy_context(), AMBIENT.get()
        if ambient is not None:
            context.run(AMBIENT.set, Carried(inf, ambient.traceparent))
        task = asyncio.get_running_loop().create_task(coroutine, name=name, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if task.cancelled():
            self._cancelled += 1
        elif (error := task.exception()) is None:
            self._done += 1
        else:
            self._failed += 1
            _logger.error("%s failed in the background", task.get_name(), exc_info=error)

    def statistics(self) -> BackgroundStatistics:
        """Return the counts now, in any thread."""
        return BackgroundStatistics(len(self._tasks), self._done, self._failed, self._cancelled, self._refused)

    async def __aenter__(self) -> Self:
        """Take tasks again, if it was closed."""
        self._closing = False
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it, with 10 s for what runs."""
        await self.aclose()

    async def aclose(self, timeout: float = _DRAIN) -> None:  # noqa: ASYNC109 - the tasks' time, not ours
        """Take no more tasks, give those that run `timeout` seconds, and cancel the rest, and wait for them.

        Cancellation: cancels them now, and does not wait.
        """
        self._closing = True
        tasks = set(self._tasks)
        try:
            if tasks:
                await asyncio.wait(tasks, timeout=timeout)
        finally:
            for task in tasks:
                task.cancel()
        if tasks:
            await asyncio.wait(tasks)
