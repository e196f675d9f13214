"""A real server: what it is, and one that runs, which can be stopped, killed and started again where it was."""

import contextlib
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, Self

from peers import end, last_words, on_path, start

READY_WITHIN = (
    120.0  # seconds; Kafka and RabbitMQ take 4 each on an idle machine, RabbitMQ 27 beside ten busy processes
)
HIGHEST_PORT = 55_535  # the nodes of a Redis Cluster talk to each other on their port plus 10,000
LOOK_EVERY = 0.02  # seconds between two questions to a server that starts


class ServerFailed(Exception):
    """Raised when a server cannot be started; the message is one line."""


class ServerEnded(ServerFailed):
    """Raised when a process of a server ended before the server answered."""


class Origin(Protocol):
    """Where a server comes from."""

    def find(self) -> str | None:
        """Return the place that the server's commands are made from, None when it is not on this machine."""

    def remedy(self) -> str:
        """Return why it is not there and what to do about it."""


@dataclass(frozen=True, slots=True)
class DebianPackage:
    """Executables of a Debian package, found on PATH; the first of them is the place."""

    package: str
    executables: tuple[str, ...]

    def find(self) -> str | None:
        found = [on_path(executable) for executable in self.executables]
        return found[0] if all(found) else None

    def remedy(self) -> str:
        missing = next((one for one in self.executables if on_path(one) is None), self.executables[0])
        return f"no {missing} on PATH; apt-get install {self.package}"


@dataclass(frozen=True, slots=True)
class Command:
    """How one process of a server is started.

    Attributes:
      arguments: The executable first.
      environment: All of it; None for this process's own.
      folder: Where it runs; None for here.
      listens: A port on which it must listen before the server's next process starts.
    """

    arguments: list[str]
    environment: Mapping[str, str] | None = None
    folder: Path | None = None
    listens: int | None = None


@dataclass(frozen=True, slots=True)
class Server:
    """A real server that tests use.

    Attributes:
      name: Short name, as in `services list`.
      origin: Where it comes from.
      variable: The environment variable that gives tests its URL.
      url: The URL, with {place} (host:port of the first port) or {places} (of all, with commas) in it.
      commands: The processes that make it, for a place, free ports and a folder: empty, or as they left it.
      ready: Whether the server on these ports answers; asked again and again, and may raise OSError until then.
      ports: How many ports it needs.
      on_demand: Whether it is started only for those who ask for it by name.
    """

    name: str
    origin: Origin
    variable: str
    url: str
    commands: Callable[[str, Sequence[int], Path], list[Command]]
    ready: Callable[[Sequence[int]], bool]
    ports: int = 1
    on_demand: bool = False

    def find(self) -> str | None:
        return self.origin.find()

    def remedy(self) -> str:
        return f"{self.origin.remedy()}, or set {self.variable}"


class Running:
    """A server's processes on 127.0.0.1, their ports, and the folder with their data and logs.

    As a context manager it starts the server, gives it when it answers, and ends it.

    Call `start` in a thread that outlives the server, such as the main one: the kernel ends the processes with
    the thread that started them, so that none is left when that one is killed.

    Args:
      place: What `server.find()` returned.
      folder: Of the server's own; made here, and left to the caller to remove.
    """

    def __init__(self, server: Server, place: str, folder: Path) -> None:
        self.server = server
        self.place = place
        self.folder = folder
        self.ports = free_ports(server.ports)
        self._processes: list[Process] = []

    def __enter__(self) -> Self:
        try:
            self.start()
            self.await_first_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        places = [f"127.0.0.1:{port}" for port in self.ports]
        return self.server.url.format(place=places[0], places=",".join(places))

    @property
    def pids(self) -> list[int]:
        return [one.process.pid for one in self._processes]

    # ---- starting

    def start(self) -> None:
        """Start the processes on the ports and with the data that the server had before, if it had any."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._processes = []
        for command in self.server.commands(self.place, self.ports, self.folder):
            self._processes.append(Process(command, self.folder / f"{len(self._processes)}.log"))
            if command.listens is not None:
                self._await(partial(listens, command.listens))

    def await_ready(self) -> None:
        """Return when the server answers.

        Raises:
          ServerEnded: a process of it ended before.
          ServerFailed: it does not answer within READY_WITHIN.
        """
        self._await(partial(self.server.ready, self.ports))

    def await_first_ready(self) -> None:
        """Do what `await_ready` does for an empty server; one that ends is started again, in case a port was taken."""
        try:
            self.await_ready()
        except ServerEnded:
            self.stop()  # a cluster starts anew as a whole: its nodes know each other's ports
            shutil.rmtree(self.folder)
            self.ports = free_ports(self.server.ports)
            self.start()
            self.await_ready()

    def _await(self, answers: Callable[[], bool]) -> None:
        give_up = time.monotonic() + READY_WITHIN
        while time.monotonic() < give_up:
            self._raise_ended()
            with contextlib.suppress(OSError):
                if answers():
                    self._raise_ended()  # what answered may be another server, which had the port first
                    return
            time.sleep(LOOK_EVERY)
        said = self._processes[-1].last_words()
        raise ServerFailed(f"{self.server.name} does not answer after {READY_WITHIN:.0f} s: {said}")

    def _raise_ended(self) -> None:
        for one in self._processes:
            code = one.process.poll()
            if code is not None:
                raise ServerEnded(f"{self.server.name} ended with code {code}: {one.last_words()}")

    # ---- ending

    def stop(self, patience: float = 10.0) -> None:
        """End it in order, as SIGTERM asks it to, and by SIGKILL after `patience` seconds; its data stay."""
        for one in reversed(self._processes):
            end(one.process, patience)

    def kill(self) -> None:
        """End it by SIGKILL; what it had written stays."""
        self._signal(signal.SIGKILL)
        for one in self._processes:
            one.process.wait()

    def freeze(self) -> None:
        """Stop it in the middle of whatever it does, and wait until it stands; its connections stay open."""
        self._signal(signal.SIGSTOP)
        for one in self._processes:
            while one.process.poll() is None and not _stands(one.process.pid):
                time.sleep(LOOK_EVERY)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        for one in reversed(self._processes):
            if one.process.poll() is None:
                os.killpg(one.process.pid, number)


def _stands(pid: int) -> bool:
    """Tell whether a process is stopped: a signal reaches a busy one later than `kill` returns.

    Source: proc_pid_stat(5), state T.
    """
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


class Process:
    """A process of a server that runs, and what it says."""

    def __init__(self, command: Command, log: Path) -> None:
        self._log = log
        self.process = start(command.arguments, log, folder=command.folder, environment=command.environment)

    def last_words(self) -> str:
        return last_words(self._log)


# ---- ports


def free_ports(count: int) -> list[int]:
    """Return different ports of 127.0.0.1 that nobody listens on."""
    with contextlib.ExitStack() as probes:
        ports: list[int] = []
        while len(ports) < count:
            probe = probes.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            if port <= HIGHEST_PORT:
                ports.append(port)
        return ports


def listens(port: int) -> bool:
    """Return True, or raise OSError."""
    with connect(port):
        return True


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=1.0)


def receive(connection: socket.socket, size: int) -> bytes:
    """Return exactly so many bytes; raise ConnectionError when the server closes before."""
    received = b""
    while len(received) < size:
        more = connection.recv(size - len(received))
        if not more:
            raise ConnectionError("closed too soon")
        received += more
    return received
