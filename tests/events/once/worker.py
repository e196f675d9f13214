"""A consumer in a process of its own, which gets messages by their ids, and may kill itself at the worst moment.

    python -m tests.events.once.worker KIND WHERE NAME POINT ID...

POINT is `never`, or where it kills itself by SIGKILL at the last id: `before` the effect, when the effect has
`happened` but is not noted (in a transaction: not committed), or when it is `noted`, and the broker does not know.
"""

import asyncio
import os
import signal
import sys

from hasten.events import Bus, Message, RetryPolicy
from tests.events.once.places import Place, do_nothing, place_of


def die() -> None:
    """Leave without a word."""
    os.kill(os.getpid(), signal.SIGKILL)


async def main(place: Place, point: str, ids: list[str]) -> None:
    """Handle each message until it is accepted."""
    bus = Bus("memory://", drain=30.0)

    @bus.subscribe("orders.paid", group="billing", once=place.once, retry=RetryPolicy(50, first=0.05, longest=0.05))
    async def bill(_: int, message: Message) -> None:
        last = message.id == ids[-1]
        if last and point == "before":
            die()
        await place.effect(message, die if last and point == "happened" else do_nothing)

    await bus.start()
    for message_id in ids:
        await bus.publish("orders.paid", 1, message_id=message_id)
    while await _left(bus):
        await asyncio.sleep(0.005)
    if point == "noted":
        die()
    await bus.aclose()
    await place.aclose()


async def _left(bus: Bus) -> int:
    consumer = bus._consumers["orders.paid", "billing"]
    waiting: int = (await bus.broker.backlog("orders.paid", "billing")).waiting  # type: ignore[attr-defined]
    return waiting + consumer.under_way


if __name__ == "__main__":
    kind, where, name, point, *ids = sys.argv[1:]
    asyncio.run(main(place_of(kind, where, name), point, ids))
