"""A server with one app in it: `python -m benchmarks.resilience._server SUBJECT`.

Each in one process, by uvloop, without an access log, as its documentation says. Commands (`hasten run`, `granian`) are
children of this process, which then has none of the work.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Self

import uvloop

from benchmarks._child import announce, die_with_parent
from benchmarks._processes import PinnedProcess, process_cpu_seconds
from benchmarks.resilience._app import PATH, app, bare

_READY_TIMEOUT = 20.0
_KEEP_ALIVE = 24 * 3600  # seconds; a server is stopped for as long as the others have their turns
_HASTEN = ("hasten", "run", "benchmarks.resilience._app:app")
_GRANIAN = (
    "granian", "--factory", "benchmarks.resilience._app:app_that_dies_with_its_server", "--interface", "asgi",
    "--loop", "uvloop", "--http", "1", "--no-ws", "--log-level", "warning",
)  # fmt: skip


class Service(PinnedProcess):
    """The server of a subject, seen from the benchmark; stopped while others have their turn.

    Attributes:
      address: `http://host:port`.
      server_pid: Of the process that serves; `pid` is that of the one which minds it, or the same.
    """

    def __init__(self, subject: str, core: int, module: str = "_server") -> None:
        command = [sys.executable, "-m", f"benchmarks.resilience.{module}", subject]
        super().__init__(f"server of subject {subject!r}", command, core)
        self.server_pid = 0

    def __enter__(self) -> Self:
        """Start it."""
        super().__enter__()
        self.address, pid = self.address.split()
        self.server_pid = int(pid)
        return self

    def cpu_seconds(self) -> float:
        """Return those of the process that serves."""
        return process_cpu_seconds(self.server_pid)

    def suspend(self) -> None:
        """Stop both processes."""
        super().suspend()
        os.kill(self.server_pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let both go on."""
        os.kill(self.server_pid, signal.SIGCONT)
        super().resume()


def announce_listener(listener: socket.socket) -> None:
    """Tell the parent that this process serves there."""
    announce("http://{}:{} {}".format(*listener.getsockname()[:2], os.getpid()))


# ---- uvicorn


def serve_by_uvicorn(app: Any, **options: Any) -> None:
    """Serve an app by uvicorn.

    Args:
      options: Of uvicorn, beside its best.
    """
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started and sockets:
                announce_listener(sockets[0])

    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        options = {"http": "httptools", "log_level": "warning", **options}
        config = uvicorn.Config(app, loop="uvloop", access_log=False, timeout_keep_alive=_KEEP_ALIVE, **options)
        Server(config).run(sockets=[listener])


# ---- hypercorn


def _hypercorn() -> None:
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    announce_listener(listener)  # who connects now waits until it serves
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]  # which it closes
    config.loglevel = "warning"
    config.keep_alive_timeout = _KEEP_ALIVE
    uvloop.run(serve(app, config))  # type: ignore[arg-type]


# ---- commands


def _run(*command: str) -> None:
    """Run a command of Python's with the port at its end, and announce the process of it that serves."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    started = [sys.executable, "-m", *command, "--port", port]
    server = subprocess.Popen(started, stdout=subprocess.DEVNULL, preexec_fn=die_with_parent)
    serving = server.pid
    try:
        _await_answer(f"http://127.0.0.1:{port}{PATH}", server)
        serving = _serving(server.pid)
        announce(f"http://127.0.0.1:{port} {serving}")
        server.wait()
    except KeyboardInterrupt:
        pass
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(serving, signal.SIGCONT)
        server.terminate()
        server.wait()


def _await_answer(url: str, server: "subprocess.Popen[bytes]") -> None:
    give_up = time.monotonic() + _READY_TIMEOUT
    while True:
        try:
            urllib.request.urlopen(url, timeout=_READY_TIMEOUT).close()
            return
        except OSError:
            if time.monotonic() > give_up or server.poll() is not None:
                raise
            time.sleep(0.01)


def _serving(pid: int) -> int:
    """Return the worker of a supervisor, which has one; a process without children serves itself."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else pid


SERVERS: dict[str, Callable[[], None]] = {
    "limit": partial(serve_by_uvicorn, bare),
    "hasten-run": partial(_run, *_HASTEN, "--admin", "127.0.0.1:0"),
    "hasten-run-least": partial(_run, *_HASTEN, "--admin", "off", "--sample-every", "1000000"),
    "uvicorn": partial(serve_by_uvicorn, app),
    "granian": partial(_run, *_GRANIAN),
    "granian-st": partial(_run, *_GRANIAN, "--runtime-mode", "st"),
    "hypercorn": _hypercorn,
}

if __name__ == "__main__":
    die_with_parent()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    SERVERS[sys.argv[1]]()
