"""Handles numbers until one of them ends the process: `python -m tests.events.killer URL TOPIC FILE KILLER COUNT WAY`.

It writes what it has handled into FILE, and ends by itself when all COUNT numbers are there or dead. WAY is `batched`
for batches.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from hasten.events import Batch, Bus, Inspection

CONCURRENCY = 8


async def main(url: str, topic: str, file: str, killer: int, count: int, *, batched: bool) -> None:
    """Handle what is there."""
    bus = Bus(url)
    handled = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    async def handle(number: int) -> None:
        if number == killer:
            os.kill(os.getpid(), signal.SIGKILL)
        await asyncio.sleep(0)
        os.write(handled, f"{number}\n".encode())

    async def handle_all(numbers: list[int]) -> None:
        for number in numbers:
            await handle(number)

    options: dict[str, Any] = {"batch": Batch(most=CONCURRENCY, wait=0.01)} if batched else {"concurrency": CONCURRENCY}
    bus.subscribe(topic, group="billing", **options)(handle_all if batched else handle)
    async with bus:
        assert isinstance(bus.broker, Inspection)
        while len(numbers_in(file)) + (await bus.broker.backlog(topic, "billing")).dead < count:
            await asyncio.sleep(0.01)


def numbers_in(file: str) -> set[int]:
    """Return what was handled."""
    return {int(line) for line in Path(file).read_text().split()}


if __name__ == "__main__":
    url, topic, file, killer, count, way = sys.argv[1:]
    asyncio.run(main(url, topic, file, int(killer), int(count), batched=way == "batched"))
