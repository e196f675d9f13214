"""A server of either stack with the handlers that a test gives, and the stock client for it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
import pytest

from hasten import rpc
from tests.conftest import LoopFactory

Context = Any
Handler = Callable[..., Any]
MakeServer = Callable[..., grpc.aio.Server]
MakeChannel = Callable[[str], grpc.aio.Channel]
Pairs = tuple[tuple[str, str | bytes], ...]
Value = TypeVar("Value")
SERVICE = "test.Service"
UNARY, RESPONSES, REQUESTS, BOTH = (f"/{SERVICE}/{name}" for name in ("Unary", "Responses", "Requests", "Both"))

both_stacks = pytest.mark.parametrize("make_server", [grpc.aio.server, rpc.Server], ids=["grpc.aio", "hasten"])
both_clients = pytest.mark.parametrize(
    "connect", [grpc.aio.insecure_channel, rpc.Channel], ids=["grpc.aio-client", "hasten-client"]
)


class Stub:
    """The four kinds of call of one service, with bytes for messages."""

    def __init__(self, channel: grpc.aio.Channel, server: grpc.aio.Server) -> None:
        self.channel = channel
        self.server = server
        self.unary: Any = channel.unary_unary(UNARY)
        self.responses: Any = channel.unary_stream(RESPONSES)
        self.requests: Any = channel.stream_unary(REQUESTS)
        self.both: Any = channel.stream_stream(BOTH)


def handlers_of(
    *,
    unary: Handler | None = None,
    responses: Handler | None = None,
    requests: Handler | None = None,
    both: Handler | None = None,
    deserialize: Handler | None = None,
    serialize: Handler | None = None,
) -> dict[str, Any]:
    """Return the service's method handlers, of those that are given."""
    made: dict[str, Any] = {
        "Unary": unary and grpc.unary_unary_rpc_method_handler(unary, deserialize, serialize),
        "Responses": responses and grpc.unary_stream_rpc_method_handler(responses, deserialize, serialize),
        "Requests": requests and grpc.stream_unary_rpc_method_handler(requests, deserialize, serialize),
        "Both": both and grpc.stream_stream_rpc_method_handler(both, deserialize, serialize),
    }
    return {name: handler for name, handler in made.items() if handler}


@contextlib.asynccontextmanager
async def serving(
    make_server: MakeServer,
    *,
    unary: Handler | None = None,
    responses: Handler | None = None,
    requests: Handler | None = None,
    both: Handler | None = None,
    deserialize: Handler | None = None,
    serialize: Handler | None = None,
    connect: MakeChannel = grpc.aio.insecure_channel,
    **options: Any,
) -> AsyncIterator[Stub]:
    """Serve the given handlers, and yield a stub; by default on grpc.aio's client."""
    server = make_server(**options)
    handlers = handlers_of(
        unary=unary,
        responses=responses,
        requests=requests,
        both=both,
        deserialize=deserialize,
        serialize=serialize,
    )
    server.add_registered_method_handlers(SERVICE, handlers)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with connect(f"127.0.0.1:{port}") as channel:
            yield Stub(channel, server)
    finally:
        await server.stop(None)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a call ended, with all that the client got."""

    code: grpc.StatusCode = grpc.StatusCode.OK
    details: str = ""
    responses: tuple[bytes, ...] = ()
    initial: Pairs = ()
    trailing: Pairs = ()


async def ending(call: Any) -> Ending:
    """Take all that a call of any kind answers, and return how it ended."""
    responses = []
    with contextlib.suppress(grpc.aio.AioRpcError):
        if hasattr(call, "__aiter__"):
            async for response in call:
                responses.append(response)  # noqa: PERF401 (a comprehension would lose what came before a failure)
        else:
            responses.append(await call)
    initial, trailing = await call.initial_metadata(), await call.trailing_metadata()
    return Ending(await call.code(), await call.details(), tuple(responses), tuple(initial), tuple(trailing))


def ending_of(make_server: MakeServer, loop_factory: LoopFactory, call: Callable[[Stub], Any], **served: Any) -> Ending:
    """Serve `served`, make one call, and return how it ended."""

    async def conversation() -> Ending:
        async with serving(make_server, **served) as stub:
            return await ending(call(stub))

    return run(conversation(), loop_factory)


async def failure(call: Any) -> grpc.aio.AioRpcError:
    """Return the error with which a call ends."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


def run(coroutine: Coroutine[Any, Any, Value], loop_factory: LoopFactory) -> Value:
    """Run a coroutine to its end on a new loop."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(coroutine)
