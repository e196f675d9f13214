"""The ten awaits of the `ten` route: round trips to a process that echoes fixed-size messages.

A lean protocol with one future a request and one connection for all, as good drivers have, so that the share
of the route's time that is not the ledger's is as small as real I/O allows: the budgets bite hardest there.
No server has to be installed. `python -m benchmarks.ledger._echo` is the echoing process.
"""

import asyncio
from collections import deque
from typing import cast

import uvloop

from benchmarks._child import announce, die_with_parent

ROUND_TRIPS = 10
_MESSAGE = b"0123456789abcdef"


class EchoClient(asyncio.Protocol):
    """One connection that any number of requests share; answers come in the order of the questions."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._unread = 0

    @classmethod
    async def connect(cls, address: str) -> "EchoClient":
        """Connect to `host:port`."""
        host, port = address.rsplit(":", 1)
        _, client = await asyncio.get_running_loop().create_connection(cls, host, int(port))
        return client

    async def round_trip(self) -> None:
        """Send one message and wait until it has come back; it always suspends."""
        assert self._transport is not None
        answered = asyncio.get_running_loop().create_future()
        self._waiting.append(answered)
        self._transport.write(_MESSAGE)
        await answered

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        self._unread += len(data)
        while self._unread >= len(_MESSAGE):
            self._unread -= len(_MESSAGE)
            answered = self._waiting.popleft()
            if not answered.done():
                answered.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_exception(exc or ConnectionResetError("the echo process closed the connection"))

    def close(self) -> None:
        """Close the connection."""
        assert self._transport is not None
        self._transport.close()


class _Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)


async def _echo() -> None:
    server = await asyncio.get_running_loop().create_server(_Echo, "127.0.0.1", 0)
    announce("{}:{}".format(*server.sockets[0].getsockname()))
    await server.serve_forever()


if __name__ == "__main__":
    die_with_parent()
    uvloop.run(_echo())
