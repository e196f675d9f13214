"""The ledger and gRPC: waits are named by what is called and where, with no extra code."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from fastapi import FastAPI

from hasten import rpc
from hasten.ledger import Kind
from tests.ledger.serving import LoopFactory, ask


async def get(request: bytes, _: grpc.aio.ServicerContext[Any, Any]) -> bytes:
    return request


async def watch(request: bytes, _: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[bytes]:
    for _number in range(2):
        yield request


def make_app() -> FastAPI:
    """Return an app that calls a gRPC server which lives in the same loop."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        server = rpc.Server()
        server.add_registered_method_handlers(
            "shop.v1.Stock",
            {"Get": grpc.unary_unary_rpc_method_handler(get), "Watch": grpc.unary_stream_rpc_method_handler(watch)},
        )
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with rpc.Channel(f"127.0.0.1:{port}") as channel:
            await channel.channel_ready()
            app.state.get = channel.unary_unary("/shop.v1.Stock/Get")
            app.state.watch = channel.unary_stream("/shop.v1.Stock/Watch")
            yield
        await server.stop(None)

    app = FastAPI(lifespan=lifespan)

    @app.get("/unary/{key}")
    async def unary(key: str) -> int:
        first = await app.state.get(key.encode())
        second = await app.state.get(key.encode())
        return len(first + second)

    @app.get("/stream")
    async def stream() -> int:
        total = 0
        async for message in app.state.watch(b"x"):
            total += len(message)
        return total

    return app


def test_waits_have_the_name_of_what_is_called(loop_factory: LoopFactory) -> None:
    """A unary call and a stream stand at the user's lines as `rpc Service.Method → host`."""
    served = ask(make_app(), ["/unary/a", "/stream"], loop_factory)

    unary = [line for line in served.account("GET /unary/{key}").lines if line.kind is Kind.WAITING]
    assert {line.site.library.partition("127.0.0.1:")[0] for line in unary} == {"rpc Stock.Get → "}
    assert len({line.site.line for line in unary}) == 2
    stream = [line for line in served.account("GET /stream").lines if line.kind is Kind.WAITING]
    assert {line.site.library.partition("127.0.0.1:")[0] for line in stream} == {"rpc Stock.Watch → "}


def test_equal_requests_are_equal_calls(loop_factory: LoopFactory) -> None:
    """In detail mode the same request twice is one identity, another request another."""
    served = ask(make_app(), ["/unary/a", "/unary/b"], loop_factory)

    identities = [
        call.identity
        for account in served.accounts
        for call in account.calls
        if call.site.library.startswith("rpc Stock.Get")
    ]
    assert len(identities) == 4
    assert len(set(identities)) == 2
