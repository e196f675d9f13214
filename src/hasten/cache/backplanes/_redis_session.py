"""A member's time with one server: from two connections that are opened to the first of them that is lost."""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from time import monotonic
from typing import Any

from hasten.cache._backplane import TRUST_SECONDS, UNTRUSTED_SECONDS, Invalidation, Listener
from hasten.cache.backplanes._announcing import Announcing
from hasten.cache.backplanes._messages import Announcement, UnreadableMessage, acknowledgement, announcement
from hasten.cache.backplanes._patience import patience
from hasten.cache.backplanes._redis_link import Commands, Names, RedisLink
from hasten.cache.backplanes._redis_outbox import Outbox

_logger = logging.getLogger("hasten.cache")


@dataclass(frozen=True, slots=True)
class Periods:
    """Seconds; all members of a namespace have the same.

    Attributes:
      trust: TRUST_SECONDS of the contract; a heartbeat comes three times in it.
      untrusted: UNTRUSTED_SECONDS of the contract.
      forget: Without a heartbeat for so long, a member is removed: nobody waits for it any more.
      settle: So long after Redis has lost members, or removed one, every announcement is waited out in full.
    """

    trust: float = TRUST_SECONDS
    untrusted: float = UNTRUSTED_SECONDS
    forget: int = 10
    settle: float = 5.0

    @property
    def answer(self) -> float:
        """How long an answer may take before the connection counts as lost."""
        return self.trust / 2


@dataclass(frozen=True, slots=True)
class Membership:
    """What stays the same through reconnects."""

    member: str
    names: Names
    periods: Periods
    announcing: Announcing
    listener: Listener


class Session:
    """Hears announcements on one connection and sends on another; both are lost together.

    Trust is given in this order, and each step waits for the one before:

    1. subscribed, so that nothing is missed from here on;
    2. registered, so that who announces from here on waits for us;
    3. a ping is sent on the connection that hears, and its answer read: what was announced before the server took the
       ping has been applied by then.

    Steps 2 and 3 are repeated. If step 2 finds that we were not in the set, others may not have waited for us: that is
    as if we had just joined.

    Attributes:
      joined: It is now.
      has_joined: It was, or is.

    Args:
      links: To hear on, and to send on; not open yet.
      was_member: We had a place in the set of members.
    """

    def __init__(self, membership: Membership, links: tuple[RedisLink, RedisLink], *, was_member: bool) -> None:
        self._membership = membership
        self._listening, self._sending = links
        self._was_member = was_member
        self._commands = Commands(
            membership.names, membership.member, membership.periods.forget, membership.periods.settle
        )
        self.outbox = Outbox(
            self._sending,
            self._commands,
            membership.announcing,
            member=membership.member,
            timeout=membership.periods.answer,
        )
        self.joined = self.has_joined = False
        self._trusted_until = 0.0
        self._leaving = False
        self._subscribed = asyncio.Event()
        self._ping = 0
        self._answered: asyncio.Future[None] | None = None
        self._own_channel = membership.names.acknowledgements(membership.member).encode()

    async def run(self, when_joined: Callable[[], None]) -> None:
        """Join and stay; never returns.

        Raises:
          RedisError, OSError, TimeoutError: a connection is lost, or was not to be had.
          Exception: the listener's, or a fault of ours.
        """
        try:
            async with patience(self._membership.periods.trust):
                await self._listening.open()
                await self._sending.open()
            await _until_one_fails(self.outbox.run(), self._hear(), self._beat_on(when_joined))
        finally:
            self.joined = False
            await self._listening.close()
            await self._sending.close()

    async def leave(self) -> None:
        """Be a member no more; trust is not given again. Nobody waits for us when this returns.

        Raises:
          ConnectionError, TimeoutError: it could not be said; others wait for us until we are forgotten.
        """
        self._leaving = True  # a registration that has been asked for already is sent before this:
        async with patience(self._membership.periods.answer):
            await self.outbox.ask(self._commands.leave())

    # ---- hearing

    async def _hear(self) -> None:
        await self._listening.send(self._commands.subscribe())
        while True:
            await self._take(await self._listening.read())

    async def _take(self, reply: list[Any]) -> None:
        kind = reply[0]
        if kind == b"message":
            if reply[1] == self._own_channel:
                self._take_acknowledgement(reply[2])
            else:
                self._take_announcement(reply[2])
        elif kind == b"pong":
            if self._answered is not None and not self._answered.done() and reply[1] == b"%d" % self._ping:
                self._answered.set_result(None)
        elif kind == b"subscribe" and reply[2] == 2:  # the second one of two
            self._subscribed.set()

    def _take_announcement(self, data: bytes) -> None:
        try:
            message = announcement(data)
        except UnreadableMessage as error:
            _logger.warning("backplane: %s; the memory is emptied", error)
            self._membership.listener.distrust()  # it may be anything; whoever sent it waits us out
            return
        if message.member != self._membership.member:  # our own was applied before it was sent
            self._apply(message)

    def _apply(self, message: Announcement) -> None:
        self._membership.listener.apply(Invalidation(message.keys, message.tags))
        self.outbox.acknowledge(message.member, message.number)

    def _take_acknowledgement(self, data: bytes) -> None:
        try:
            message = acknowledgement(data)
        except UnreadableMessage as error:
            _logger.warning("backplane: %s", error)
            return
        self._membership.announcing.acknowledged(message.member, message.numbers)

    # ---- the heartbeat

    async def _beat_on(self, when_joined: Callable[[], None]) -> None:
        trust = self._membership.periods.trust
        async with patience(trust):
            await self._subscribed.wait()
            await self._beat()
        self.joined = self.has_joined = True
        when_joined()
        while not self._leaving:
            await asyncio.sleep(random.uniform(0.8, 1.0) * trust / 3)
            # Until trust ends; longer when we were late ourselves, and it has ended for that.
            async with patience(max(self._trusted_until - monotonic(), self._membership.periods.answer)):
                await self._beat()
        await asyncio.Event().wait()  # to the end of the others

    async def _beat(self) -> None:
        if self._leaving:
            return
        added = await self.outbox.ask(self._commands.register(was_member=self._was_member))
        self._was_member = True
        sent = await self._ping_once()
        self._trust_from(sent, forget=bool(added) or not self.joined)

    async def _ping_once(self) -> float:
        """Return when the ping was sent whose answer has come."""
        self._ping += 1
        self._answered = asyncio.get_running_loop().create_future()
        sent = monotonic()
        await self._listening.send(("PING", self._ping))
        await self._answered
        return sent

    def _trust_from(self, sent: float, *, forget: bool) -> None:
        if self._leaving:  # since the ping was sent
            return
        if forget:
            self._membership.listener.distrust()
        self._trusted_until = sent + self._membership.periods.trust
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
