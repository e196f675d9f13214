"""A Redis of a drill's own, to which anything may be done."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec
from time import monotonic

from hasten._core.errors import MissingDependency, TargetUnreachable
from hasten._core.processes import ServiceProcess
from hasten.drill._drill import Impossible
from hasten.drill._stage import Service, Stage, free_port

_NAME, _HOST = "redis-server", "127.0.0.1"
_START, _LOOK = 10.0, 0.02  # seconds until it answers, and between two looks whether it does


@asynccontextmanager
async def redis_server(stage: Stage) -> AsyncIterator[Service]:
    """Have a Redis that keeps nothing on disk run while the block does.

    Raises:
      Impossible: redis-server or redis-py is not installed.
      TargetUnreachable: it has ended, or does not answer.
    """
    place = await asyncio.to_thread(_place)
    port = free_port()
    command = [place, "--bind", _HOST, "--port", str(port), "--dir", str(stage.folder), "--save", ""]
    async with stage.started(_NAME, command, {}) as process:
        await _answering(process, port)
        yield Service(f"redis://{_HOST}:{port}/0", process)


def _place() -> str:
    """Return where the server is, if there is what reads from it, too."""
    place = shutil.which(_NAME)
    if place is None:
        raise Impossible(f"there is no {_NAME} on PATH; install it")
    if find_spec("redis") is None:
        raise Impossible(str(MissingDependency("redis", "redis")))
    return place


async def _answering(process: ServiceProcess, port: int) -> None:
    until = monotonic() + _START
    while not await _answers(port):
        process.require_running()
        if monotonic() > until:
            raise TargetUnreachable(_NAME, f"does not answer within {_START:g} s")
        await asyncio.sleep(_LOOK)


async def _answers(port: int) -> bool:
    with suppress(OSError):
        async with asyncio.timeout(_START):
            reader, writer = await asyncio.open_connection(_HOST, port)
            try:
                writer.write(b"PING\r\n")
                return await reader.readline() == b"+PONG\r\n"
            finally:
                writer.transport.abort()
    return False
