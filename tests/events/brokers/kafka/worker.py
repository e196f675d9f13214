"""A consumer in a process of its own, to be killed: `python worker.py URL TOPIC` prints what it has handled."""

import asyncio
import sys
from typing import Any

from hasten.events import Bus


async def main(url: str, topic: str) -> None:
    """Handle until it is killed; one of fifty takes for ever."""
    bus = Bus(url)

    @bus.subscribe(topic, group="billing", concurrency=8)
    async def handle(order: dict[str, Any]) -> None:
        number = order["number"]
        if number % 50 == 49:
            await asyncio.Event().wait()
        print(number, flush=True)

    async with bus:
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
