"""The stacks that are tested against each other, each behind the same two functions."""

import contextlib
import enum
from collections.abc import AsyncIterator, Callable

import grpc.aio

import hasten.rpc

Registration = Callable[[grpc.aio.Server], object]


class Stack(enum.Enum):
    """A gRPC implementation with grpc.aio's interface."""

    GRPC_AIO = "grpc.aio"
    HASTEN = "hasten"


@contextlib.asynccontextmanager
async def serve(stack: Stack, *registrations: Registration) -> AsyncIterator[str]:
    """Serve what `registrations` add to a new server, on the running loop; yield its address."""
    server = _server(stack)
    for register in registrations:
        register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


@contextlib.asynccontextmanager
async def connect(stack: Stack, address: str) -> AsyncIterator[grpc.aio.Channel]:
    """Yield a new channel to `address`."""
    async with _channel(stack, address) as channel:
        yield channel


def _server(stack: Stack) -> grpc.aio.Server:
    return grpc.aio.server() if stack is Stack.GRPC_AIO else hasten.rpc.Server()


def _channel(stack: Stack, address: str) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(address) if stack is Stack.GRPC_AIO else hasten.rpc.Channel(address)
