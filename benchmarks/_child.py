"""What a child process of a benchmark does first and last: tie its life to its parent's, announce itself."""

import ctypes
import os
import signal
import socket
from typing import Any

import uvicorn

_PR_SET_PDEATHSIG = 1  # prctl(2)


def die_with_parent(number: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel kill this process when the one that started it ends, even if it is stopped then.

    Args:
      number: Of the signal: SIGTERM for one that has to end others first.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def announce(address: str) -> None:
    """Tell the parent that this process serves at `address`."""
    print(f"ready {address}", flush=True)


def serve(app: Any, *, keep_alive: int = 5) -> None:
    """Serve an ASGI app on a free port of 127.0.0.1: uvicorn, uvloop, httptools, no access log.

    Args:
      keep_alive: Seconds after which an idle connection is closed (uvicorn's own default). The time for which a
        server is suspended counts.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        config = uvicorn.Config(
            app,
            loop="uvloop",
            http="httptools",
            log_level="warning",
            access_log=False,
            timeout_keep_alive=keep_alive,
        )
        _AnnouncingServer(config).run(sockets=[listener])


class _AnnouncingServer(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            announce("http://{}:{}".format(*sockets[0].getsockname()[:2]))
