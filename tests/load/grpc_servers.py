"""Servers of grpc.aio that answer, or misbehave, exactly as a test asks; they live in the test's own loop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from hasten.rpc.schema import Schema
from tests.rpc.schema.servers import FILES, reflection

Behaviour = Callable[[Any, Any], Awaitable[Any]]
"""Takes a shop.Query and the call's context, returns a shop.Level."""

SCHEMA = Schema(FILES)
Level: Any = SCHEMA.method("shop.Stock/Get").response


async def found(query: Any, context: Any) -> Any:
    """Answer at once."""
    return Level(product_id=query.product_id, in_stock=3)


async def never(query: Any, context: Any) -> Any:
    """Answer after the client has given up."""
    await asyncio.Event().wait()


def aborting(code: grpc.StatusCode) -> Behaviour:
    """Return what ends every call with this status."""

    async def abort(query: Any, context: Any) -> Any:
        await context.abort(code, "as asked")

    return abort


def noting(seen: list[Any], metadata: list[dict[str, Any]] | None = None) -> Behaviour:
    """Return what answers at once, and notes the requests, and what came with them."""

    async def note(query: Any, context: Any) -> Any:
        seen.append(query)
        if metadata is not None:
            metadata.append(dict(context.invocation_metadata() or ()))
        return Level()

    return note


def stock_service(behaviour: Behaviour) -> grpc.GenericRpcHandler:
    """Return shop.Stock, each of whose methods does what `behaviour` does; Watch yields it three times."""

    async def watch(query: Any, context: Any) -> AsyncIterator[Any]:
        for _ in range(3):
            yield await behaviour(query, context)

    get, find = SCHEMA.method("shop.Stock/Get"), SCHEMA.method("shop.Stock/Find")
    serialize = Level.SerializeToString
    handlers = {
        "Get": grpc.unary_unary_rpc_method_handler(
            behaviour, request_deserializer=get.request.FromString, response_serializer=serialize
        ),
        "Find": grpc.unary_unary_rpc_method_handler(
            behaviour, request_deserializer=find.request.FromString, response_serializer=serialize
        ),
        "Watch": grpc.unary_stream_rpc_method_handler(
            watch, request_deserializer=get.request.FromString, response_serializer=serialize
        ),
    }
    return grpc.method_handlers_generic_handler("shop.Stock", handlers)


@contextlib.asynccontextmanager
async def serving_grpc(
    behaviour: Behaviour, *, reflecting: bool = True, tls: grpc.ServerCredentials | None = None
) -> AsyncIterator[str]:
    """Serve shop.Stock; yield the server's URL."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([stock_service(behaviour)])
    if reflecting:
        server.add_generic_rpc_handlers([reflection(FILES)])
    address = "127.0.0.1:0"
    port = server.add_secure_port(address, tls) if tls else server.add_insecure_port(address)
    await server.start()
    try:
        yield f"{'grpcs' if tls else 'grpc'}://127.0.0.1:{port}"
    finally:
        await server.stop(None)
