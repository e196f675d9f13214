"""A call and its hedge: whichever is answered first. A part of `Hedge`."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from time import monotonic
from typing import Any, Generic, TypeVar

from hasten.resilience._expiry import expiry_of

T = TypeVar("T")


class Race(Generic[T]):
    """Runs a call in the task that awaits it, so that one which is answered in time costs no further task.

    When `deadline` has passed, `may_hedge` is asked, and the call is made a second time in a task of its own. If that
    one is answered first, the first is cancelled, as a timeout would.

    Attributes:
      deadline: When the hedge is sent, by `time.monotonic()`.
    """

    __slots__ = ("_call", "_context", "_lost", "_may_hedge", "_runs", "_second", "_task", "deadline")

    def __init__(self, call: Callable[[], Awaitable[T]], delay: float, may_hedge: Callable[[], bool]) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._call = call
        self._may_hedge = may_hedge
        self._second: asyncio.Task[T] | None = None
        self._runs = True  # the first does
        self._lost = False  # it was cancelled, because the second has an answer
        self._context = copy_context()
        self.deadline = monotonic() + delay

    async def run(self) -> T:
        """Return the first answer; where neither has one, raise the first call's error.

        Cancellation: ends both.
        """
        expiry, before = expiry_of(self._task.get_loop()), self._task.cancelling()
        expiry.watched.add(self)
        if self.deadline < expiry.due:
            expiry.sweep_at(self.deadline)
        try:
            return await self._call()
        except BaseException as error:
            self._runs = False
            second = self._second
            if second is None or (self._lost and self._task.cancelling() > before + 1):
                raise  # there is no other answer, or somebody else has cancelled, too
            if not self._lost and not await _is_answered(second, error):
                raise
            return second.result()
        finally:
            self._runs = False
            expiry.watched.discard(self)
            if self._lost:
                self._task.uncancel()
            if self._second is not None:
                self._second.cancel()

    def expire(self) -> None:
        """Send the hedge; called by `Expiry` alone."""
        if self._may_hedge():
            self._second = self._task.get_loop().create_task(_awaited(self._call), context=self._context)
            self._second.add_done_callback(self._end_first)

    def _end_first(self, second: "asyncio.Task[Any]") -> None:
        answered = not second.cancelled() and second.exception() is None
        if answered and self._runs:
            self._lost = True
            self._task.cancel()


async def _awaited(call: Callable[[], Awaitable[T]]) -> T:
    return await call()


async def _is_answered(second: "asyncio.Task[Any]", error: BaseException) -> bool:
    """Wait for the hedge of a call that has failed by `error`; tell whether it has an answer."""
    if not isinstance(error, Exception):
        return False
    await asyncio.wait((second,))
    return not second.cancelled() and second.exception() is None
