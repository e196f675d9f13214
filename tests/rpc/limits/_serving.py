"""A server whose connections a test may look into, and handlers that end only when the test says so."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable
from typing import Any, Self

import grpc

import hasten.rpc
from hasten.rpc.server._connection import ServerConnection

SAY = "/limits.Echo/Say"
"""Unary: answers with its request."""
HOLD = "/limits.Echo/Hold"
"""Unary: answers when the test releases it; cancelling it does not end it."""
READ = "/limits.Echo/Read"
"""A stream of requests, which is read when the test releases it; answers with the number of bytes."""
POUR = "/limits.Echo/Pour"
"""A stream of responses without end: as much as the peer takes."""
REPEAT = "/limits.Echo/Repeat"
"""Answers with one response: a byte times the number in the request."""
CHAT = "/limits.Echo/Chat"
"""Streams both ways: each request comes back."""
POURED = bytes(10_000)

Context = grpc.aio.ServicerContext[Any, Any]


async def until(condition: Callable[[], object]) -> None:
    """Let the loop turn until something is true; fail when that takes longer than a busy machine does."""
    async with asyncio.timeout(30.0):  # an alarm from outside is lost if it comes in a callback of the loop
        while not condition():
            await asyncio.sleep(0)


class Serving:
    """A server of the running loop: `async with Serving(concurrent_handlers=3) as serving`.

    Args:
      options: Of `hasten.rpc.Server`.
      limits: Of `hasten.rpc.Limits`.
    Attributes:
      begun, running: Handlers of HOLD that began, and that run now.
    """

    def __init__(self, options: dict[str, Any] | None = None, **limits: Any) -> None:
        self.begun = self.running = 0
        self._released = asyncio.Event()
        self.server = hasten.rpc.Server(limits=hasten.rpc.Limits(**limits), **(options or {}))
        self.server.add_registered_method_handlers(
            "limits.Echo",
            {
                "Say": grpc.unary_unary_rpc_method_handler(self._say),
                "Hold": grpc.unary_unary_rpc_method_handler(self._hold),
                "Read": grpc.stream_unary_rpc_method_handler(self._read),
                "Pour": grpc.unary_stream_rpc_method_handler(self._pour),
                "Repeat": grpc.unary_unary_rpc_method_handler(self._repeat),
                "Chat": grpc.stream_stream_rpc_method_handler(self._chat),
            },
        )
        self.port = self.server.add_insecure_port("127.0.0.1:0")

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def connections(self) -> list[ServerConnection]:
        return list(self.server._connections)

    @property
    def connection(self) -> ServerConnection:
        """The only connection there is."""
        (connection,) = self.server._connections
        return connection

    def release(self) -> None:
        """Let the handlers of HOLD and READ go on."""
        self._released.set()

    async def __aenter__(self) -> Self:
        await self.server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release()
        await self.server.stop(None)

    async def _say(self, request: bytes, context: Context) -> bytes:
        return request

    async def _hold(self, request: bytes, context: Context) -> bytes:
        self.begun += 1
        self.running += 1
        while not self._released.is_set():
            try:
                await self._released.wait()
            except asyncio.CancelledError:
                continue
        self.running -= 1
        return request

    async def _read(self, requests: AsyncIterable[bytes], context: Context) -> bytes:
        await self._released.wait()
        return b"%d" % sum([len(request) async for request in requests])

    async def _pour(self, request: bytes, context: Context) -> AsyncIterator[bytes]:
        while True:
            yield POURED

    async def _repeat(self, request: bytes, context: Context) -> bytes:
        return bytes(int(request))

    async def _chat(self, requests: AsyncIterable[bytes], context: Context) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request


async def say(channel: grpc.aio.Channel, request: bytes = b"hello") -> bytes:
    """Call SAY."""
    method: Any = channel.unary_unary(SAY)
    response: bytes = await method(request)
    return response


async def code_of(call: Any) -> tuple[grpc.StatusCode, str]:
    """Return how a call ended: its status and details."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or ""
    return grpc.StatusCode.OK, ""
