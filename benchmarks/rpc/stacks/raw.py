"""The limit: messages with a length before them over asyncio.Protocol on uvloop, a task for each call, no HTTP/2.

A frame is length, number of the call and kind; a call in time has its timeout and traceparent before the message.
They are sent and read, and nobody enforces them: this is what carrying the bytes costs.
"""

import asyncio
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import cast

import uvloop

from benchmarks._child import announce
from benchmarks.rpc._orders import TIMEOUT, answer, traceparents
from benchmarks.rpc._stack import Caller, Place
from benchmarks.rpc.echo_pb2 import Order

_FRAME = struct.Struct(">IIB")
_IN_TIME = struct.Struct(">I55s")  # milliseconds, traceparent
_PLAIN_KIND, _IN_TIME_KIND = 0, 1
_NUMBERS = 2**32


class RawStack:
    """A `Stack` for TCP."""

    def serve(self, place: Place) -> None:
        """Serve on a free port."""
        uvloop.run(_serve())

    @asynccontextmanager
    async def calling(self, address: str, place: Place, in_flight: int) -> AsyncIterator[Caller]:
        """Yield a caller with one connection."""
        host, port = address.rsplit(":", 1)
        _, client = await asyncio.get_running_loop().create_connection(_Client, host, int(port))
        traceparent = traceparents()
        milliseconds = int(TIMEOUT * 1000)

        def say_in_time(order: Order) -> asyncio.Future[Order]:
            return client.call(order, _IN_TIME_KIND, _IN_TIME.pack(milliseconds, traceparent().encode()))

        yield Caller(lambda order: client.call(order, _PLAIN_KIND, b""), say_in_time)
        client.transport.close()


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Server, "127.0.0.1", 0)
    announce("{}:{}".format(*server.sockets[0].getsockname()))
    await server.serve_forever()


class _Frames(asyncio.Protocol):
    """Cuts what arrives into frames."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def frames(self, data: bytes) -> Iterator[tuple[int, int, bytes]]:
        """Yield number, kind and body of each frame that is complete."""
        data = self._rest + data if self._rest else data
        at = 0
        while len(data) - at >= _FRAME.size:
            length, number, kind = _FRAME.unpack_from(data, at)
            end = at + _FRAME.size + length
            if end > len(data):
                break
            yield number, kind, data[at + _FRAME.size : end]
            at = end
        self._rest = data[at:]

    def send(self, number: int, kind: int, body: bytes) -> None:
        self.transport.write(_FRAME.pack(len(body), number, kind) + body)


class _Server(_Frames):
    def __init__(self) -> None:
        super().__init__()
        self._create_task = asyncio.get_running_loop().create_task
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def data_received(self, data: bytes) -> None:
        for number, kind, body in self.frames(data):
            if kind == _IN_TIME_KIND:
                _IN_TIME.unpack_from(body)  # read, and of no use to this handler
                body = body[_IN_TIME.size :]
            self._tasks[number] = self._create_task(self._answer(number, Order.FromString(body)))

    async def _answer(self, number: int, order: Order) -> None:
        reply = await _handle(order)
        self.send(number, _PLAIN_KIND, reply.SerializeToString())
        del self._tasks[number]


async def _handle(order: Order) -> Order:
    return answer(order)


class _Client(_Frames):
    def __init__(self) -> None:
        super().__init__()
        self._create_future = asyncio.get_running_loop().create_future
        self._waiting: dict[int, asyncio.Future[Order]] = {}
        self._number = 0

    def call(self, order: Order, kind: int, before: bytes) -> asyncio.Future[Order]:
        """Send a message with what goes before it; return the future of its reply."""
        self._number = number = (self._number + 1) % _NUMBERS
        self._waiting[number] = reply = self._create_future()
        self.send(number, kind, before + order.SerializeToString())
        return reply

    def data_received(self, data: bytes) -> None:
        for number, _, body in self.frames(data):
            self._waiting.pop(number).set_result(Order.FromString(body))

    def connection_lost(self, exc: Exception | None) -> None:
        for waiting in self._waiting.values():
            waiting.set_exception(exc or ConnectionResetError("the server closed the connection"))
