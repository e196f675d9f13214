"""A service of all four call kinds on plain bytes, whose calls can be held open and whose handlers are counted."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

import hasten.rpc

HOLD = b"hold"
"""A request at which the handler waits for `release`."""
CANCEL = b"cancel"
"""A request at which the handler raises CancelledError."""
MANY = b"many"
"""A request that is answered without end, as far as the client takes it."""
CHUNK = bytes(256 * 1024)
SERVICE = "faults.Faults"

Context = grpc.aio.ServicerContext[Any, Any]
Call = Callable[[hasten.rpc.Channel, bytes], Coroutine[Any, Any, Any]]


class FaultService:
    """Answers with what it was sent.

    Attributes:
      begun, running, held, ended, cancelled: Handlers: that began, run now, wait at HOLD, came to their end, were
        cancelled.
    """

    def __init__(self) -> None:
        self.begun = self.running = self.held = self.ended = self.cancelled = 0
        self._released = asyncio.Event()
        self._changed = asyncio.Event()

    def register(self, server: grpc.aio.Server) -> None:
        """Add the service to a server."""
        server.add_registered_method_handlers(
            SERVICE,
            {
                "Unary": grpc.unary_unary_rpc_method_handler(self._unary),
                "Responses": grpc.unary_stream_rpc_method_handler(self._responses),
                "Requests": grpc.stream_unary_rpc_method_handler(self._requests),
                "Both": grpc.stream_stream_rpc_method_handler(self._both),
            },
        )

    async def until(self, condition: Callable[["FaultService"], bool]) -> None:
        """Wait until something is true of the service."""
        while not condition(self):
            self._changed.clear()
            await self._changed.wait()

    async def idle(self) -> None:
        """Wait until no handler runs."""
        await self.until(lambda service: service.running == 0)

    def release(self) -> None:
        """Let the held calls, and those that come, go on."""
        self._released.set()

    async def _unary(self, request: bytes, context: Context) -> bytes:
        with self._counted():
            return await self._answer(request)

    async def _responses(self, request: bytes, context: Context) -> AsyncIterator[bytes]:
        with self._counted():
            while request == MANY:
                yield CHUNK
            yield b"first"
            yield await self._answer(request)

    async def _requests(self, requests: AsyncIterable[bytes], context: Context) -> bytes:
        with self._counted():
            return b" ".join([await self._answer(request) async for request in requests])

    async def _both(self, requests: AsyncIterable[bytes], context: Context) -> AsyncIterator[bytes]:
        with self._counted():
            async for request in requests:
                yield await self._answer(request)

    async def _answer(self, request: bytes) -> bytes:
        if request == CANCEL:
            raise asyncio.CancelledError
        if request == HOLD:
            self._count(held=1)
            try:
                await self._released.wait()
            finally:
                self._count(held=-1)
        return request

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._count(begun=1, running=1)
        try:
            yield
        except BaseException as error:
            self._count(cancelled=isinstance(error, asyncio.CancelledError | GeneratorExit))
            raise
        else:
            self._count(ended=1)
        finally:
            self._count(running=-1)

    def _count(self, **changes: int) -> None:
        for name, change in changes.items():
            setattr(self, name, getattr(self, name) + change)
        self._changed.set()


async def unary(channel: hasten.rpc.Channel, request: bytes = b"first") -> Any:
    """Call the unary method; return its response."""
    return await channel.unary_unary(f"/{SERVICE}/Unary")(request)


async def responses(channel: hasten.rpc.Channel, request: bytes = b"first") -> Any:
    """Ask for a stream; return its last response."""
    answers = [answer async for answer in channel.unary_stream(f"/{SERVICE}/Responses")(request)]
    return answers[-1]


async def requests(channel: hasten.rpc.Channel, request: bytes = b"first") -> Any:
    """Send a stream of one; return the response."""
    return await channel.stream_unary(f"/{SERVICE}/Requests")(iter([request]))


async def both(channel: hasten.rpc.Channel, request: bytes = b"first") -> Any:
    """Send a stream of two; return the last response."""
    answers = [answer async for answer in channel.stream_stream(f"/{SERVICE}/Both")(iter([b"first", request]))]
    return answers[-1]


CALLS: dict[str, Call] = {"unary": unary, "responses": responses, "requests": requests, "both": both}
"""A call of each kind that ends with its request as the answer."""


class Serving:
    """A server of the running loop and its service: `async with Serving() as serving`.

    Attributes:
      service, server, port: What serves, and where on 127.0.0.1.
    """

    def __init__(self, port: int = 0, **options: Any) -> None:
        self.service = FaultService()
        self.server = hasten.rpc.Server(**options)
        self.service.register(self.server)
        self.port = self.server.add_insecure_port(f"127.0.0.1:{port}")

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def __aenter__(self) -> "Serving":
        await self.server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.stop(None)


async def code_of(call: Awaitable[Any]) -> grpc.StatusCode:
    """Return how a call ended."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK
