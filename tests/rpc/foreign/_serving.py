"""hasten's side: a server with the official interoperability service, and channels."""

import contextlib
from collections.abc import AsyncIterator

import grpc.aio

from tests.rpc.interop._servicer import InteropServicer
from tests.rpc.interop._stacks import Registration, Stack, connect, serve


@contextlib.asynccontextmanager
async def serving(*registrations: Registration, servicer: InteropServicer | None = None) -> AsyncIterator[int]:
    """Serve the interoperability service, and what else `registrations` add; yield the port.

    At the end of the block no handler runs any more, as must come to pass after every call.
    """
    servicer = servicer or InteropServicer()
    async with serve(Stack.HASTEN, servicer.register, *registrations) as address:
        yield int(address.rpartition(":")[2])
        await servicer.idle()


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[grpc.aio.Channel]:
    """Yield a channel to a peer on this machine."""
    async with connect(Stack.HASTEN, f"127.0.0.1:{port}") as channel:
        yield channel
