"""grpclib on uvloop, with its default configuration.

The service and the methods are what its protoc plugin would generate.
"""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvloop
from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.server import Server, Stream

from benchmarks._child import announce
from benchmarks.rpc._orders import TIMEOUT, TRACEPARENT, answer, traceparents
from benchmarks.rpc._stack import Caller, Place
from benchmarks.rpc.echo_pb2 import Order

_SAY, _SAY_IN_TIME = "/bench.Echo/Say", "/bench.Echo/SayInTime"


class GrpclibStack:
    """A `Stack` for TCP."""

    def serve(self, place: Place) -> None:
        """Serve on a free port."""
        uvloop.run(_serve())

    @asynccontextmanager
    async def calling(self, address: str, place: Place, in_flight: int) -> AsyncIterator[Caller]:
        """Yield a caller with one channel, which keeps one connection."""
        host, port = address.rsplit(":", 1)
        async with Channel(host, int(port)) as channel:
            say = UnaryUnaryMethod(channel, _SAY, Order, Order)
            say_in_time = UnaryUnaryMethod(channel, _SAY_IN_TIME, Order, Order)
            traceparent = traceparents()
            yield Caller(
                say, lambda order: say_in_time(order, timeout=TIMEOUT, metadata=((TRACEPARENT, traceparent()),))
            )


async def _serve() -> None:
    server = Server([_Echo()])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        await server.start(sock=listener)
        announce("{}:{}".format(*listener.getsockname()))
        await server.wait_closed()


class _Echo:
    async def say(self, stream: Stream[Order, Order]) -> None:
        order = await stream.recv_message()
        assert order is not None
        await stream.send_message(answer(order))

    async def say_in_time(self, stream: Stream[Order, Order]) -> None:
        if stream.deadline is None or not stream.metadata or TRACEPARENT not in stream.metadata:
            raise GRPCError(Status.INVALID_ARGUMENT, "no deadline or no traceparent")
        await self.say(stream)

    def __mapping__(self) -> dict[str, Any]:
        return {
            _SAY: Handler(self.say, Cardinality.UNARY_UNARY, Order, Order),
            _SAY_IN_TIME: Handler(self.say_in_time, Cardinality.UNARY_UNARY, Order, Order),
        }
