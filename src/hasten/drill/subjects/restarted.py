"""A service whose answers take 20 ms, so that some are always under way when it is restarted.

`HASTEN_DRILL_GRPC` is the port of gRPC, which all its workers share; empty for none. With `HASTEN_DRILL_PEER=1` that is
served by grpc.aio.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any

from hasten.drill._calling import SERVICE
from hasten.drill.subjects._app import App

_TAKES = 0.02  # seconds
_GRACE = 5.0  # seconds for calls under way at the end


async def by_http(query: str) -> tuple[int, Any]:
    """Answer a request."""
    await asyncio.sleep(_TAKES)
    return 200, b"done"


async def by_grpc(request: bytes, context: Any) -> bytes:
    """Answer a call."""
    await asyncio.sleep(_TAKES)
    return b"done"


@asynccontextmanager
async def _grpc_server(port: int, *, peer: bool) -> AsyncIterator[None]:
    import grpc

    from hasten.rpc import Server

    handlers: dict[str, Any] = {"Work": grpc.unary_unary_rpc_method_handler(by_grpc)}
    server = grpc.aio.server() if peer else Server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield
    finally:
        await server.stop(_GRACE)


def _living() -> AbstractAsyncContextManager[None]:
    port = int(os.environ.get("HASTEN_DRILL_GRPC") or 0)
    return _grpc_server(port, peer=os.environ.get("HASTEN_DRILL_PEER") == "1") if port else nullcontext()


app = App({"/work": by_http}, _living)
