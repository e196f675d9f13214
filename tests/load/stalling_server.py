"""A program: an HTTP server that blocks its loop 0.5 s every 5 s, and keeps a record of it.

Prints its port, serves until its standard input ends, then prints the stalls as JSON: a list of [start, end]
in seconds of time.perf_counter, the clock that all processes of a system share on Linux and macOS.
"""

import asyncio
import json
import sys
import time

STALL = 0.5
EVERY = 5.0
FIRST = 2.0
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Answering(asyncio.Protocol):
    """Answers whatever comes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.write = transport.write

    def data_received(self, data: bytes) -> None:
        self.write(RESPONSE)


async def main() -> None:
    """Serve, stall, and report."""
    loop = asyncio.get_running_loop()
    stalls: list[tuple[float, float]] = []

    def stall() -> None:
        start = time.perf_counter()
        time.sleep(STALL)
        stalls.append((start, time.perf_counter()))
        loop.call_later(EVERY - STALL, stall)

    server = await loop.create_server(Answering, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    loop.call_later(FIRST, stall)
    ended = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()
    print(json.dumps(stalls), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
