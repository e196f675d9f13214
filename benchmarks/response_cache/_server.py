"""Serves a subject by a protocol of uvicorn's that it names; all else is as in `benchmarks._child`."""

import asyncio
import socket
from typing import Any

import uvicorn

from benchmarks._child import announce

_KEEP_ALIVE = 24 * 3600  # a server is stopped for as long as the others have their turns


def serve(app: Any, protocol: type[asyncio.Protocol] | None = None) -> None:
    """Serve an app on a free port of 127.0.0.1: uvicorn, uvloop, no access log.

    Args:
      protocol: None is uvicorn's own over httptools.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        config = uvicorn.Config(
            app,
            loop="uvloop",
            http=protocol or "httptools",
            log_level="warning",
            access_log=False,
            timeout_keep_alive=_KEEP_ALIVE,
        )
        _Server(config).run(sockets=[listener])


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            announce("http://{}:{}".format(*sockets[0].getsockname()[:2]))
