"""The backplane of processes that share a Redis: pub/sub for what is announced, and a set of who must acknowledge it.

    backplane = RedisBackplane("redis://localhost:6379/0", "shop")
    await backplane.start(cache)
    await backplane.announce(Invalidation(keys=("product:7",)))    # True: no process serves it any more

Each process has two connections of its own: one that hears and one that sends. Redis runs commands one after another,
and the connection that hears gets what they cause in that order; this is all that the protocol needs of it:

- A script publishes an announcement and returns the set of members of the same moment. Each of them acknowledges on the
  announcer's own channel when it has applied it (`_announcing`).
- A script beats: it renews our place in the set and publishes to our own channel (`_redis_session`).
- Each place says which beat, of all members' beats, was the member's last. Who remembers how old some beat is by its
  own clock knows whose trust is over, and removes them (`_standing`).
- The set bears a mark that nobody who has trust is missing in it, and nobody is alone. A new set has none, nor one that
  begins anew because Redis has lost its data, or was started again; there may be strangers, and whoever announces waits
  for as long as trust lasts. The mark is set by a member that has been in the set for that long, for this run of Redis.
- While Redis refuses connections, or is loading its data, nobody can announce anything, and its next run has no mark
  for as long as trust lasts: we are alone. Where it says nothing it may be only us whom it does not answer.
- We apply what we announce ourselves at once, before it is sent, and count as having acknowledged it for that. Our own
  message is ignored when it comes back: it would drop what has been loaded since, which is valid.

What this does not hold against:

- Two masters. While a Redis that was cut off from its sentinels or its cluster still takes commands, members on its
  side do not hear those on the other. `min-replicas-to-write 1` with `min-replicas-max-lag 1` makes that short.
- A door that is shut while others are inside: a proxy, a firewall or a Service of Kubernetes that refuses connections
  to a Redis to which others are still connected. A process that has lost its own takes that for a Redis that is away,
  and may serve what was loaded up to a second ago.
- A Redis that comes back without its last writes, as far as the second tier goes: what they deleted is back.
- A machine whose monotonic clock stands still while it is suspended.
"""

import asyncio
import contextvars
import logging
import random
import secrets
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

from hasten._core.errors import ConfigurationError
from hasten.cache._backplane import TRUST_SECONDS, Backplane, Invalidation, Listener
from hasten.cache.backplanes._announcing import Announcing
from hasten.cache.backplanes._patience import Patience
from hasten.cache.backplanes._redis_link import Names, RedisLink
from hasten.cache.backplanes._redis_place import Failures, RedisPlace
from hasten.cache.backplanes._redis_session import Membership, Session

if TYPE_CHECKING:
    from redis.asyncio import Redis, RedisCluster

_FIRST_RETRY = 0.05  # seconds at most until the first try to join again
_LAST_RETRY = 0.5  # part of the trust at most between tries: who is alone must find out in time that it still is
_UNHEARD = 0.1  # seconds after which a cancellation has not been heard; to close a connection takes none
_logger = logging.getLogger("hasten.cache")


class RedisBackplane(Backplane):
    """A member among the processes that have the same namespace on the same Redis. One event loop's.

    An announcement takes 0.10 ms in one process, 0.18 with 2 and 0.35 (p99 0.8) with 4 that share two cores with Redis;
    its CPU is 60, 90 and 130 µs here and 70 to 90 in each other process, 5 to 6 and 1 to 2 when 64 are under way at
    once. Of N members it takes a script, whose message goes to all, and a message from each other one.

    Args:
      where: A URL as for the second tier: `redis://`, `rediss://`, `unix://`, `redis+cluster://host:port,host:port`,
        `redis+sentinel://host:port,host:port/service/db`; or a client of redis-py's asyncio side, of which only the
        settings are used: it is not closed, and none of its connections taken.
      namespace: Whose caches hear each other.
      trust_seconds: Instead of the contract's, for tests; the same for all members.
    Raises:
      ConfigurationError: the URL or the namespace is wrong.
    """

    def __init__(
        self,
        where: "str | Redis | RedisCluster",
        namespace: str = "hasten",
        *,
        trust_seconds: float = TRUST_SECONDS,
    ) -> None:
        if not namespace or not namespace.isprintable() or "}" in namespace:
            raise ConfigurationError(f"backplane namespace {namespace!r}", "must be printable text without }")
        self._place = RedisPlace(where)
        self.name = self._place.name
        self._names = Names.of(namespace)
        self._trust_seconds = trust_seconds
        self._announcing = Announcing(trust_seconds)
        self._listener: Listener | None = None
        self._session: Session | None = None
        self._first_try: asyncio.Future[None] | None = None  # done when it has joined, or failed
        self._failures = 0  # tries to join that have failed since we were a member
        self._life: asyncio.Task[None] | None = None

    async def start(self, listener: Listener) -> None:
        """Begin to join; what is announced until the first try has succeeded or failed waits for that."""
        self._listener = listener
        membership = Membership(secrets.token_hex(8), self._names, self._trust_seconds, self._announcing, listener)
        self._failures = 0
        self._first_try = asyncio.get_running_loop().create_future()
        # An empty context: it outlives the request that has started it, and must not end at that one's deadline.
        self._life = asyncio.get_running_loop().create_task(self._live(membership), context=contextvars.Context())

    async def announce(self, invalidation: Invalidation) -> bool:
        """Tell every member and wait until each has applied it or is waited out.

        What is announced in one pass of the loop is sent as one message, and told to a listener as one invalidation.

        Returns:
          True after TRUST_SECONDS and 5 % at the latest. False at once while there is no connection, and after half of
          TRUST_SECONDS if it is lost before Redis has answered.
        """
        if self._listener is not None:
            self._listener.apply(invalidation)
        if self._first_try is not None and not self._first_try.done():
            await asyncio.wait((self._first_try,))
        session = self._session
        if session is None or not session.joined:
            return False
        session.outbox.wake()
        return await self._announcing.add(invalidation)

    async def aclose(self) -> None:
        """Leave the members and close the connections; what is announced just now returns False."""
        life, self._life = self._life, None
        session, self._session = self._session, None
        try:
            if life is not None and self._listener is not None:
                self._listener.distrust()  # before nobody waits for us any more
                if session is not None:
                    with suppress(*Failures):
                        await session.leave()
        finally:
            if life is not None:
                await _end(life)
            self._announcing.fail_all()
            await self._place.aclose()

    # ---- the life of a member

    async def _live(self, membership: Membership) -> None:
        try:
            while True:
                await self._join_and_stay(membership)
                await asyncio.sleep(_pause(self._failures, _LAST_RETRY * self._trust_seconds))
                self._failures += 1
        finally:
            self._end_first_try()

    async def _join_and_stay(self, membership: Membership) -> None:
        """Be a member until the connection is lost."""
        began = monotonic()
        try:
            async with Patience(self._trust_seconds):
                listening, sending = map(RedisLink, await self._place.connections(2, self._names.members))
            self._session = Session(membership, listening, sending, when_joined=self._note_joined)
            await self._session.run()
        except Exception as error:  # also of the listener, or of ours: a member must not end by that
            if not self._failures:
                membership.listener.distrust()
                _say(self.name, error)
            if self._place.is_away(error):
                membership.listener.alone(began + self._trust_seconds)
        self._session = None
        self._announcing.fail(self._announcing.take_all())
        self._end_first_try()

    def _note_joined(self) -> None:
        self._failures = 0
        self._end_first_try()

    def _end_first_try(self) -> None:
        if self._first_try is not None and not self._first_try.done():
            self._first_try.set_result(None)


async def _end(life: "asyncio.Task[None]") -> None:
    """Cancel until it is over.

    On Python 3.11 `asyncio.wait_for`, by which redis-py asks sentinels and clusters, keeps a cancellation to itself if
    what it waits for has just come.
    """
    while not life.done():
        life.cancel()
        await asyncio.wait((life,), timeout=_UNHEARD)


def _pause(failures: int, longest: float) -> float:
    """Return how long to wait before the next try to join, by chance: not all come back at once."""
    most = min(_FIRST_RETRY * 2.0 ** min(failures, 10), longest)
    return random.uniform(most / 2, most)


def _say(name: str, error: Exception) -> None:
    """Log once why the backplane is lost; with its traceback if it is nothing that Redis or the network does."""
    expected = isinstance(error, Failures)
    _logger.warning(
        "%s: backplane lost: %s: %s", name, type(error).__name__, error, exc_info=None if expected else error
    )
