"""How a server accepts connections that have come while its loop was busy."""

import asyncio
import socket
from typing import Any

import pytest
import uvicorn

from hasten._serving import Ending, Server
from hasten.http import HttpProtocol
from tests.cache.running import run
from tests.conftest import LoopFactory
from tests.http.edge.serving import hello

WAITING = 24


class Quiet:
    """A watcher that says nothing."""

    def starting(self, server: Server) -> None: ...
    def started(self, server: Server) -> None: ...
    def ticked(self, server: Server) -> None: ...
    def draining(self) -> None: ...
    def said(self, line: str) -> None: ...


@pytest.mark.may_block
def test_several_in_a_pass(loop_factory: LoopFactory) -> None:
    """Of connections that wait a pass of the loop takes several: else a busy service leaves its clients unheard."""

    async def scenario() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        config: Any = uvicorn.Config(hello, http=HttpProtocol, lifespan="off", log_config=None)
        server = Server(config, Quiet(), name="test", ending=Ending(lame_duck=0.0))
        server.lifespan = config.lifespan_class(config)  # as uvicorn's `serve` does
        await server.startup([listener])
        clients = [socket.create_connection(listener.getsockname()) for _ in range(WAITING)]
        connections = server.server_state.connections
        passes = 0
        while len(connections) < WAITING:
            before = len(connections)
            await asyncio.sleep(0)
            passes += len(connections) > before
        assert passes <= WAITING / 6
        for client in clients:
            client.close()
        await server.shutdown()
        listener.close()

    run(loop_factory, scenario())
