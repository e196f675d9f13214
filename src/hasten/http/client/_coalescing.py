"""Calls that ask for just the same at the same time, and share one answer."""

import asyncio
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any

from hasten.http.client._response import Response
from hasten.resilience import DeadlineExceeded
from hasten.resilience._expiry import expiry_of

Key = tuple[str, bytes, bytes]


class _Waiter:
    """One caller, who waits for as long as it has time."""

    __slots__ = ("deadline", "future")

    def __init__(self, deadline: float, future: "asyncio.Future[bool]") -> None:
        self.deadline = deadline
        self.future = future

    def expire(self) -> None:
        """Stop waiting; called by `Expiry` alone."""
        self.wake(answered=False)

    def wake(self, *, answered: bool) -> None:
        if not self.future.done():
            self.future.set_result(answered)


class _Flight:
    """A call under way, and who waits for it."""

    __slots__ = ("task", "waiters")

    def __init__(self, task: "asyncio.Task[Response]") -> None:
        self.task = task
        self.waiters: set[_Waiter] = set()

    def landed(self, task: "asyncio.Task[Response]") -> None:
        """Wake all who wait."""
        if not task.cancelled():
            task.exception()  # looked at here, for the case that nobody waits any more
        for waiter in self.waiters:
            waiter.wake(answered=True)


class Flights:
    """Lets the first caller begin a call, in a task of its own, and the others wait for it.

    The task is cancelled when the last of them has gone.
    """

    __slots__ = ("_flights",)

    def __init__(self) -> None:
        self._flights: dict[Key, _Flight] = {}

    async def join(self, key: Key, deadline: float, call: Callable[[], Coroutine[Any, Any, Response]]) -> Response:
        """Return the answer of the call under way for a key, which is begun if there is none.

        Raises:
          DeadlineExceeded: this caller's deadline has passed; the others wait on.
        Cancellation: leaves the call to the others, if there are any.
        """
        while True:
            flight = self._flights.get(key)
            if flight is None:
                flight = self._begin(key, call)
            await self._landing(key, flight, deadline)
            try:
                return _result(flight.task)
            except DeadlineExceeded:
                if monotonic() >= deadline:
                    raise
                # It had begun before this caller came, who has time for another.

    def _begin(self, key: Key, call: Callable[[], Coroutine[Any, Any, Response]]) -> _Flight:
        flight = self._flights[key] = _Flight(asyncio.get_running_loop().create_task(call()))

        def landed(task: "asyncio.Task[Response]") -> None:
            self._forget(key, flight)
            flight.landed(task)

        flight.task.add_done_callback(landed)
        return flight

    async def _landing(self, key: Key, flight: _Flight, deadline: float) -> None:
        """Wait until a call has ended."""
        loop = asyncio.get_running_loop()
        waiter, expiry = _Waiter(deadline, loop.create_future()), expiry_of(loop)
        flight.waiters.add(waiter)
        expiry.watched.add(waiter)
        if deadline < expiry.due:
            expiry.sweep_at(deadline)
        try:
            if not await waiter.future:
                raise DeadlineExceeded
        finally:
            expiry.watched.discard(waiter)
            flight.waiters.discard(waiter)
            if not flight.waiters and not flight.task.done():
                self._forget(key, flight)  # who comes now begins anew
                flight.task.cancel()

    def _forget(self, key: Key, flight: _Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]


def _result(task: "asyncio.Task[Response]") -> Response:
    """Return a task's result; one error for many callers would grow by each one's traceback."""
    error = task.exception()
    if error is not None:
        raise error.with_traceback(None)
    return task.result()
