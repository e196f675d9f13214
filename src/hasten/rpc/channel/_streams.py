"""The calls with streams, as users hold them: grpc.aio's three kinds over one `Exchange`."""

import asyncio
import weakref
from collections.abc import AsyncIterable, AsyncIterator, Callable, Generator, Iterable
from functools import partial
from typing import Any

import grpc
from grpc.aio import EOF, Metadata, UsageError

from hasten.rpc.channel._exchange import Exchange

_MIXED_STYLES = "The iterator and read/write APIs may not be mixed on a single RPC."
Requests = AsyncIterable[Any] | Iterable[Any] | None


class _Held:
    """What the three kinds share: all of `grpc.aio.Call`, by their exchange.

    A call that is dropped in mid-stream (a `break` in `async for`) is cancelled, so that the server stops sending.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def __del__(self) -> None:
        exchange = getattr(self, "_exchange", None)
        if exchange is not None:
            exchange.discard_later()

    @property
    def wait_name(self) -> str:
        return self._exchange.wait_name

    @property
    def wait_identity(self) -> str:
        return self._exchange.wait_identity

    def cancelled(self) -> bool:
        return self._exchange.cancelled()

    def done(self) -> bool:
        return self._exchange.done()

    def time_remaining(self) -> float | None:
        return self._exchange.time_remaining()

    def cancel(self) -> bool:
        return self._exchange.cancel()

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Call `callback` with this call when it is over; with another object for it when this one was dropped."""
        self._exchange.add_done_callback(partial(_tell, callback, weakref.ref(self), type(self)))

    async def initial_metadata(self) -> Metadata:
        return await self._exchange.initial_metadata()

    async def trailing_metadata(self) -> Metadata:
        return await self._exchange.trailing_metadata()

    async def code(self) -> grpc.StatusCode:
        return await self._exchange.code()

    async def details(self) -> str:
        return await self._exchange.details()

    async def debug_error_string(self) -> str:
        return await self._exchange.debug_error_string()

    async def wait_for_connection(self) -> None:
        await self._exchange.wait_for_connection()

    def __repr__(self) -> str:
        return repr(self._exchange).replace("Exchange", type(self).__name__, 1)


def _tell(
    callback: Callable[[Any], None], reference: "weakref.ref[_Held]", kind: type[_Held], exchange: Exchange
) -> None:
    callback(reference() or kind(exchange))


class _Responses(_Held):
    """Responses one by one: by `async for`, or by `read`."""

    _style = ""

    def done(self) -> bool:
        """Whether the call is over and its responses are read, as in grpc.aio."""
        return self._exchange.done() and not self._exchange.has_unread

    def __aiter__(self) -> AsyncIterator[Any]:
        self._use("iterator")
        return self._iterate()

    async def _iterate(self) -> AsyncIterator[Any]:
        while (response := await self._exchange.read()) is not EOF:
            yield response

    async def read(self) -> Any:
        """Return the next response, `grpc.aio.EOF` after the last."""
        if not self.done():
            self._use("read")
        return await self._exchange.read()

    def _use(self, style: str) -> None:
        if self._style not in {"", style}:
            raise UsageError(_MIXED_STYLES)
        self._style = style


class _Requests(_Held):
    """Requests one by one: by an iterator given, or by `write`."""

    def __init__(self, exchange: Exchange, requests: Requests = None) -> None:
        super().__init__(exchange)
        self._sender: asyncio.Task[None] | None = None
        if requests is not None:
            self._sender = asyncio.get_running_loop().create_task(_send_all(exchange, requests))
            exchange.add_done_callback(self._sender_callback())

    def _sender_callback(self) -> Callable[[Any], None]:
        sender = self._sender

        def stop(_: Any) -> None:
            if sender is not None and sender is not asyncio.current_task():
                sender.cancel()

        return stop

    async def write(self, request: Any) -> None:
        """Send a request; waits until the server takes it."""
        if self._sender is not None:
            raise UsageError(_MIXED_STYLES)
        await self._exchange.write(request)

    async def done_writing(self) -> None:
        """Tell the server that no more requests come."""
        if self._sender is not None:
            raise UsageError(_MIXED_STYLES)
        await self._exchange.end_requests()


async def _send_all(exchange: Exchange, requests: AsyncIterable[Any] | Iterable[Any]) -> None:
    """Send what an iterator gives; one that raises cancels the call."""
    try:
        if isinstance(requests, AsyncIterable):
            async for request in requests:
                await exchange.write(request)
        else:
            for request in requests:
                await exchange.write(request)
        await exchange.end_requests()
    except asyncio.InvalidStateError:
        return  # the call is over: its status says why
    except asyncio.CancelledError:
        if exchange.outcome is None:
            exchange.cancel()
        raise
    except Exception as error:
        if exchange.outcome is None:
            exchange.cancel()
        asyncio.get_running_loop().call_exception_handler(
            {"message": f"hasten.rpc: the requests of {exchange.method.path} raised", "exception": error}
        )


class UnaryStreamCall(_Responses, grpc.aio.UnaryStreamCall[Any, Any]):
    """One request, a stream of responses."""


class StreamUnaryCall(_Requests, grpc.aio.StreamUnaryCall[Any, Any]):
    """A stream of requests, one response; await it for that.

    Cancellation: cancelling who awaits it cancels the call.
    """

    _response: "asyncio.Task[Any] | None" = None

    def __await__(self) -> Generator[Any, None, Any]:
        if self._response is None:
            self._response = asyncio.get_running_loop().create_task(self._exchange.only_response())
        try:
            return (yield from self._response.__await__())
        except asyncio.CancelledError:
            self._exchange.cancel()  # the task may not have begun
            raise


class StreamStreamCall(_Requests, _Responses, grpc.aio.StreamStreamCall[Any, Any]):
    """A stream of requests, a stream of responses."""
