"""A relay between a client and its server, which can go deaf, or close one direction of a connection."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Relay:
    """Passes bytes on, both ways, for any number of connections.

    Attributes:
      address: Where clients connect.
    """

    def __init__(self, server: str) -> None:
        self.address = ""
        self._server = server
        self._clients: list[asyncio.StreamWriter] = []
        self._servers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._passes = asyncio.Event()
        self._passes.set()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator["Relay"]:
        """Accept connections while the block runs."""
        listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            listener.close()
            for writer in (*self._clients, *self._servers):
                writer.transport.abort()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def freeze(self) -> None:
        """Pass nothing on, and read nothing, until `thaw`: a black hole whose connections stand."""
        self._passes.clear()

    def thaw(self) -> None:
        """Pass on again, what came in between too."""
        self._passes.set()

    def half_close_to_client(self) -> None:
        """Shut down the direction from server to client, as a server that sends no more."""
        self._clients[-1].write_eof()

    def half_close_to_server(self) -> None:
        """Shut down the direction from client to server, as a client that sends no more."""
        self._servers[-1].write_eof()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self._server.rpartition(":")
        server_reader, server_writer = await asyncio.open_connection(host, int(port))
        self._clients.append(writer)
        self._servers.append(server_writer)
        for pair in ((reader, server_writer), (server_reader, writer)):
            task = asyncio.create_task(self._pump(*pair))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                await self._passes.wait()
                data = await reader.read(1 << 16)
                await self._passes.wait()
                if not data or writer.transport.is_closing():
                    break
                writer.write(data)
                await writer.drain()
        writer.close()
