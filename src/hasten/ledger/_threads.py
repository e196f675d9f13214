"""Time in thread pools: how long a function was queued and how long it ran, noted for the request that handed it over.

`anyio.to_thread.run_sync` (Starlette's and FastAPI's way) and `ThreadPoolExecutor.submit` (asyncio's
`run_in_executor` and `to_thread`) are wrapped while a ledger is attached; calls outside a sampled request of that
ledger go straight through (0.1 µs).
"""

import functools
import sys
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context
from time import monotonic
from typing import Any

from hasten.ledger._records import REQUEST, RequestRecord
from hasten.ledger._sites import SiteTable


class ThreadTimer:
    """Wraps the two ways into a thread, from `install` to `remove`.

    Attributes:
      executors: Those that something was handed to, for as long as they live.
      tables: Whose requests are timed: those whose sites are in one of them.
    """

    def __init__(self, sites: SiteTable) -> None:
        self.executors: weakref.WeakSet[ThreadPoolExecutor] = weakref.WeakSet()
        self.tables: tuple[SiteTable, ...] = (sites,)
        self._submit: Any = None
        self._run_sync: Any = None

    def install(self) -> None:
        """Put the wrappers in place; anyio only when the process has imported it."""
        self._submit = ThreadPoolExecutor.submit
        ThreadPoolExecutor.submit = self._wrap_submit(self._submit)  # type: ignore[method-assign]
        to_thread: Any = sys.modules.get("anyio.to_thread")
        if to_thread is not None:
            self._run_sync = to_thread.run_sync
            to_thread.run_sync = self._wrap_run_sync(self._run_sync)

    def remove(self) -> None:
        """Put the originals back, unless somebody has wrapped ours meanwhile: then ours stay and pass through."""
        if getattr(ThreadPoolExecutor.submit, "ledger", None) is self:
            ThreadPoolExecutor.submit = self._submit  # type: ignore[method-assign]
        to_thread: Any = sys.modules.get("anyio.to_thread")
        if to_thread is not None and getattr(to_thread.run_sync, "ledger", None) is self:
            to_thread.run_sync = self._run_sync

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
                function = self._timed(request, function, args)
            return run_sync(function, *args, **kwargs)

        timed_run_sync.ledger = self  # type: ignore[attr-defined]
        return timed_run_sync

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
