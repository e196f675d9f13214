"""Handlers that are no coroutine functions: they run in threads, so that they cannot block the loop.

A thread cannot be stopped from outside. When the call of such a handler ends early (its client has gone, its deadline
has passed) the handler is told by `context.is_active()` and by the error that its next `write`, `read` or `abort`
raises; until it returns, its call counts against the connection's and the server's bounds.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from contextvars import copy_context
from typing import Any, NoReturn, TypeVar

import grpc
from grpc.aio import AbortError

from hasten._core.ambient import AMBIENT
from hasten.rpc.server._call import ServerCall
from hasten.rpc.server._method import Method, Run
from hasten.rpc.server._running import end_with

Value = TypeVar("Value")
_MOST_THREADS = 32


class Threads:
    """Where the sync handlers of one server run.

    Args:
      executor: A user's; None makes one of at most 32 threads when the first handler needs it.
    """

    def __init__(self, executor: Executor | None) -> None:
        self._given = executor
        self._own: ThreadPoolExecutor | None = None

    @property
    def executor(self) -> Executor:
        if self._given is not None:
            return self._given
        if self._own is None:
            self._own = ThreadPoolExecutor(_MOST_THREADS, thread_name_prefix="hasten-rpc")
        return self._own

    def shutdown(self) -> None:
        """Take no more work; an executor that was given stays as it is."""
        if self._own is not None:
            self._own.shutdown(wait=False, cancel_futures=True)

    def run_by_kind(self, method: Method) -> Run:
        """Return what runs the calls of a sync handler."""
        work = _work_of_kind(method)

        async def run(call: ServerCall, message: bytes | None) -> None:
            call.running = True
            AMBIENT.set(call)
            try:
                if message is None and not method.request_streaming:
                    message = await call.only_message()
                await self._in_thread(work, call, message)
            except BaseException as error:
                end_with(call, error)
            call.handler_ended()

        return run

    async def _in_thread(self, work: "Work", call: ServerCall, message: bytes | None) -> None:
        loop = asyncio.get_running_loop()
        running = self.executor.submit(copy_context().run, work, ThreadContext(call, loop), message)
        ended = asyncio.Event()
        running.add_done_callback(lambda _: _wake(loop, ended))
        try:
            await ended.wait()
        except asyncio.CancelledError:
            if not running.cancel():
                await _until(ended)
            raise
        running.result()


def _wake(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    with suppress(RuntimeError):  # the loop has ended before its thread
        loop.call_soon_threadsafe(ended.set)


async def _until(ended: asyncio.Event) -> None:
    """Wait until a thread has finished its work, however often we are cancelled."""
    while not ended.is_set():
        with suppress(asyncio.CancelledError):
            await ended.wait()


Work = Callable[["ThreadContext", bytes | None], None]


def _work_of_kind(method: Method) -> Work:
    """Return what a thread does for a call: requests to the handler, its responses to the loop."""
    behaviour, serialize, deserialize = method.behaviour, method.serialize, method.deserialize

    def work(context: "ThreadContext", message: bytes | None) -> None:
        request = context.requests(deserialize) if method.request_streaming else deserialize(message or b"")
        try:
            result = behaviour(request, context)
        except StopIteration as error:  # no future takes it: the call would never end (PEP 479 has the same rule)
            raise RuntimeError("the handler raised StopIteration") from error
        if method.response_streaming:
            with _closed_in_the_end(result):
                for response in result:
                    context.send(serialize(response))
        elif not context.failed:
            context.respond(serialize(result))
        context.finish()

    return work


def _closed_in_the_end(responses: Any) -> AbstractContextManager[Any]:
    """Return what ends a generator in its thread, and not when somebody lets go of an error's traceback."""
    return closing(responses) if hasattr(responses, "close") else nullcontext()


class ThreadContext(grpc.ServicerContext):
    """The context of a handler in a thread; every method may be called from there."""

    def __init__(self, call: ServerCall, loop: asyncio.AbstractEventLoop) -> None:
        self._call = call
        self._loop = loop

    def _wait_for(self, coroutine: Coroutine[Any, Any, Value]) -> Value:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def requests(self, deserialize: Callable[[bytes], Any]) -> Iterator[Any]:
        """Yield the requests of a stream."""
        while (message := self._wait_for(self._call.next_message())) is not None:
            yield deserialize(message)

    def send(self, payload: bytes) -> None:
        """Send a response, and wait until the peer takes it."""
        self._wait_for(self._send(payload))

    async def _send(self, payload: bytes) -> None:
        self._call.send(payload)
        await self._call.connection.output.writable(self._call)

    @property
    def failed(self) -> bool:
        """Whether the handler has set an error code."""
        return self._call.failed

    def respond(self, payload: bytes) -> None:
        """Send the one response there is, and the status."""
        self._wait_for(self._respond(payload))

    async def _respond(self, payload: bytes) -> None:
        self._call.respond(payload)

    def finish(self) -> None:
        """Send the status if none was sent."""
        if not self._call.ended:
            self._wait_for(self._finish())

    async def _finish(self) -> None:
        self._call.end_as_set()

    # ---- grpc.ServicerContext

    def is_active(self) -> bool:
        return not self._call.ended

    def time_remaining(self) -> Any:
        return self._call.time_remaining()

    def cancel(self) -> bool:
        """End the call with CANCELLED."""
        if self._call.ended:
            return False
        self._loop.call_soon_threadsafe(self._call.end_early, 1, "Cancelled by the handler")
        return True

    def add_callback(self, callback: Callable[[], None]) -> bool:
        if self._call.ended:
            return False
        self._call.add_done_callback(lambda _: callback())
        return True

    def invocation_metadata(self) -> Any:
        return self._call.invocation_metadata()

    def peer(self) -> str:
        return self._call.peer()

    def peer_identities(self) -> Iterable[bytes] | None:
        return self._call.peer_identities()

    def peer_identity_key(self) -> str | None:
        return self._call.peer_identity_key()

    def auth_context(self) -> Mapping[str, Any]:
        return self._call.auth_context()

    def set_compression(self, compression: grpc.Compression) -> None:
        self._call.set_compression(compression)

    def disable_next_message_compression(self) -> None:
        self._call.disable_next_message_compression()

    def send_initial_metadata(self, initial_metadata: Any) -> None:
        self._wait_for(self._call.send_initial_metadata(initial_metadata))

    def set_trailing_metadata(self, trailing_metadata: Any) -> None:
        self._call.set_trailing_metadata(trailing_metadata)

    def trailing_metadata(self) -> Any:
        return self._call.trailing_metadata()

    def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Any = ()) -> NoReturn:
        self._wait_for(self._call.abort(code, details, trailing_metadata))
        raise AbortError

    def abort_with_status(self, status: grpc.Status) -> NoReturn:
        self._wait_for(self._call.abort_with_status(status))
        raise AbortError

    def set_code(self, code: grpc.StatusCode) -> None:
        self._call.set_code(code)

    def set_details(self, details: str) -> None:
        self._call.set_details(details)

    def code(self) -> Any:
        return self._call.code()

    def details(self) -> str:
        return self._call.details()
