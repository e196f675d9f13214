"""Thread pools by name: each dependency that blocks has threads of its own, and so many that wait for one."""

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from functools import wraps
from math import inf
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from hasten._core.ambient import AMBIENT
from hasten._core.errors import ConfigurationError
from hasten._core.signals import ThreadHook, ThreadOutcome, ThreadWork
from hasten.concurrency._crew import Crew
from hasten.concurrency._telling import tell
from hasten.concurrency._thread_counts import ThreadCounts, ThreadPoolStatistics
from hasten.resilience import Refused, deadline_at, require

P = ParamSpec("P")
T = TypeVar("T")
_QUEUE_PER_THREAD = 10
_DRAIN = 10.0


class ThreadPool:
    """Runs functions that block in threads of its own, so that the loop goes on, and other dependencies have theirs.

        images = ThreadPool("images", 4, queue=20)

        thumbnail = await images.run(resize, picture, width=200)

        @images.wrap
        def resize(picture: bytes, width: int) -> bytes: ...

    asyncio.to_thread and FastAPI's `def` endpoints share one pool each: when one dependency stalls, its calls take all
    threads, and the calls to all others queue behind them, without a bound and without a trace. Here the stalled one
    fills its own pool, and what it cannot take is refused at once.

    The function runs in a copy of the caller's context: the deadline (`hasten.resilience.remaining`), the trace. A
    caller waits no longer than the ambient deadline. Work that nobody waits for any more, since its caller was
    cancelled or its deadline has passed, is not begun. A thread cannot be stopped from outside: what has begun runs to
    its end, keeps its thread until then, and its result is dropped.

    Threads are started as they are needed. One event loop's, until that is closed; a pool that was closed is opened by
    `async with`. With `hasten.install(app, bus=images)` it ends with the app.

    A call that does nothing costs 53 µs of CPU time on uvloop and 78 on asyncio where one is under way, 9 and 10 where
    16 are, and 5 where 200 are. asyncio.to_thread: 64 and 107, 24 and 45, 18. anyio.to_thread.run_sync: 85 and 131, 77
    and 99, 74 and 55 (8 threads, medians of five rounds in one run).

    Args:
      name: In messages, statistics and names of threads.
      threads: At most so many.
      queue: At most so many wait for a thread, 0 refuses at once; ten for each thread unless told.
    Raises:
      ConfigurationError: `name` is empty, `threads` is below 1, or `queue` negative.
    """

    def __init__(self, name: str, threads: int, *, queue: int | None = None) -> None:
        if not name:
            raise ConfigurationError("ThreadPool(name='')", "must say what the threads are for")
        if threads < 1:
            raise ConfigurationError(f"ThreadPool(threads={threads})", "must be at least 1")
        if queue is not None and queue < 0:
            raise ConfigurationError(f"ThreadPool(queue={queue})", "must be 0 or greater")
        self.name = name
        self._threads = threads
        self._most = threads + (threads * _QUEUE_PER_THREAD if queue is None else queue)
        self._hooks: list[ThreadHook] = []
        self._counts = ThreadCounts()
        self._crew: Crew | None = None
        self._closed = False

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what `function` returns, called in a thread; its errors pass as they are.

        Raises:
          Refused: as many wait as may, or the pool is closing.
          DeadlineExceeded: the ambient deadline has passed.
        Cancellation: work that waits is taken out of the queue; work that has begun goes on, and its result is dropped.
        """
        crew, ambient = self._crew, AMBIENT.get()
        if crew is None or crew.loop is not asyncio.get_running_loop():
            crew = self._new_crew()
        if ambient is None or ambient.deadline == inf:
            value: T = await crew.result(crew.submit(inf, function, args, kwargs))
        else:
            require()
            async with deadline_at(inf):  # the ambient's holds, whoever has set it
                value = await crew.result(crew.submit(ambient.deadline, function, args, kwargs))
        return value

    def wrap(self, function: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
        """Return a coroutine function that calls `function` in a thread: a decorator.

        Raises:
          ConfigurationError: it is a coroutine function, which has nothing to do in a thread.
        """
        if inspect.iscoroutinefunction(function):
            name = getattr(function, "__qualname__", repr(function))  # a partial has none
            raise ConfigurationError(f"ThreadPool.wrap({name})", "is a coroutine function; await it")

        @wraps(function)
        async def in_thread(*args: P.args, **kwargs: P.kwargs) -> T:
            return await self.run(function, *args, **kwargs)

        return in_thread

    def add_hook(self, hook: ThreadHook) -> None:
        """Have a hook told of each piece of work that has ended, or was not begun; in the loop's thread."""
        self._hooks.append(hook)

    def statistics(self) -> ThreadPoolStatistics:
        """Return what it does and has done, in any thread."""
        crew = self._crew
        waiting = 0 if crew is None else crew.waiting
        busy = 0 if crew is None else max(0, crew.under_way - waiting)
        return self._counts.snapshot(self._threads, busy, waiting)

    async def __aenter__(self) -> Self:
        """Take work again, if the pool was closed."""
        self._closed = False
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it, with 10 s for what is under way."""
        await self.aclose()

    async def aclose(self, timeout: float = _DRAIN) -> None:  # noqa: ASYNC109 - work is not cancelled by it
        """Take no more work, and wait up to `timeout` seconds for what there is.

        Then what waits is refused, and what runs is left alone: its callers still get its result, but the end of the
        process does not wait for it any more.

        Cancellation: that happens now.
        """
        self._closed = True
        crew = self._crew
        if crew is not None and crew.loop is asyncio.get_running_loop():
            await crew.aclose(timeout)
        elif crew is not None:
            crew.end()
        self._crew = None

    def _new_crew(self) -> Crew:
        """Return one for the running loop; the last one's loop has ended."""
        if self._closed:
            self._tell("refused", 0.0, 0.0)
            raise Refused(f"threads {self.name}", "it was closed")
        if self._crew is not None:
            if not self._crew.loop.is_closed():
                raise RuntimeError(f"the threads {self.name} are another event loop's")
            self._crew.end()
        self._crew = Crew(asyncio.get_running_loop(), self.name, self._threads, self._most, self._tell)
        return self._crew

    def _tell(self, outcome: ThreadOutcome, waited: float, ran: float) -> None:
        """Count what has become of a piece of work."""
        self._counts.count(outcome, waited, ran)
        if self._hooks:
            tell(self._hooks, ThreadWork(self.name, outcome, waited, ran))
