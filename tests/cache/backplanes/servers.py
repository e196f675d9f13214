"""Redis-servers of a test's own, which can be frozen, killed and started again."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import redis

_READY_WITHIN = 10.0


def free_port() -> int:
    """Return a port that is free, so low that a cluster's node has 10,000 more too."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = int(listener.getsockname()[1])
            if port < 55_536:
                return port


class RedisServer:
    """A redis-server on a port and a unix socket of its own, without anything on disk that outlives it.

    Args:
      options: Of its command line.
      settings: Of its configuration file, beside the place.
    Attributes:
      socket: The path of its unix socket.
    """

    def __init__(self, *options: str, settings: str = 'save ""\n') -> None:
        self.port = free_port()
        self._options = options
        self._folder = Path(tempfile.mkdtemp(prefix="hasten-redis-"))
        self.socket = self._folder / "redis.sock"
        place = f"port {self.port}\nbind 127.0.0.1\nunixsocket {self.socket}\ndir {self._folder}\n"
        self._configuration = place + settings
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> "redis.Redis":
        """Return a blocking client, for what the test itself does to the data."""
        return redis.Redis(port=self.port, protocol=2)

    def start(self) -> None:
        """Start it empty, at the same place as before, and return when it answers."""
        file, log = self._folder / "redis.conf", self._folder / "log"
        file.write_text(self._configuration)
        with log.open("wb") as output:
            self._process = subprocess.Popen(["redis-server", file, *self._options], stdout=output, stderr=output)
        until = time.monotonic() + _READY_WITHIN
        while time.monotonic() < until:
            with suppress(redis.RedisError), self.client() as client:
                client.ping()
                return
            time.sleep(0.01)
        raise TimeoutError(f"redis-server does not answer: {log.read_text()}")

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


Start = Callable[..., RedisServer]
"""Makes a `RedisServer` of its arguments, and starts it."""


@contextmanager
def redis_servers() -> Iterator[Start]:
    """Let a test start redis-servers that it may do anything to.

    Without redis-server it is skipped, or fails where every server is required.
    """
    if shutil.which("redis-server") is None:
        reason = "no redis-server"
        if os.environ.get("HASTEN_REQUIRE_SERVICES", "") not in {"", "0"}:
            pytest.fail(reason)
        pytest.skip(reason)
    made: list[RedisServer] = []

    def start(*options: str, settings: str = 'save ""\n') -> RedisServer:
        made.append(RedisServer(*options, settings=settings))
        made[-1].start()
        return made[-1]

    try:
        yield start
    finally:
        for server in made:
            server.remove()


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    """Start one of these."""
    with redis_servers() as start:
        yield start()
