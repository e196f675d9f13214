"""A program: a gRPC server of grpc.aio that blocks its loop for 0.5 s once, and keeps a record of it.

Prints its port, serves until its standard input ends, then prints the stalls as JSON: a list of [start, end] in seconds
of time.perf_counter, the clock that all processes of a system share on Linux and macOS.
"""

import asyncio
import json
import sys
import time

import grpc

STALL = 0.5
FIRST = 2.0


async def answer(request: bytes, context: object) -> bytes:
    """Answer at once, with an empty message."""
    return b""


async def main() -> None:
    """Serve, stall, and report."""
    loop = asyncio.get_running_loop()
    stalls: list[tuple[float, float]] = []

    def stall() -> None:
        start = time.perf_counter()
        time.sleep(STALL)
        stalls.append((start, time.perf_counter()))

    server = grpc.aio.server()
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {"Get": grpc.unary_unary_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("shop.Stock", handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    loop.call_later(FIRST, stall)
    ended = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()
    await server.stop(None)
    print(json.dumps(stalls), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
