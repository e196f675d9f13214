"""A storefront in a process of its own, which takes one order and is killed at the worst moment.

    python -m tests.shop.killed_storefront DATABASE MAIL POINT

POINT is `committed`, before anybody knows that there is an event, or `delivered`, when its mail is about to be sent and
nothing is left in the outbox.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from examples.shop.fast import deliveries, mail
from examples.shop.fast.deliveries import Deliveries
from tests.events.brokers.adapter import eventually
from tests.shop.in_process import fast_shop, is_published


def die(*_: object) -> None:
    """Leave without a word."""
    os.kill(os.getpid(), signal.SIGKILL)


async def main(database: Path, mail_address: str) -> None:
    """Take the order."""
    async with fast_shop(database, mail=mail_address) as shop:
        await shop.http.post("/orders", json={"product_id": 4_711, "quantity": 1})
        await eventually(lambda: is_published(database))
        die()


async def wait(*_: object) -> None:
    """Never send it."""
    await asyncio.Event().wait()


if __name__ == "__main__":
    deliveries.LEASE = 0.5  # for who comes next
    if sys.argv[3] == "committed":
        Deliveries.wake = die  # type: ignore[assignment, method-assign]
    else:
        mail.send = wait  # type: ignore[assignment]
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
