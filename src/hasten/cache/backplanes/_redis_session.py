"""A member's time with one server: from two connections that are opened to the first of them that is lost."""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from itertools import count
from time import monotonic
from typing import Any

from hasten.cache._backplane import Invalidation, Listener
from hasten.cache.backplanes._announcing import Announcing
from hasten.cache.backplanes._messages import (
    Acknowledgement,
    Beat,
    Departure,
    UnreadableMessage,
    encode,
    message_to_all,
    message_to_one,
)
from hasten.cache.backplanes._patience import Patience
from hasten.cache.backplanes._redis_link import Commands, Names, RedisLink, mark_of
from hasten.cache.backplanes._redis_outbox import Outbox

_logger = logging.getLogger("hasten.cache")


@dataclass(frozen=True, slots=True)
class Membership:
    """What stays the same through reconnects.

    Attributes:
      member: Our name.
      trust: Seconds for which a beat gives trust.
      numbers: Of our beats. A server that stood still may take one of a session that is long over.
    """

    member: str
    names: Names
    trust: float
    announcing: Announcing
    listener: Listener
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    @property
    def answer(self) -> float:
        """Seconds that an answer may take before the connection counts as lost."""
        return self.trust / 2


class Session:
    """Hears announcements on one connection and sends on another; both are lost together.

    Trust is given in this order, and each step waits for the one before:

    1. subscribed, so that nothing is missed from here on; the memory is emptied of what was before;
    2. a beat is sent, a script that puts us into the set of members and publishes to us alone;
    3. what it publishes is heard: what was announced before the server took the beat has been applied by then, and who
       announces from then on knows of us.

    Steps 2 and 3 are repeated. The beat goes out on one connection and comes back on the other, which shows that both
    lead to the same server.

    Attributes:
      joined: Trust has been given, and the connections stand.

    Args:
      listening, sending: The connections; not open yet.
      when_joined: Called with the first trust.
    """

    def __init__(
        self, membership: Membership, listening: RedisLink, sending: RedisLink, *, when_joined: Callable[[], None]
    ) -> None:
        self._membership = membership
        self._listening = listening
        self._sending = sending
        self._when_joined = when_joined
        self._commands = Commands(membership.names, membership.member)
        self.outbox = Outbox(
            sending, self._commands, membership.announcing, member=membership.member, timeout=membership.answer
        )
        self.joined = False
        self._trusted_until = 0.0
        self._leaving = False
        self._subscribed = asyncio.Event()
        self._beat_number = 0
        self._heard: asyncio.Future[None] | None = None  # done when the beat of that number is
        self._to_all = membership.names.announcements.encode()

    async def run(self) -> None:
        """Join and stay; never returns.

        Raises:
          RedisError, OSError, TimeoutError: a connection is lost, or was not to be had.
          Exception: the listener's, or a fault of ours.
        """
        try:
            async with Patience(self._membership.trust):
                await self._listening.open()
                await self._sending.open()
                self._commands.mark = mark_of(await self._sending.run_id())
            await _until_one_fails(self.outbox.run(), self._hear(), self._beat_on())
        finally:
            self.joined = False
            await self._listening.close()
            await self._sending.close()

    async def leave(self) -> None:
        """Be a member no more; trust is not given again. Nobody waits for us when this returns.

        Raises:
          ConnectionError, TimeoutError: it could not be said; others wait for us once.
        """
        self._leaving = True
        if not self._beat_number:
            return  # no beat was sent: nobody knows of us
        async with Patience(self._membership.answer):
            await self.outbox.leave()  # behind a beat that may be under way

    # ---- hearing

    async def _hear(self) -> None:
        await self._listening.send(self._commands.subscribe())
        while True:
            kind, channel, content = await self._listening.read()
            if kind == b"subscribe":
                if content == 2:  # the second of two channels
                    self._subscribed.set()
            elif channel == self._to_all:
                self._take_from_all(content)
            else:
                self._take_from_one(content)

    def _take_from_all(self, data: bytes) -> None:
        try:
            message = message_to_all(data)
        except UnreadableMessage as error:
            _logger.warning("backplane: %s; the memory is emptied", error)
            self._membership.listener.distrust()  # it may be anything; whoever sent it waits until our trust is over
            return
        if message.member == self._membership.member:
            return  # our own was applied before it was sent
        if isinstance(message, Departure):
            self._membership.announcing.departed(message.member)
        else:
            self._membership.listener.apply(Invalidation(message.keys, message.tags))
            self.outbox.acknowledge(message.member, message.number)

    def _take_from_one(self, data: bytes) -> None:
        try:
            message = message_to_one(data)
        except UnreadableMessage as error:
            _logger.warning("backplane: %s", error)
            return
        if isinstance(message, Acknowledgement):
            self._membership.announcing.acknowledged(message.member, message.numbers)
        elif self._heard is not None and not self._heard.done() and message.number == self._beat_number:
            self._heard.set_result(None)

    # ---- beating

    async def _beat_on(self) -> None:
        trust = self._membership.trust
        async with Patience(trust):
            await self._subscribed.wait()
            self._membership.listener.distrust()
            await self._beat()
        self.joined = True
        self._when_joined()
        while not self._leaving:
            await asyncio.sleep(random.uniform(0.8, 1.0) * trust / 3)
            # Until trust ends; longer when we were late ourselves, and it has ended for that.
            async with Patience(max(self._trusted_until - monotonic(), self._membership.answer)):
                await self._beat()
        await asyncio.Event().wait()  # to the end of the others

    async def _beat(self) -> None:
        if self._leaving:
            return
        self._beat_number = next(self._membership.numbers)
        self._heard = asyncio.get_running_loop().create_future()
        sent = monotonic()
        await self.outbox.beat(encode(Beat(self._beat_number)))
        await self._heard
        if not self._leaving:
            self._trusted_until = sent + self._membership.trust
            self._membership.listener.trust(self._trusted_until)


async def _until_one_fails(*work: Coroutine[Any, Any, None]) -> None:
    """Run things together until the first one fails; none of them ends otherwise.

    No TaskGroup: on Python 3.11 and 3.12 it keeps a cancellation to itself that comes when one of its tasks fails.
    """
    tasks = [asyncio.get_running_loop().create_task(one) for one in work]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        errors = [error for task in tasks if not task.cancelled() and (error := task.exception()) is not None]
    for error in errors:
        raise error
