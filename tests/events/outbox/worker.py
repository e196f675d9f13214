"""A relay in a process of its own, which may kill itself by SIGKILL at the worst moment.

    python -m tests.events.outbox.worker KIND PLACE NAME FILE POINT

POINT is `never`, which ends when the outbox is empty, or where it dies: at a message of the second round, `before` it
is published or when it is `published` and its row is there still, or when the first rows are `removed`.
"""

import asyncio
import os
import signal
import sys
from itertools import count
from pathlib import Path

from hasten.events import Bus, Envelope
from hasten.events.outbox import Relay
from tests.events.outbox.shop import FileBroker, Shop

LEASE = 0.5
DIES_AT = 230  # of the second round: the first is removed


def die() -> None:
    """Leave without a word."""
    os.kill(os.getpid(), signal.SIGKILL)


async def main(shop: Shop, file: Path, point: str) -> None:
    """Relay until the outbox is empty."""
    begun, confirmed = count(1), count(1)

    def before(_: Envelope) -> None:
        if next(begun) == DIES_AT and point == "before":
            die()

    def after() -> None:
        if next(confirmed) == DIES_AT and point == "published":
            die()

    bus = Bus(FileBroker(file, before=before, after=after))
    async with bus, Relay(shop.outbox, bus, poll=0.02, lease=LEASE) as relay:
        while (await shop.outbox.waiting()).count:
            await asyncio.sleep(0.005)
            if point == "removed" and relay.statistics().published:
                die()


if __name__ == "__main__":
    kind, place, name, file, point = sys.argv[1:]
    asyncio.run(main(Shop(kind, place, name), Path(file), point))
