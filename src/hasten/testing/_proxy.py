"""A TCP proxy that breaks connections as networks and servers do: for tests, and for `hasten drill`.

    async with FaultProxy("127.0.0.1:6379") as proxy:
        client = Redis.from_url(f"redis://{proxy.address}")
        await proxy.inject(Faults(latency=0.2, jitter=0.05))   # for connections that are open, too
        await proxy.inject(Faults(stopped=True))
        proxy.reset()

What it cannot do is keep a connection from being made without a word: its kernel answers SYN. For that it takes a
network namespace of its own.
"""

import asyncio
import contextlib
import random
import socket
import struct
from types import TracebackType
from typing import Self

from hasten._core.errors import ConfigurationError
from hasten.testing._faults import NO_FAULTS, Direction, Faults
from hasten.testing._pipe import PIECE_BYTES, Pipe

_AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER for 0 seconds: closing sends RST (socket(7))
_HOST = "127.0.0.1"


class FaultProxy:
    """Listens on 127.0.0.1 and passes connections on, with faults.

    Args:
      target: `host:port` to which they go.
      port: To listen on; 0 takes a free one.
      seed: Of the jitter.
    Raises:
      ConfigurationError: the target is no address.

    Attributes:
      faults: Now.
      connections: Accepted so far.
      passed_bytes: So far, of both directions of all connections.
    """

    def __init__(self, target: str, *, port: int = 0, seed: int = 1) -> None:
        host, _, number = target.rpartition(":")
        if not host or not number.isdecimal():
            raise ConfigurationError(f"FaultProxy({target!r})", "no address", "for example 127.0.0.1:6379")
        self.faults = NO_FAULTS
        self.connections = 0
        self.passed_bytes = 0
        self.chance = random.Random(seed).random
        self._target = host.strip("[]"), int(number)
        self._port = port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._links: set[tuple[Link, Link]] = set()
        self._changed = asyncio.Event()

    # ---- its life

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Listen no more, and cut all connections."""
        self._stop_listening()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def address(self) -> str:
        """Where it listens, `127.0.0.1:40001`."""
        return f"{_HOST}:{self._port}"

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, _HOST, self._port, limit=PIECE_BYTES)
            self._port = self._server.sockets[0].getsockname()[1]

    def _stop_listening(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()

    # ---- faults

    async def inject(self, faults: Faults = NO_FAULTS) -> None:
        """Have these faults from now on, for connections that are open, too; without an argument none."""
        self.faults = faults
        if faults.refused:
            self._stop_listening()
        else:
            await self._listen()
        self._changed.set()
        self._changed = asyncio.Event()

    async def change(self) -> None:
        """Wait until there are other faults."""
        await self._changed.wait()

    def reset(self) -> None:
        """Cut all connections that are open, on both sides, with RST."""
        for ends in self._links:
            for _, writer in ends:
                _cut(writer)

    def half_close(self, direction: Direction = "down") -> None:
        """Tell one side of each open connection that no more comes, and go on in the other direction."""
        for client, server in self._links:
            for (_, writer), towards in ((server, "up"), (client, "down")):
                if direction in ("both", towards) and not writer.is_closing():
                    writer.write_eof()

    # ---- connections

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Begin a task of our own: of one that `start_server` makes Python 3.11 asks the error, cancelled or not."""
        self.connections += 1
        task = asyncio.get_running_loop().create_task(self._link((reader, writer)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _link(self, client: "Link") -> None:
        try:
            server = await asyncio.open_connection(*self._target, limit=PIECE_BYTES)
        except OSError:
            _cut(client[1])
            return
        ends = client, server
        self._links.add(ends)
        try:
            await self._pass(client, server)
        except* OSError:
            for _, end in ends:
                _cut(end)
        finally:
            self._links.discard(ends)
            for _, end in ends:
                end.close()

    async def _pass(self, client: "Link", server: "Link") -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(Pipe(client[0], server[1], self, "up").run())
            group.create_task(Pipe(server[0], client[1], self, "down").run())


Link = tuple[asyncio.StreamReader, asyncio.StreamWriter]
"""One end of a connection."""


def _cut(writer: asyncio.StreamWriter) -> None:
    """Close a connection with RST."""
    transport = writer.transport
    if not transport.is_closing():  # its socket has gone then, and uvloop says so by errors of its own
        with contextlib.suppress(OSError):
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    transport.abort()
