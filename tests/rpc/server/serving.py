"""A server of either stack with the handlers that a test gives, and the stock client for it."""

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest

from hasten import rpc

Context = Any
Handler = Callable[..., Any]
SERVICE = "test.Service"

both_stacks = pytest.mark.parametrize("make_server", [grpc.aio.server, rpc.Server], ids=["grpc.aio", "hasten"])


class Stub:
    """The four kinds of call of one service, with bytes for messages."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.unary: Any = channel.unary_unary(f"/{SERVICE}/Unary")
        self.responses: Any = channel.unary_stream(f"/{SERVICE}/Responses")
        self.requests: Any = channel.stream_unary(f"/{SERVICE}/Requests")
        self.both: Any = channel.stream_stream(f"/{SERVICE}/Both")


@contextlib.asynccontextmanager
async def serving(
    make_server: Callable[..., grpc.aio.Server],
    *,
    unary: Handler | None = None,
    responses: Handler | None = None,
    requests: Handler | None = None,
    both: Handler | None = None,
    **options: Any,
) -> AsyncIterator[Stub]:
    """Serve the given handlers, and yield a stub on grpc.aio's client."""
    server = make_server(**options)
    handlers: dict[str, Any] = {
        "Unary": unary and grpc.unary_unary_rpc_method_handler(unary),
        "Responses": responses and grpc.unary_stream_rpc_method_handler(responses),
        "Requests": requests and grpc.stream_unary_rpc_method_handler(requests),
        "Both": both and grpc.stream_stream_rpc_method_handler(both),
    }
    given = {name: handler for name, handler in handlers.items() if handler}
    server.add_registered_method_handlers(SERVICE, given)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Stub(channel)
    finally:
        await server.stop(None)


async def failure(call: Any) -> grpc.aio.AioRpcError:
    """Return the error with which a call ends."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value
