"""Consumers that take 50 ms for a number, and write down that they have handled it, and when.

`HASTEN_DRILL_BROKER` is the URL of the broker, `HASTEN_DRILL_HANDLED` the file. `bus` is hasten's, to be run by itself;
`app` is served, and has one of aio-pika's beside it.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from hasten.drill.subjects._app import App
from hasten.events import Bus

if TYPE_CHECKING:
    from aio_pika.abc import AbstractIncomingMessage

CONCURRENCY = 32
"""Numbers that a consumer has under way, at most."""
TOPIC = "numbers"
QUEUE = "aio-pika"
RECONNECT = 0.5
"""Seconds between two tries of aio-pika to connect: what hasten's are apart at most. It has 5 by default."""
STUCK_AFTER = 2.0
"""Seconds without a broker from which on hasten's is not ready."""
_TAKES = 0.05  # seconds


class Handled(NamedTuple):
    """A number that was handled.

    Attributes:
      at: When, by `time.monotonic()`, which is one clock for all of the machine.
    """

    number: int
    at: float


class Consumer:
    """Handles numbers.

    Args:
      file: Where it is written that they were.
    """

    def __init__(self, file: str) -> None:
        self._file = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def handle(self, number: int) -> None:
        """Do what there is to do for a number."""
        await asyncio.sleep(_TAKES)
        os.write(self._file, f"{number} {monotonic()!r}\n".encode())


def read_handled(file: Path) -> list[Handled]:
    """Return what was handled so far, each time that it was."""
    lines = [line.split() for line in file.read_text().splitlines()]
    return [Handled(int(number), float(at)) for number, at in lines]


@asynccontextmanager
async def _by_aio_pika(url: str, consumer: Consumer) -> AsyncIterator[None]:
    import aio_pika

    async def on_message(message: "AbstractIncomingMessage") -> None:
        async with message.process():
            await consumer.handle(int(message.body))

    async with await aio_pika.connect_robust(url, reconnect_interval=RECONNECT) as connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=CONCURRENCY)
        queue = await channel.declare_queue(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
        await queue.consume(on_message)
        yield


def __getattr__(name: str) -> Any:
    """Make what a server asks for when it does: importing reads no environment."""
    if name not in {"app", "bus"}:
        raise AttributeError(name)
    url, consumer = os.environ["HASTEN_DRILL_BROKER"], Consumer(os.environ["HASTEN_DRILL_HANDLED"])
    if name == "app":
        return App({}, partial(_by_aio_pika, url, consumer))
    bus = Bus(url, stuck_after=STUCK_AFTER)
    bus.subscribe(TOPIC, group="drill", concurrency=CONCURRENCY)(consumer.handle)
    return bus
