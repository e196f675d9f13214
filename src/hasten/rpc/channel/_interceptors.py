"""Client interceptors: which of them a call goes through, and how.

The interceptors of a call run in a task of their own. `Interception` is that task with what it leads to; the user's
object (`_intercepted`) refers to it and not the other way round, so that a call which is dropped can be cancelled.
"""

import asyncio
import weakref
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
from grpc.aio import (
    EOF,
    ClientCallDetails,
    ClientInterceptor,
    StreamStreamClientInterceptor,
    StreamUnaryClientInterceptor,
    UnaryStreamClientInterceptor,
    UnaryUnaryClientInterceptor,
)

from hasten.rpc.channel._substitutes import EndedCall, Link
from hasten.rpc.channel._written import WrittenRequests

Continuation: TypeAlias = Callable[[ClientCallDetails, Any], Awaitable[Any]]
Intercept: TypeAlias = Callable[[Continuation, ClientCallDetails, Any], Awaitable[Any]]
"""An interceptor's method for one kind of call."""

_KINDS = (
    UnaryUnaryClientInterceptor,
    UnaryStreamClientInterceptor,
    StreamUnaryClientInterceptor,
    StreamStreamClientInterceptor,
)


class Interceptors:
    """The interceptors of a channel, the first one outermost.

    One object may be of several kinds and intercepts them all; grpc.aio takes it for the first only (grpc/grpc#31442).

    Attributes:
      unary_unary, unary_stream, stream_unary, stream_stream: What intercepts the calls of each kind.
    Raises:
      ValueError: one is of no kind.
    """

    def __init__(self, interceptors: Sequence[ClientInterceptor]) -> None:
        for each in interceptors:
            if not isinstance(each, _KINDS):
                raise ValueError(f"Interceptor {each} must be {' or '.join(kind.__name__ for kind in _KINDS)}. ")
        self.unary_unary: tuple[Intercept, ...] = tuple(
            each.intercept_unary_unary for each in interceptors if isinstance(each, UnaryUnaryClientInterceptor)
        )
        self.unary_stream: tuple[Intercept, ...] = tuple(
            each.intercept_unary_stream for each in interceptors if isinstance(each, UnaryStreamClientInterceptor)
        )
        self.stream_unary: tuple[Intercept, ...] = tuple(
            each.intercept_stream_unary for each in interceptors if isinstance(each, StreamUnaryClientInterceptor)
        )
        self.stream_stream: tuple[Intercept, ...] = tuple(
            each.intercept_stream_stream for each in interceptors if isinstance(each, StreamStreamClientInterceptor)
        )
        self._running: weakref.WeakSet[Interception] = weakref.WeakSet()

    def watch(self, interception: "Interception") -> None:
        """Let `aclose` see to a call."""
        self._running.add(interception)

    async def aclose(self, seconds: float) -> None:
        """Give the interceptors that run in this loop so many seconds to end, then cancel their calls."""
        loop = asyncio.get_running_loop()
        running = [each for each in self._running if each.loop is loop]
        tasks = [each.task for each in running if not each.task.done()]
        if tasks and seconds > 0:
            await asyncio.wait(tasks, timeout=seconds)
        for each in running:
            each.cancel()


@dataclass(frozen=True, slots=True)
class Way:
    """What the calls of one method go through, one kind of call.

    Attributes:
      name: How the ledger names the wait for the method.
      intercepts: Of the interceptors, in order.
      invoke: Makes the call itself.
      substitute: Makes a call of what an interceptor returned instead of one.
    """

    name: str
    intercepts: tuple[Intercept, ...]
    invoke: Callable[[ClientCallDetails, Any], grpc.aio.Call]
    substitute: Callable[[Any, Link], grpc.aio.Call]


class Interception:
    """One call on its way through the interceptors, and what that led to.

    Attributes:
      way: What it goes through.
      task: Runs the interceptors.
      request: What the caller gave: one request, or an iterator of them.
      timeout: Seconds that the caller gives the call.
      written: What the caller writes; None when the requests came with the call.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, way: Way, details: ClientCallDetails, request: Any) -> None:
        self.loop = loop
        self.request = request
        self.timeout = details.timeout
        self.written = request if isinstance(request, WrittenRequests) else None
        self.way = way
        self._call: grpc.aio.Call | None = None
        self._made: weakref.WeakSet[grpc.aio.Call] = weakref.WeakSet()
        self._responses: Any = None
        self._over = False
        self._callbacks: list[Callable[[], None]] = []
        self.task: asyncio.Task[grpc.aio.Call] = loop.create_task(self._proceed(0, details, request))
        self.task.add_done_callback(self._intercepted)

    async def _proceed(self, index: int, details: ClientCallDetails, request: Any) -> grpc.aio.Call:
        """Go through the interceptors from `index` on."""
        way = self.way
        if index == len(way.intercepts):
            call = way.invoke(details, request)
            self._made.add(call)
            return call
        link = Link()

        async def continuation(client_call_details: ClientCallDetails, request: Any) -> grpc.aio.Call:
            call = link.call = await self._proceed(index + 1, client_call_details, request)
            return call

        returned = await way.intercepts[index](continuation, details, request)
        return returned if isinstance(returned, grpc.aio.Call) else way.substitute(returned, link)

    # ---- the outcome

    @property
    def call(self) -> Any:
        """What the interceptors returned, or how they failed, as a call; None while they run."""
        if self._call is None and self.task.done():
            error = asyncio.CancelledError() if self.task.cancelled() else self.task.exception()
            self._call = self.task.result() if error is None else EndedCall(None, error)
        return self._call

    async def outcome(self) -> Any:
        """Wait until there is a call.

        Cancellation: leaves the interceptors running.
        """
        if not self.task.done():
            await asyncio.wait((self.task,))
        return self.call

    def _intercepted(self, task: "asyncio.Task[grpc.aio.Call]") -> None:
        if task.cancelled() or task.exception() is not None:
            self._cancel_made()  # nobody is left to take what they bring
        call = self.call
        if call.done():
            self._end(call)
        else:
            call.add_done_callback(self._end)

    def _end(self, _: object) -> None:
        if self._over:
            return
        self._over = True
        if self.written is not None:
            self.written.close()
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def when_over(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the call is over; at once when it is."""
        if self._over:
            callback()
        else:
            self._callbacks.append(callback)

    # ---- cancellation

    def cancel(self) -> bool:
        """Cancel the interceptors, or else the call that they returned; False when all is over.

        An interceptor that waits for anything but the response would leave its call open: so each call that was made
        on the way is cancelled too.
        """
        call = self.call
        cancelled: bool = self.task.cancel() if call is None else call.cancel()
        if cancelled:
            self._cancel_made()
        return cancelled

    def _cancel_made(self) -> None:
        for call in list(self._made):
            call.cancel()

    def drop_later(self) -> None:
        """Nobody holds the call any more: cancel it, unless it is over.

        Called when the garbage collector takes the user's object, in whatever thread and place: the loop does it.
        """
        call = self.call
        if (call is None or not call.done()) and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.cancel)

    # ---- responses

    async def read(self) -> Any:
        """Return the next response, `grpc.aio.EOF` after the last.

        Cancellation: cancels the interceptors while they run, then the call.
        """
        if self._responses is None:
            call: Any = await self.task
            self._responses = aiter(call)
        try:
            return await anext(self._responses, EOF)
        except BaseException:
            self._responses = None  # an iterator that has raised ends silently; a new one says again how it was
            raise
