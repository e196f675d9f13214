"""What stands for a call where interceptors give none: a response, an iterator of responses, or a failure."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Generator
from typing import Any

import grpc
from grpc.aio import EOF, AioRpcError, Metadata, UsageError

from hasten.rpc.channel._call import CANCELLED_LOCALLY, call_back

_BY_ITERATOR = "The requests of an intercepted call come from its iterator."


class Link:
    """What one interceptor has come to.

    Attributes:
      call: What its newest continuation led to; None before.
    """

    call: Any = None


class _Ended:
    """All of `grpc.aio.Call` for what is over."""

    def __init__(self, error: BaseException | None) -> None:
        self._error = error

    def cancel(self) -> bool:
        return False

    def cancelled(self) -> bool:
        error = self._error
        if isinstance(error, AioRpcError):
            return error.code() is grpc.StatusCode.CANCELLED
        return isinstance(error, asyncio.CancelledError)

    def done(self) -> bool:
        return True

    def time_remaining(self) -> float | None:
        return None

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        call_back(callback, self)

    async def initial_metadata(self) -> Metadata:
        error = self._status()
        return (error and error.initial_metadata()) or Metadata()

    async def trailing_metadata(self) -> Metadata:
        error = self._status()
        return (error and error.trailing_metadata()) or Metadata()

    async def code(self) -> grpc.StatusCode:
        error = self._status()
        return error.code() if error is not None else grpc.StatusCode.OK

    async def details(self) -> str:
        error = self._status()
        return (error and error.details()) or ""

    async def debug_error_string(self) -> str:
        error = self._status()
        return (error and error.debug_error_string()) or ""

    async def wait_for_connection(self) -> None:
        if self._error is not None:
            raise self._error

    def _status(self) -> AioRpcError | None:
        """Return the error that has the status; an error that is no status is raised, as nobody else would see it."""
        error = self._error
        if isinstance(error, asyncio.CancelledError):
            return AioRpcError(grpc.StatusCode.CANCELLED, details=CANCELLED_LOCALLY)
        if error is None or isinstance(error, AioRpcError):
            return error
        raise error


class EndedCall(_Ended, grpc.aio.UnaryUnaryCall[Any, Any], grpc.aio.StreamUnaryCall[Any, Any]):
    """A call that ended before it began: with a response, or with an error.

    Args:
      error: What awaiting it raises; None for a response. An AioRpcError is also the call's status.
    """

    def __init__(self, response: Any, error: BaseException | None = None) -> None:
        super().__init__(error)
        self._response = response

    def __await__(self) -> Generator[Any, None, Any]:
        yield from ()
        if self._error is not None:
            raise self._error
        return self._response

    async def write(self, request: Any) -> None:
        raise UsageError(_BY_ITERATOR)

    async def done_writing(self) -> None:
        raise UsageError(_BY_ITERATOR)


class IteratedCall(grpc.aio.UnaryStreamCall[Any, Any], grpc.aio.StreamStreamCall[Any, Any]):
    """A call whose responses come from an interceptor's iterator.

    Its status is that of the newest call which the interceptor has made. While there is none, it is the iterator's
    own: OK at its end, or what it raises.

    Args:
      responses: What the interceptor returned.
      link: Its newest call.
    Raises:
      TypeError: `responses` is no async iterable.
    """

    def __init__(self, responses: AsyncIterable[Any], link: Link) -> None:
        self._responses = aiter(responses)
        self._link = link
        self._end: EndedCall | None = None
        self._over = asyncio.Event()
        self._callbacks: list[Callable[[Any], None]] = []
        self._reader: asyncio.Task[Any] | None = None
        self._interrupted = False

    # ---- responses

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        if self._end is not None:
            await self._end  # raises how it ended, unless well
            raise StopAsyncIteration
        self._reader = asyncio.current_task()
        try:
            return await anext(self._responses)
        except StopAsyncIteration:
            self._finish(None)
            raise
        except BaseException as error:
            if self._interrupted and self._reader is not None:
                self._reader.uncancel()
            self._finish(error)
            raise
        finally:
            self._reader = None

    async def read(self) -> Any:
        return await anext(self, EOF)

    async def write(self, request: Any) -> None:
        raise UsageError(_BY_ITERATOR)

    async def done_writing(self) -> None:
        raise UsageError(_BY_ITERATOR)

    def _finish(self, error: BaseException | None) -> None:
        self._end = EndedCall(None, error)
        self._over.set()
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            call_back(callback, self)

    # ---- the end

    def cancel(self) -> bool:
        """Cancel the newest call; without an open one, who waits for the iterator is woken by CancelledError."""
        if self._end is not None:
            return False
        call = self._link.call
        if call is not None and call.cancel():
            return True
        if self._reader is not None:
            self._interrupted = True
            return self._reader.cancel()
        if call is not None:
            return False
        self._interrupted = True
        self._finish(asyncio.CancelledError())
        return True

    def cancelled(self) -> bool:
        call = self._known()
        return call is not None and bool(call.cancelled())

    def done(self) -> bool:
        call = self._known()
        return call is not None and bool(call.done())

    def time_remaining(self) -> float | None:
        call = self._known()
        seconds: float | None = call.time_remaining() if call is not None else None
        return seconds

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        call = self._known()
        if call is None:
            self._callbacks.append(callback)
        else:
            call.add_done_callback(lambda _: callback(self))

    async def initial_metadata(self) -> Metadata:
        metadata: Metadata = await (await self._status()).initial_metadata()
        return metadata

    async def trailing_metadata(self) -> Metadata:
        metadata: Metadata = await (await self._status()).trailing_metadata()
        return metadata

    async def code(self) -> grpc.StatusCode:
        code: grpc.StatusCode = await (await self._status()).code()
        return code

    async def details(self) -> str:
        details: str = await (await self._status()).details()
        return details

    async def debug_error_string(self) -> str:
        text: str = await (await self._status()).debug_error_string()
        return text

    async def wait_for_connection(self) -> None:
        await (await self._status()).wait_for_connection()

    def _known(self) -> Any:
        """Return the call that has the status; None while there is none."""
        call = self._link.call
        return self._end if self._interrupted or call is None else call

    async def _status(self) -> Any:
        if self._known() is None:
            await self._over.wait()
        return self._known()
