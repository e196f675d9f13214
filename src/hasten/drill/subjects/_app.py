"""A small ASGI app: a function for each path, and what lives with it; and a gRPC server that may be that."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import msgspec

from hasten.drill._calling import SERVICE

Answer = Callable[[str], Awaitable[tuple[int, Any]]]
"""Takes the query, and returns the status and what is sent as JSON, or as it is where it is bytes."""


class App:
    """Answers requests.

    Args:
      routes: By path.
      living: Around its life.
    """

    def __init__(
        self, routes: Mapping[str, Answer], living: Callable[[], AbstractAsyncContextManager[object]] | None = None
    ) -> None:
        self._routes = routes
        self._living = living

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Take part in one connection, as an ASGI app."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            route = self._routes.get(scope["path"], _unknown)
            status, said = await route(scope["query_string"].decode())
            body = said if isinstance(said, bytes) else msgspec.json.encode(said)
            fields = [(b"content-length", b"%d" % len(body))]
            await send({"type": "http.response.start", "status": status, "headers": fields})
            await send({"type": "http.response.body", "body": body})

    async def _live(self, receive: Any, send: Any) -> None:
        await receive()
        if self._living is None:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        else:
            async with self._living():
                await send({"type": "lifespan.startup.complete"})
                await receive()
        await send({"type": "lifespan.shutdown.complete"})


async def _unknown(query: str) -> tuple[int, Any]:
    return 404, b""


@asynccontextmanager
async def grpc_server(work: Callable[[bytes, Any], Awaitable[bytes]], *, peer: bool = False) -> AsyncIterator[str]:
    """Serve the method `Work` on a free port while the block runs, and return its address.

    Args:
      peer: By grpc.aio, not by hasten.rpc.
    """
    import grpc

    from hasten.rpc import Server

    handlers: dict[str, Any] = {"Work": grpc.unary_unary_rpc_method_handler(work)}
    server = grpc.aio.server() if peer else Server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)
