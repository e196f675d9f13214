"""A real broker: `python -m benchmarks.events._backend KIND` starts one on free ports of 127.0.0.1.

The child announces the broker's address, its process id, for its CPU, and what it is; and ends it when it is ended
itself. It finds and starts it as `scripts/services` does for the tests.
"""

import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import Self

from benchmarks._child import announce, die_with_parent
from benchmarks._processes import PinnedProcess
from benchmarks.events._stack import Kind
from hasten._core.errors import ConfigurationError

_SCRIPTS = Path(__file__).parents[2] / "scripts"
_MISSING = "missing: "
_READY_TIMEOUT = 150.0
"""Seconds; longer than `servers` waits for a broker, which takes 4 alone and 27 beside ten busy processes."""


class Backend(PinnedProcess):
    """The broker, seen from the benchmark.

    Attributes:
      place: `host:port`.
      broker_pid: Of the broker itself; `pid` is that of the process that minds it.
      version: For example `RabbitMQ 3.10.8`.
    """

    def __init__(self, kind: Kind, core: int) -> None:
        command = [sys.executable, "-m", "benchmarks.events._backend", kind]
        super().__init__(f"broker {kind}", command, core, ready_timeout=_READY_TIMEOUT)
        self.place = ""
        self.broker_pid = 0
        self.version = ""

    def __enter__(self) -> Self:
        """Start it.

        Raises:
          ConfigurationError: it is not installed.
        """
        super().__enter__()
        if self.address.startswith(_MISSING):
            self._end()
            problem = self.address.removeprefix(_MISSING)
            raise ConfigurationError("benchmarks", problem, "or leave its cases out")
        self.place, pid, self.version = self.address.split(maxsplit=2)
        self.broker_pid = int(pid)
        return self


def _mind(kind: Kind) -> None:
    from servers import KAFKA, RABBITMQ, Running

    server = {Kind.RABBITMQ: RABBITMQ, Kind.KAFKA: KAFKA}[kind]
    found = server.find()
    if found is None:
        announce(_MISSING + server.remedy())
        return
    with tempfile.TemporaryDirectory(prefix="hasten-benchmark-") as folder:
        try:
            with Running(server, found, Path(folder, kind)) as broker:
                place = f"127.0.0.1:{broker.ports[0]}"
                announce(f"{place} {broker.pids[-1]} {_version(kind, broker.ports[0])}")
                sys.stdin.read()  # ends with the benchmark
        except KeyboardInterrupt:
            pass


def _version(kind: Kind, port: int) -> str:
    if kind is Kind.KAFKA:
        from servers._kafka import VERSION

        return f"Apache Kafka {VERSION}"
    return "RabbitMQ " + _rabbitmq_version(port)


def _rabbitmq_version(port: int) -> str:
    """Return what the broker says of itself when it is greeted."""
    from pamqp import commands, frame

    from servers._rabbitmq import PROTOCOL_HEADER

    with socket.create_connection(("127.0.0.1", port), timeout=10.0) as connection:
        connection.sendall(PROTOCOL_HEADER)
        greeting = frame.unmarshal(connection.recv(65_536))[2]
    assert isinstance(greeting, commands.Connection.Start)
    return str(greeting.server_properties["version"])


if __name__ == "__main__":
    die_with_parent()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.path.append(str(_SCRIPTS))
    _mind(Kind(sys.argv[1]))
