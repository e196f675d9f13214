"""A RabbitMQ of a drill's own: one node and its epmd on 127.0.0.1, with all its data in the stage's folder.

The node is the process that is started, without a shell around it, so that a signal kills it and nothing else. It has
the services' cores: on the drill's own its start made what the drill measures 0.15 s late.

Source: rabbitmq-server(8), rabbitmq-env and the scripts of RabbitMQ 3.10; epmd(1), its NAMES_REQ; AMQP 0-9-1, 2.2.4.
"""

import asyncio
import os
import random
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from hasten._core.errors import TargetUnreachable
from hasten._core.processes import ServiceProcess
from hasten.drill._drill import Impossible
from hasten.drill._stage import Stage

_HOST = "127.0.0.1"
_PORTS = range(20_000, 32_000)
"""None that a client is given for its own end: while nobody listens, one that connects again and again would at some
time be connected to itself, and hold the port."""
_START, _POLL = 60.0, 0.02  # seconds
_AMQP, _CONNECTION_START = b"AMQP\x00\x00\x09\x01", b"\x00\x0a\x00\x0a"
_NAMES = b"\x00\x01n"
# Without the first it starts an epmd that nobody ends; without the second other machines reach the port between nodes.
_ERLANG = "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}"


@dataclass(slots=True)
class RabbitMQ:
    """A node.

    Attributes:
      script: What starts it.
      port: Of AMQP.
      started: What is ended at the end.
    """

    stage: Stage
    script: Path
    port: int
    environment: Mapping[str, str]
    started: AsyncExitStack
    _node: ServiceProcess | None = None

    @property
    def url(self) -> str:
        """Where it is, for clients."""
        return f"amqp://guest:guest@{_HOST}:{self.port}/"

    async def start(self) -> float:
        """Start it with the data that it had, and return when it answered, by `time.monotonic()`.

        Raises:
          Impossible: it does not answer.
        """
        running = self.stage.started("rabbitmq-server", [str(self.script)], self.environment)
        self._node = await self.started.enter_async_context(running)
        await _await_answer(self._node, self.port, _AMQP, _CONNECTION_START)
        return monotonic()

    async def kill(self) -> None:
        """End it in the middle of whatever it does."""
        assert self._node is not None
        os.kill(self._node.pid, signal.SIGKILL)
        await asyncio.to_thread(self._node.stop)  # what it had started


@asynccontextmanager
async def rabbitmq(stage: Stage) -> AsyncIterator[RabbitMQ]:
    """Have a broker, which answers, while the block runs.

    Raises:
      Impossible: it is not installed, or does not answer.
    """
    script, epmd = _programs()
    folder = stage.folder / "rabbitmq"
    folder.mkdir()
    ports = _free_ports(3)
    environment = _environment(folder, ports)
    async with AsyncExitStack() as started:
        mapper = await started.enter_async_context(stage.started("epmd", [epmd], environment))
        await _await_answer(mapper, ports[2], _NAMES, ports[2].to_bytes(4, "big"))
        broker = RabbitMQ(stage, script, ports[0], environment, started)
        await broker.start()
        yield broker


def _programs() -> tuple[Path, str]:
    """Return what starts a node, and epmd."""
    server, epmd = shutil.which("rabbitmq-server"), shutil.which("epmd")
    if server is None or epmd is None:
        raise Impossible("rabbitmq-server or epmd is not on PATH; install RabbitMQ, 3.10 or later")
    return Path(server).resolve().parent / "rabbitmq-server", epmd  # Debian's on PATH runs it as another user


def _free_ports(count: int) -> list[int]:
    """Return different ports of 127.0.0.1 that nobody listens on."""
    free: list[int] = []
    for port in random.sample(_PORTS, len(_PORTS)):
        with suppress(OSError), socket.create_server((_HOST, port)):
            free.append(port)
        if len(free) == count:
            return free
    raise Impossible(f"no port from {_PORTS.start} to {_PORTS.stop} is free")


def _environment(folder: Path, ports: Sequence[int]) -> dict[str, str]:
    """Return a node's environment: nothing of a RabbitMQ of the machine's own is in it, and no file of its is read."""
    amqp, distribution, mapper = map(str, ports)
    unset = {name: "" for name in os.environ if name.startswith(("RABBITMQ_", "ERL_"))}
    return unset | {
        "HOME": str(folder),  # the cookie that nodes know each other by is written there
        "ERL_EPMD_ADDRESS": _HOST,
        "ERL_EPMD_PORT": mapper,
        "ERL_ZFLAGS": _ERLANG,
        "ERL_CRASH_DUMP_SECONDS": "0",
        "RABBITMQ_NODENAME": f"hasten{amqp}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": _HOST,
        "RABBITMQ_NODE_PORT": amqp,
        "RABBITMQ_DIST_PORT": distribution,
        "RABBITMQ_CONF_ENV_FILE": str(folder / "none.conf"),
        "RABBITMQ_CONFIG_FILE": str(folder / "none"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "none"),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_ALLOW_INPUT": "true",  # the script becomes the node instead of waiting for it
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-noinput",
    }


async def _await_answer(process: ServiceProcess, port: int, says: bytes, answer: bytes) -> None:
    """Wait until what is said to a process's port is answered.

    Raises:
      Impossible: it ended, or did not answer in time.
    """
    until = monotonic() + _START
    while not await _answers(port, says, answer):
        try:
            process.require_running()
        except TargetUnreachable as error:
            raise Impossible(str(error)) from error
        if monotonic() > until:
            raise Impossible(f"{process.name} does not answer within {_START:g} s")
        await asyncio.sleep(_POLL)


async def _answers(port: int, says: bytes, answer: bytes) -> bool:
    with suppress(OSError, asyncio.IncompleteReadError):
        reader, writer = await asyncio.open_connection(_HOST, port)
        try:
            writer.write(says)
            async with asyncio.timeout(1.0):
                return bool(await reader.readuntil(answer))
        finally:
            writer.transport.abort()
    return False
