"""The service behind grpc.aio's API: generated code, one servicer, one stub, whoever carries the calls.

grpc.aio and hasten differ in what `Parts` holds and in nothing else.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio
import uvloop

from benchmarks._child import announce
from benchmarks.rpc._orders import TIMEOUT, TRACEPARENT, answer, traceparents
from benchmarks.rpc._stack import Caller, Place, Transport
from benchmarks.rpc.echo_pb2 import Order
from benchmarks.rpc.echo_pb2_grpc import EchoServicer, EchoStub, add_EchoServicer_to_server


@dataclass(frozen=True, slots=True)
class Parts:
    """What stands in the place of grpc.aio.

    Attributes:
      server: As `grpc.aio.server`.
      insecure_channel: As `grpc.aio.insecure_channel`.
      secure_channel: The same with TLS; the certificate in the folder is the CA to trust.
      server_credentials: What `add_secure_port` takes, from the certificate and key in the folder.
    """

    server: Callable[[], grpc.aio.Server]
    insecure_channel: Callable[[str], grpc.aio.Channel]
    secure_channel: Callable[[str, Path], grpc.aio.Channel]
    server_credentials: Callable[[Path], Any]


class GrpcStack:
    """A `Stack` made of parts."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def serve(self, place: Place) -> None:
        """Serve on a free port, or on a unix socket."""
        uvloop.run(self._serve(place))

    async def _serve(self, place: Place) -> None:
        server = self._parts.server()
        add_EchoServicer_to_server(Servicer(), server)
        address = self._bind(server, place)
        await server.start()
        announce(address)
        await server.wait_for_termination()

    def _bind(self, server: grpc.aio.Server, place: Place) -> str:
        if place.transport is Transport.UNIX:
            address = f"unix:{place.folder / 'echo.sock'}"
            server.add_insecure_port(address)
            return address
        if place.transport is Transport.TLS:
            port = server.add_secure_port("127.0.0.1:0", self._parts.server_credentials(place.folder))
        else:
            port = server.add_insecure_port("127.0.0.1:0")
        return f"127.0.0.1:{port}"

    @asynccontextmanager
    async def calling(self, address: str, place: Place, in_flight: int) -> AsyncIterator[Caller]:
        """Yield a caller with one channel, which keeps one connection."""
        async with self._channel(address, place) as channel:
            stub = EchoStub(channel)
            traceparent = traceparents()

            def say_in_time(order: Order) -> grpc.aio.UnaryUnaryCall[Order, Order]:
                return stub.SayInTime(order, timeout=TIMEOUT, metadata=((TRACEPARENT, traceparent()),))

            yield Caller(stub.Say, say_in_time)

    def _channel(self, address: str, place: Place) -> grpc.aio.Channel:
        if place.transport is Transport.TLS:
            return self._parts.secure_channel(address, place.folder)
        return self._parts.insecure_channel(address)


class Servicer(EchoServicer):
    """The handlers."""

    async def Say(self, request: Order, context: grpc.aio.ServicerContext[Order, Order]) -> Order:  # noqa: N802
        return answer(request)

    async def SayInTime(  # noqa: N802
        self, request: Order, context: grpc.aio.ServicerContext[Order, Order]
    ) -> Order:
        if context.time_remaining() is None or TRACEPARENT not in dict(context.invocation_metadata() or ()):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no deadline or no traceparent")
        return answer(request)

    async def Hold(self, request: Order, context: grpc.aio.ServicerContext[Order, Order]) -> Order:  # noqa: N802
        await context.send_initial_metadata(())
        await asyncio.get_running_loop().create_future()
        return request
