"""Time in thread pools: how long a function was queued and how long it ran, noted for the request that handed it over.

`anyio.to_thread.run_sync` (Starlette's and FastAPI's way), `ThreadPoolExecutor.submit` (asyncio's `run_in_executor`
and `to_thread`) and what `hasten.concurrency.ThreadPool` submits with are wrapped while a ledger is attached; calls
outside a sampled request of that ledger go straight through (0.1 µs).
"""

import functools
import sys
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context
from time import monotonic
from typing import TYPE_CHECKING, Any

from hasten.ledger._records import REQUEST, RequestRecord
from hasten.ledger._sites import SiteTable

if TYPE_CHECKING:
    from hasten.concurrency._crew import Crew
    from hasten.concurrency._job import Job


class ThreadTimer:
    """Wraps the three ways into a thread, from `install` to `remove`.

    Attributes:
      executors: Those that something was handed to, for as long as they live.
      tables: Whose requests are timed: those whose sites are in one of them.
    """

    def __init__(self, sites: SiteTable) -> None:
        self.executors: weakref.WeakSet[ThreadPoolExecutor] = weakref.WeakSet()
        self.tables: tuple[SiteTable, ...] = (sites,)
        self._submit: Any = None
        self._run_sync: Any = None
        self._crew_submit: Any = None

    def install(self) -> None:
        """Put the wrappers in place; anyio's and `ThreadPool`'s only when the process has imported them."""
        self._submit = ThreadPoolExecutor.submit
        ThreadPoolExecutor.submit = self._wrap_submit(self._submit)  # type: ignore[method-assign]
        to_thread: Any = sys.modules.get("anyio.to_thread")
        if to_thread is not None:
            self._run_sync = to_thread.run_sync
            to_thread.run_sync = self._wrap_run_sync(self._run_sync)
        crew = _crew()
        if crew is not None:
            self._crew_submit = crew.submit
            crew.submit = self._wrap_crew_submit(self._crew_submit)

    def remove(self) -> None:
        """Put the originals back, unless somebody has wrapped ours meanwhile: then ours stay and pass through."""
        if getattr(ThreadPoolExecutor.submit, "ledger", None) is self:
            ThreadPoolExecutor.submit = self._submit  # type: ignore[method-assign]
        to_thread: Any = sys.modules.get("anyio.to_thread")
        if to_thread is not None and getattr(to_thread.run_sync, "ledger", None) is self:
            to_thread.run_sync = self._run_sync
        crew = _crew()
        if crew is not None and getattr(crew.submit, "ledger", None) is self:
            crew.submit = self._crew_submit

    def _wrap_submit(self, submit: Any) -> Any:
        @functools.wraps(submit)
        def timed_submit(
            pool: ThreadPoolExecutor, function: Callable[..., Any], /, *args: Any, **kwargs: Any
        ) -> Future[Any]:
            request = REQUEST.get()
            if request is not None and not request.closed and request.sites in self.tables:
                function = self._timed(request, function, args)
            self.executors.add(pool)
            future: Future[Any] = submit(pool, function, *args, **kwargs)
            return future

        timed_submit.ledger = self  # type: ignore[attr-defined]
        return timed_submit

    def _wrap_run_sync(self, run_sync: Any) -> Any:
        @functools.wraps(run_sync)
        def timed_run_sync(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            request = REQUEST.get()
            if request is not None and not request.closed and request.sites in self.tables:
                return run_timed(request, function, args, kwargs)
            return run_sync(function, *args, **kwargs)

        async def run_timed(request: RequestRecord, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
            """Hand over when the coroutine begins: a task group makes it in another task than runs it."""
            if not request.closed:
                function = self._timed(request, function, args)
            return await run_sync(function, *args, **kwargs)

        timed_run_sync.ledger = self  # type: ignore[attr-defined]
        return timed_run_sync

    def _wrap_crew_submit(self, submit: Any) -> Any:
        """Wrap what is within `ThreadPool.run`, and not `run`: its coroutine may be made in another task than runs it.

        The job is looked at when its future is done, just before who waits for it goes on, and so the wait of a caller
        that has given up is known, too.
        """

        @functools.wraps(submit)
        def timed_submit(crew: "Crew", deadline: float, function: Callable[..., Any], args: Any, kwargs: Any) -> "Job":
            request = REQUEST.get()
            if request is None or request.closed or request.sites not in self.tables:
                job: Job = submit(crew, deadline, function, args, kwargs)
                return job
            task = request.running
            site, function = request.hand_over(_handed_over(function, args), function)
            job = submit(crew, deadline, function, args, kwargs)
            job.future.add_done_callback(lambda _: _note(request, task, site, job))
            return job

        timed_submit.ledger = self  # type: ignore[attr-defined]
        return timed_submit

    def _timed(
        self, request: RequestRecord, function: Callable[..., Any], arguments: tuple[Any, ...]
    ) -> Callable[..., Any]:
        handed = monotonic()
        task = request.running
        site, function = request.hand_over(_handed_over(function, arguments), function)

        def timed(*args: Any, **kwargs: Any) -> Any:
            started = monotonic()
            try:
                return function(*args, **kwargs)
            finally:
                request.threads.append((task, site, handed, started, monotonic()))

        return timed


def _crew() -> Any:
    """Return the class whose `submit` each `ThreadPool` calls; None where nobody has loaded it."""
    return getattr(sys.modules.get("hasten.concurrency._crew"), "Crew", None)


def _note(request: RequestRecord, task: int, site: int, job: "Job") -> None:
    """Note a job that is done, or that its caller waits for no longer: not begun, or still running."""
    if not request.closed:
        ended = job.ended if job.call is None else monotonic()
        request.threads.append((task, site, job.queued, job.began or ended, ended))


def _handed_over(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Return what the caller meant by `function`: the user's own function, or the generator of a context manager.

    asyncio.to_thread hands over `partial(context.run, function)`, others `context.run` with the function as its first
    argument, Starlette `partial(function)`, FastAPI `partial(_run_sync_endpoint, function=endpoint)` and, for a
    dependency with yield, `context_manager.__enter__`.
    """
    if isinstance(function, functools.partial):
        module = getattr(function.func, "__module__", None) or ""
        if callable(function.keywords.get("function")) and module.startswith("fastapi."):
            return function.keywords["function"]
        return _handed_over(function.func, (*function.args, *arguments))
    owner = getattr(function, "__self__", None)
    if isinstance(owner, Context) and arguments:
        return arguments[0]
    generator = getattr(owner, "gen", None)
    return function if generator is None else generator
