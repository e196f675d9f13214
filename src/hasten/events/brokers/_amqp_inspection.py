"""What an operator does with the dead letters of a group: looks at them, and has them delivered again.

They are fetched over a channel of their own, which holds them meanwhile, so two who look at once each see a part. A
quorum queue takes back what is returned a moment after the channel has been closed; who looks next must find it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import msgspec

from hasten.events._envelope import Envelope
from hasten.events.brokers import _amqp_methods as amqp
from hasten.events.brokers._amqp_channel import Channel
from hasten.events.brokers._amqp_connection import Connection
from hasten.events.brokers._amqp_envelope import MessageReader
from hasten.events.brokers._amqp_topology import count

_AT_ONCE = 100  # dead letters that are put back together
_BACK_SECONDS = 2.0  # until what was held is in the queue again; longer only if somebody else takes it
_LOOK_EVERY = 0.005


class Letters(NamedTuple):
    """The dead letters of a group: their queue, and how they are read."""

    queue: str
    read: MessageReader


async def look_at(letters: Letters, most: int, connection: Connection) -> list[Envelope]:
    """Return dead letters, the oldest first; they stay.

    Raises:
      BrokerError: there is no such group.
    """
    async with connection.temporary() as channel:
        found = await _fetch(letters, channel, most)
        await _return(letters, channel, len(found))
    return [envelope for _, envelope in found]


async def put_back(
    letters: Letters,
    chosen: Callable[[Envelope], bool],
    most: int,
    put: Callable[[Envelope], Awaitable[None]],
    connection: Connection,
) -> int:
    """Put those that are chosen into their group's queue, then take them out of this one; return how many.

    Raises:
      BrokerError: there is no such group, or the broker does not take them.
    """
    async with connection.temporary() as channel:
        found = await _fetch(letters, channel, most)
        again = [each for each in found if chosen(each[1])]
        for at in range(0, len(again), _AT_ONCE):
            some = again[at : at + _AT_ONCE]
            anew = [msgspec.structs.replace(envelope, attempt=1, reason="") for _, envelope in some]
            await asyncio.gather(*map(put, anew))
            for tag, _ in some:
                channel.write(amqp.BASIC_ACK(tag, False))  # noqa: FBT003  this one
        await _return(letters, channel, len(found) - len(again))
    return len(again)


async def _fetch(letters: Letters, channel: Channel, most: int) -> list[tuple[int, Envelope]]:
    """Return dead letters with their tags, the oldest first; the channel holds them."""
    there = min(most, await count(channel.connection, letters.queue))
    get = amqp.BASIC_GET(0, letters.queue, False)  # noqa: FBT003  to be acknowledged
    asked = [channel.ask(get, amqp.BASIC_GET_OK, amqp.BASIC_GET_EMPTY) for _ in range(there)]
    found = [reply for reply in await asyncio.gather(*asked) if reply[0] == amqp.BASIC_GET_OK.kind]
    return [(amqp.BASIC_GET_OK.read(reply[1])[0], letters.read(reply[2], reply[3])[0]) for reply in found]


async def _return(letters: Letters, channel: Channel, held: int) -> None:
    """Give back all that a channel holds, close it, and wait until it is in the queue."""
    if held:
        channel.write(amqp.BASIC_NACK(0, True, True))  # noqa: FBT003  all of them, requeue
    await channel.aclose()
    give_up = time.monotonic() + _BACK_SECONDS
    while time.monotonic() < give_up:
        if await count(channel.connection, letters.queue) >= held:
            return
        await asyncio.sleep(_LOOK_EVERY)
