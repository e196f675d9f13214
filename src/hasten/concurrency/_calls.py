"""Calls that are under way at once, up to a limit, and end together: what `gather` and `map_concurrent` share."""

import asyncio
from asyncio import CancelledError, Future
from collections.abc import Awaitable, Iterator
from contextvars import copy_context
from typing import Any

_MOST_NOTES = 3


class Calls:
    """Begins calls as there is room, keeps their results in order, and ends them all when one fails.

    Each call is a task of its own, begun by the callback of one that has ended: at most `limit` of them exist, and none
    shares the task or the context variables of another, as calls that a worker makes one after the other would: what
    one sets (a tenant, a log's field) the next would see. Workers would take 0.8 to 1.5 µs a call, this takes 3.6 to
    6.4.

    Args:
      calls: Taken from as there is room; an error in it is that of a call.
      made: Whether what is left in `calls` is there already, and must be closed.
    """

    __slots__ = ("_calls", "_context", "_ended", "_error", "_limit", "_made", "_notes", "_results", "_under_way")

    def __init__(self, calls: Iterator[Awaitable[Any]], limit: float, *, made: bool) -> None:
        self._calls: Iterator[Awaitable[Any]] | None = calls
        self._limit, self._made = limit, made
        self._context = copy_context()
        self._results: list[Any] = []
        self._under_way: dict[Future[Any], int] = {}
        self._ended: Future[None] | None = None
        self._error: BaseException | None = None
        self._notes = 0

    async def results(self) -> list[Any]:
        """Return all results in order; raise the first error when all have ended.

        Cancellation: cancels all that are under way, and waits for them.
        """
        loop = asyncio.get_running_loop()
        self._begin()
        cancelled = False
        while self._under_way:
            self._ended = loop.create_future()
            try:
                await self._ended
            except CancelledError as error:
                if not cancelled:  # whoever cancels us must see it, whatever has failed before
                    cancelled = True
                    earlier, self._error = self._error, error
                    if earlier is None:
                        self._end_all()
                    else:
                        self._note(earlier)
                        del earlier
            except BaseException:  # GeneratorExit: nobody waits for us, nor can we
                self._end_all()
                raise
        first, self._error = self._error, None
        if first is None:
            return self._results
        try:
            raise first
        finally:
            del first  # its traceback holds this frame

    def _begin(self) -> None:
        """Begin calls while there is room."""
        under_way = self._under_way
        while self._calls is not None and len(under_way) < self._limit:
            try:
                task = asyncio.ensure_future(next(self._calls))
            except StopIteration:
                self._calls = None
            except Exception as error:
                self._results.append(None)
                self._fail(error)
            else:
                self._take(task)

    def _take(self, task: "Future[Any]") -> None:
        self._under_way[task] = len(self._results)
        self._results.append(None)
        task.add_done_callback(self._end, context=self._context)

    def _end(self, task: "Future[Any]") -> None:
        index = self._under_way.pop(task)
        if task.cancelled():
            if self._error is None:  # else it was us
                self._fail(CancelledError())
        elif (error := task.exception()) is not None:
            self._fail(error)
        else:
            self._results[index] = task.result()
            if self._calls is not None:
                self._begin()
        if not self._under_way and self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    def _fail(self, error: BaseException) -> None:
        """End all for the first error; note the others in it."""
        if self._error is None:
            self._error = error
            self._end_all()
        elif error is not self._error:
            self._note(error)

    def _note(self, error: BaseException) -> None:
        if self._error is not None and self._notes < _MOST_NOTES:
            self._notes += 1
            self._error.add_note(f"another of the calls has failed, too: {type(error).__name__}: {error}")

    def _end_all(self) -> None:
        calls, self._calls = self._calls, None
        if calls is not None and self._made:
            for call in calls:
                if asyncio.isfuture(call):
                    self._take(call)  # it runs already, for somebody else: it is cancelled as those that we have begun
                elif asyncio.iscoroutine(call):
                    call.close()
        for task in self._under_way:
            task.cancel()
