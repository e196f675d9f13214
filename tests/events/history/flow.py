"""A million messages through one process, which publishes and handles them, and says how large it is.

    python -m tests.events.history.flow URL TOPIC COUNT

It writes its resident kilobytes at each tenth of COUNT.
"""

import asyncio
import sys
from pathlib import Path

from hasten.events import Bus, Message
from tests.events.history.worker import CONCURRENCY, Numbered

IN_FLIGHT = 200


def resident_kilobytes() -> int:
    """Return what the process has in memory now."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


async def main(url: str, topic: str, count: int) -> None:
    """Publish while they are handled, so that the broker keeps few."""
    bus, handled, all_handled = Bus(url, timeout=60.0), 0, asyncio.Event()
    room = asyncio.Semaphore(10 * IN_FLIGHT)  # messages that are not handled yet
    numbers = iter(range(count))

    @bus.subscribe(topic, group="billing", concurrency=CONCURRENCY)
    async def handle(_: Numbered, message: Message) -> None:
        nonlocal handled
        handled += 1
        room.release()
        if handled % (count // 10) == 0:
            print(resident_kilobytes(), flush=True)
        if handled == count:
            all_handled.set()

    async def publish() -> None:
        for number in numbers:
            await room.acquire()
            await bus.publish(topic, Numbered(number), key=f"k{number % 100}")

    async with bus:
        await asyncio.gather(*(publish() for _ in range(IN_FLIGHT)))
        await all_handled.wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
