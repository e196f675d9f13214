"""The backplane of processes that share a message broker: RabbitMQ, or whatever tells all who listen.

    bus = Bus("amqp://localhost")
    cache = Cache(second="memcached://localhost", backplane=BusBackplane(Broadcast(bus, "cache.shop")))
    hasten.install(app, bus=[bus, contextlib.aclosing(cache)])      # the cache says over the bus that it leaves

It keeps the contract whole: after `announce` has returned True no process serves what is invalid. It knows nothing of
events; a `Broadcast` is all that it needs, whose `send` returns when each listener will receive the message before any
that is sent from then on (RabbitMQ confirms when all queues have it).

There is no place that knows the members, so each hears all, and remembers who was heard:

- A beat goes to all. When it is confirmed everybody has it before him who sends from then on. The next beat is sent
  behind that, and when it comes back here the one *before* it gives trust: from when that was sent.
- An announcement goes to all. When it is confirmed an echo is sent behind it. When the echo comes back, each beat that
  was confirmed before the announcement was has been heard: whose trust may last is known, and waited for.
- A beat that was confirmed later gives trust when the next one comes back, which is behind the announcement, so that it
  has been applied.
- After a gap, as when the connection was lost, the memory is emptied before anything that came behind it.
- Who has just begun to listen, or has had a gap, may not have heard of everybody: for the first second each of its
  announcements takes until all trust from before is over. So does one during which somebody joins, or loses it.

Beside the Redis backplane:

- Each announcement is three messages to every member (itself, its echo, and one acknowledgement of each member, which
  all hear): N members hear N acknowledgements. It is for some ten processes and some invalidations a second.
- While the broker is away nobody is ever `alone`: every read of memory goes to the second tier or the loader once trust
  is over. Others may be at another node of the broker.
- A broker that loses a queue, or a confirmed message, without closing the connection is not noticed.
"""

import asyncio
import contextvars

from hasten.cache._backplane import TRUST_SECONDS, Backplane, Invalidation, Listener
from hasten.cache.backplanes._announcing import Announcing
from hasten.cache.backplanes._bus_membership import Broadcast, Membership


class BusBackplane(Backplane):
    """A member among the processes that listen to the same broadcast. One event loop's.

    Over RabbitMQ an announcement costs 0.4 to 0.7 ms of CPU in each process, and being a member 1.4 ms a second.

    Args:
      broadcast: Of these caches alone.
      trust_seconds: Instead of the contract's, for tests; the same for all members.
      settled: For tests: as if it had listened for long when it starts.
    """

    def __init__(self, broadcast: Broadcast, *, trust_seconds: float = TRUST_SECONDS, settled: bool = False) -> None:
        self.name = broadcast.name
        self._broadcast = broadcast
        self._trust = trust_seconds
        self._settled = settled
        self._announcing = Announcing(trust_seconds)
        self._listener: Listener | None = None
        self._membership: Membership | None = None
        self._life: asyncio.Task[None] | None = None

    async def start(self, listener: Listener) -> None:
        """Begin to join; what is announced until the first try has succeeded or failed waits for that."""
        self._listener = listener
        self._membership = Membership(
            self._broadcast, listener, self._announcing, trust=self._trust, settled=self._settled
        )
        # An empty context: it outlives the request that has started it, and must not end at that one's deadline.
        life = self._membership.run()
        self._life = asyncio.get_running_loop().create_task(life, context=contextvars.Context())

    async def announce(self, invalidation: Invalidation) -> bool:
        """Tell every member and wait until each has applied it or is waited out.

        What is announced in one pass of the loop is sent as one message.

        Returns:
          True after TRUST_SECONDS and 5 % at the latest, beside what the broker takes; False when it does not confirm.
        """
        if self._listener is not None:
            self._listener.apply(invalidation)
        if self._membership is None or not await self._membership.has_joined():
            return False
        self._membership.wake()
        return await self._announcing.add(invalidation)

    async def aclose(self) -> None:
        """Leave the members; what is announced just now returns False."""
        life, self._life = self._life, None
        membership, self._membership = self._membership, None
        if life is None or membership is None or self._listener is None:
            return
        membership.end()
        self._listener.distrust()  # before nobody waits for us any more
        life.cancel()
        try:
            await asyncio.wait((life,))
            await membership.leave()
        finally:
            self._announcing.fail_all()
            await self._broadcast.aclose()
