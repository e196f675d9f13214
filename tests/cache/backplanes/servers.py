"""A redis-server of the test's own, which can be frozen, killed and started again."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import redis


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class RedisServer:
    """A redis-server on a port of its own, without anything on disk that outlives it.

    Args:
      options: Of its command line.
      settings: Of its configuration file, beside the place.
    """

    def __init__(self, *options: str, settings: str = 'save ""\n') -> None:
        self.port = free_port()
        self._options = options
        self._settings = settings
        self._folder = tempfile.mkdtemp(prefix="hasten-redis-")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> "redis.Redis":
        """Return a blocking client, for what the test itself does to the data."""
        return redis.Redis(port=self.port, protocol=2)

    def start(self) -> None:
        """Start it, at the same place as before, and return when it answers."""
        file = Path(self._folder, "redis.conf")
        file.write_text(f"port {self.port}\nbind 127.0.0.1\ndir {self._folder}\n{self._settings}")
        self._process = subprocess.Popen(["redis-server", file, *self._options], stdout=subprocess.DEVNULL)
        until = time.monotonic() + 10
        while time.monotonic() < until:
            with suppress(redis.RedisError), self.client() as client:
                client.ping()
                return
            time.sleep(0.01)
        raise TimeoutError("redis-server does not answer")

    def freeze(self) -> None:
        """Stop it in the middle of whatever it does; its connections stay open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it with all its data; connections are closed."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    """Start a redis-server that a test may do anything to; without one skip, or fail where every server is required."""
    if shutil.which("redis-server") is None:
        reason = "no redis-server"
        if os.environ.get("HASTEN_REQUIRE_SERVICES", "") not in {"", "0"}:
            pytest.fail(reason)
        pytest.skip(reason)
    server = RedisServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()
