"""Finds tasks and coroutines that nobody looks after, while a service runs, without asyncio's debug mode."""

import asyncio
import logging
import sysconfig
from contextlib import suppress
from math import inf
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from weakref import WeakSet

from hasten._core.errors import ConfigurationError
from hasten._core.signals import Stray, StrayHook, StrayKind
from hasten.concurrency._never_awaited import NeverAwaited
from hasten.concurrency._origins import Origins
from hasten.concurrency._stray_records import (
    Strays,
    TaskWatchStatistics,
    in_one_line,
    is_library,
    place_of,
    within_driver,
)
from hasten.concurrency._telling import tell
from hasten.concurrency._unheld import counted_tasks, references_of_unheld

_MOST_SITES = 200
_KINDS: dict[str, StrayKind] = {
    "Task exception was never retrieved": "failed",
    "Task was destroyed but it is pending!": "destroyed",
}
_ADVICE: dict[StrayKind, str] = {
    "failed": "a task failed, and nobody has seen its error; await it, or give its coroutine to Background.keep",
    "destroyed": "a task was collected before it had ended; give its coroutine to Background.keep",
    "never-awaited": "a coroutine was made and never awaited, so nothing of it has run; await it",
    "unheld": "nobody has a reference to a task that runs: it may be collected before it has ended, and its error will "
    "be seen by nobody; give its coroutine to Background.keep",
}
_logger = logging.getLogger("hasten.concurrency")


class TaskWatch:
    """Finds tasks and coroutines of one event loop that nobody looks after, and names the lines that made them.

    Tasks whose error nobody has seen, tasks that were collected before they had ended, coroutines that were never
    awaited, and tasks that run and to which nobody has a reference.

        watch = TaskWatch()
        hasten.install(app, bus=watch)

    Each is a `Stray`: a warning in the log for the first one of each line, a count for all. The first two come by the
    loop's exception handler, and the one that was set before is called then as always. One that is set later hides
    them.

    A task is reported as unheld when it has been so in two looks: nothing but what it waits for refers to it, by
    CPython's own count, so that nobody can await it, cancel it or see its error. Tasks of installed packages are left
    out, and one that refers to itself (it is in a `timeout` or a TaskGroup) is not seen.

    Nothing is on the way of a task, no task factory either: a service without strays pays 0.5 µs for each task that
    there is, at a look. (asyncio's debug mode takes 100 µs a task.) Where a task was made is known by a memory of
    Python's that costs a quarter of a FastAPI request's CPU time: so the first stray of a kind is named by the line of
    its definition, and for `origins` seconds after it the memory is on, for the next ones to have the line that made
    them.

    Args:
      every: Seconds between two looks for unheld tasks; `math.inf` never looks.
      origins: Seconds, five times for each definition; 0 never, `math.inf` always.
      most: Sites that are told apart.
    Raises:
      ConfigurationError: `every` is not positive, `origins` negative, or `most` below 1.
    """

    def __init__(self, every: float = 10.0, *, origins: float = 10.0, most: int = _MOST_SITES) -> None:
        if not every > 0.0:
            raise ConfigurationError(f"TaskWatch(every={every})", "must be greater than 0")
        if not origins >= 0.0:
            raise ConfigurationError(f"TaskWatch(origins={origins})", "must be 0 or greater")
        if most < 1:
            raise ConfigurationError(f"TaskWatch(most={most})", "must be at least 1")
        self._every = every
        self._origins = Origins(origins)
        self._strays = Strays(most)
        self._hooks: list[StrayHook] = []
        self._never_awaited = NeverAwaited(lambda coroutine: self._note("never-awaited", coroutine))
        self._libraries = tuple({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")})
        self._directory = f"{Path.cwd()}/"
        self._loop: asyncio.AbstractEventLoop | None = None
        self._previous: Any = None
        self._timer: asyncio.TimerHandle | None = None
        self._unheld_references = 0
        self._suspects: WeakSet[asyncio.Task[Any]] = WeakSet()
        self._reported: WeakSet[asyncio.Task[Any]] = WeakSet()

    # ---- its life

    async def __aenter__(self) -> Self:
        """Watch the running loop."""
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop watching."""
        self.stop()

    def start(self) -> None:
        """Watch the running loop, until `stop`."""
        if self._loop is not None and self._loop.is_closed():
            self.stop()
        if self._loop is not None:
            raise RuntimeError("the watch has a loop already")
        self._loop = loop = asyncio.get_running_loop()
        self._previous = loop.get_exception_handler()
        loop.set_exception_handler(self._handle)
        self._never_awaited.install()
        self._origins.start(loop)
        if self._every < inf:
            self._unheld_references = references_of_unheld(loop)
            self._timer = loop.call_later(self._every, self._look)

    def stop(self) -> None:
        """Put back what was there; in the loop's thread."""
        loop, self._loop = self._loop, None
        if loop is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._never_awaited.remove()
        self._origins.stop()
        if loop.get_exception_handler() == self._handle:
            loop.set_exception_handler(self._previous)

    # ---- what it finds

    def _handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Note a task, and go on as without us."""
        try:
            kind = _KINDS.get(context["message"])
            task = context.get("task", context.get("future"))
            if kind is not None and isinstance(task, asyncio.Task):
                self._note(kind, task.get_coro(), context.get("exception"))
        finally:
            if self._previous is None:
                loop.default_exception_handler(context)
            else:
                self._previous(loop, context)

    def _look(self) -> None:
        """Note tasks that were unheld at the last look, and are so now."""
        loop = self._loop
        if loop is None:
            return
        self._timer = loop.call_later(self._every, self._look)
        suspects: WeakSet[asyncio.Task[Any]] = WeakSet()
        for references, task in counted_tasks(loop):
            if references <= self._unheld_references and task not in self._reported:
                if task not in self._suspects:
                    suspects.add(task)
                elif not self._is_librarys(task):
                    self._reported.add(task)
                    self._note("unheld", task.get_coro())
        self._suspects = suspects

    def _is_librarys(self, task: "asyncio.Task[Any]") -> bool:
        return is_library(place_of(within_driver(task.get_coro(), None), "")[0], self._libraries)

    def _note(self, kind: StrayKind, coroutine: Any, error: BaseException | None = None) -> None:
        """In any thread, within a garbage collection: record one, and have the hooks told by the loop."""
        coroutine = within_driver(coroutine, error)
        _, site = place_of(coroutine, self._directory)
        stray = self._strays.note(kind, site, getattr(coroutine, "__qualname__", ""), in_one_line(error))
        known = bool(getattr(coroutine, "cr_origin", None))
        loop = self._loop
        if loop is not None and (self._hooks or stray.count == 1 or not known):
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._tell, stray, known)

    def _tell(self, stray: Stray, known: bool) -> None:  # noqa: FBT001 - a callback of the loop's
        if not known:
            self._origins.want(stray.site)
        if stray.count == 1:
            what = f"{stray.site}: {stray.coroutine}" + (f": {stray.error}" if stray.error else "")
            _logger.warning("%s: %s", what, _ADVICE[stray.kind])
        tell(self._hooks, stray)

    # ---- what it knows

    def add_hook(self, hook: StrayHook) -> None:
        """Have a hook told of each stray, in the loop's thread."""
        self._hooks.append(hook)

    def strays(self) -> tuple[Stray, ...]:
        """Return the last one of each kind and line, with how many there have been; in any thread."""
        return self._strays.all()

    def statistics(self) -> TaskWatchStatistics:
        """Return how many there have been, in any thread."""
        return self._strays.statistics()
