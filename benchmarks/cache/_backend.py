"""The server of a second tier: `python -m benchmarks.cache._backend TIER` starts it on a free port of 127.0.0.1.

The child announces the server's address and its process id, for its CPU, and ends it when it is ended itself.
"""

import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from typing import Self

from benchmarks._child import announce, die_with_parent
from benchmarks._processes import PinnedProcess
from benchmarks.cache._stack import Tier
from hasten._core.errors import ConfigurationError

_PROGRAMS = {Tier.REDIS: "redis-server", Tier.MEMCACHED: "memcached"}
_READY_TIMEOUT = 10.0


class Backend(PinnedProcess):
    """The server, seen from the benchmark.

    Attributes:
      place: `host:port`.
      server_pid: Of the server itself; `pid` is that of the process that minds it.
    """

    def __init__(self, tier: Tier, core: int) -> None:
        super().__init__(f"server of {tier}", [sys.executable, "-m", "benchmarks.cache._backend", tier], core)
        self._program = _PROGRAMS[tier]
        self.place = ""
        self.server_pid = 0

    def __enter__(self) -> Self:
        """Start it.

        Raises:
          ConfigurationError: the server is not installed.
        """
        require_program(self._program)
        super().__enter__()
        self.place, pid = self.address.split()
        self.server_pid = int(pid)
        return self


def require_program(name: str) -> str:
    """Return the path of a program.

    Raises:
      ConfigurationError: it is not installed.
    """
    path = shutil.which(name)
    if path is None:
        raise ConfigurationError("benchmarks", f"{name} is not installed", "install it, or leave its cases out")
    return path


def _command(tier: Tier, port: int) -> list[str]:
    if tier is Tier.REDIS:
        return ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    return ["memcached", "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-t", "1", "-u", "nobody", "-m", "256"]


def _mind(tier: Tier) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="hasten-benchmark-") as folder:
        server = subprocess.Popen(
            _command(tier, port), cwd=folder, stdout=subprocess.DEVNULL, preexec_fn=die_with_parent
        )
        try:
            _await_connection(port)
            announce(f"127.0.0.1:{port} {server.pid}")
            server.wait()
        except KeyboardInterrupt:
            server.terminate()
            server.wait()


def _await_connection(port: int) -> None:
    give_up = time.monotonic() + _READY_TIMEOUT
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), 1.0).close()
        except OSError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.01)


if __name__ == "__main__":
    die_with_parent()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    _mind(Tier(sys.argv[1]))
