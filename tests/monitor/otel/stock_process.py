"""A stock service in a process of its own: `python -m tests.monitor.otel.stock_process COLLECTOR`.

It says its port, and ends when its standard input does.
"""

import asyncio
import sys
from typing import Any

import grpc

import hasten
import hasten.rpc
from hasten.monitor.otel import Otlp


async def reserve(request: bytes, context: Any) -> bytes:
    """Answer a call."""
    return b"reserved"


async def main(collector: str) -> None:
    """Serve until the standard input ends."""
    server = hasten.rpc.Server()
    server.add_registered_method_handlers("shop.Stock", {"Reserve": grpc.unary_unary_rpc_method_handler(reserve)})
    port = server.add_insecure_port("127.0.0.1:0")
    otlp = Otlp(collector, ratio=0.0)  # it records what its callers record
    async with hasten.monitoring(service="stock", watch=(server,), admin=None, otlp=otlp):
        await server.start()
        print(port, flush=True)
        await asyncio.to_thread(sys.stdin.read)
        await server.stop(None)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
