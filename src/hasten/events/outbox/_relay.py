"""Publishes what is in an outbox: in as many processes as there are, one of them active.

    active? ── read the oldest ── publish, each key's in order, keys beside each other ── remove what is confirmed
       │                              └── refused: noted, tried again later; it holds back its own key
       └── no: ask again when the lease may have ended

A relay that is killed anywhere leaves rows that the next one publishes; those that were confirmed and not removed are
published twice, with the same id: `MOST_AT_ONCE` at most.
"""

import asyncio
import logging
import random
import secrets
import time
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import msgspec

from hasten._core.errors import ConfigurationError
from hasten._core.signals import OutboxHook, OutboxLag
from hasten.events._bus import Bus
from hasten.events._errors import BrokerUnavailable, PublishTimeout
from hasten.events._policy import RetryPolicy
from hasten.events.outbox._outbox import Outbox, Unsent, Waiting

MOST_AT_ONCE = 200
"""Messages that are read, published and removed together."""
_KEYS_AT_ONCE = 64
_LOOK_AT_LAG_EVERY = 5.0  # seconds; counting reads the whole table in PostgreSQL
_REFUSED = RetryPolicy(first=1.0, longest=60.0)
_BROKEN = RetryPolicy(first=0.1, longest=5.0)  # the database or the broker is away
_logger = logging.getLogger("hasten.events")


class RelayStatistics(msgspec.Struct, frozen=True):
    """What a relay has done, and sees.

    Attributes:
      active: Whether it is the one that publishes.
      published: Messages that the broker has confirmed to it.
      refusals: Times that the broker has refused one.
      waiting: What was in the outbox when it looked last, which the active one does every few seconds.
    """

    active: bool
    published: int
    refusals: int
    waiting: Waiting


class Relay:
    """Publishes an outbox's messages by a bus: `async with bus, Relay(outbox, bus) as relay:`.

    30 µs of CPU a message from an SQLite file to `memory://`, its handling included. Of one key one is under way at a
    time, of all together `_KEYS_AT_ONCE`.

    Args:
      outbox: Whose tables are there.
      bus: Started before, and left after.
      poll: Seconds between two looks, spread by half up and down, when nobody calls `wake`.
      lease: Seconds until another relay takes the place of one that is killed.
      hooks: Called with an `OutboxLag`, in the loop's thread; one that raises harms nobody.
    Raises:
      ConfigurationError: a duration is out of bounds.
    """

    def __init__(
        self, outbox: Outbox, bus: Bus, *, poll: float = 1.0, lease: float = 15.0, hooks: Sequence[OutboxHook] = ()
    ) -> None:
        if not (poll > 0.0 and lease > 0.0):
            raise ConfigurationError("Relay", f"poll={poll}, lease={lease}", "both must be greater than 0")
        self._outbox = outbox
        self._bus = bus
        self._poll = poll
        self._lease = lease
        self._hooks = list(hooks)
        self._owner = secrets.token_hex(8)
        self._wanted = asyncio.Event()
        self._stopping = False
        self._active_until = 0.0  # by time.monotonic()
        self._renew_at = 0.0
        self._look_at = 0.0
        self._failures = 0
        self._published = 0
        self._refusals = 0
        self._waiting = Waiting(0, 0.0, 0)
        self._task: asyncio.Task[None] | None = None

    def add_hook(self, hook: OutboxHook) -> None:
        """Have one more hook called from now on."""
        self._hooks.append(hook)

    async def __aenter__(self) -> Self:
        self._stopping = False  # it may have been left before
        self._task = asyncio.get_running_loop().create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Finish what is being published, and let another relay be active at once."""
        self._stopping = True
        self._wanted.set()
        if self._task is not None:
            await self._task
            self._task = None

    def wake(self) -> None:
        """Have it look at once: a transaction with a message was committed. In the loop's thread."""
        self._wanted.set()

    def statistics(self) -> RelayStatistics:
        """Return what it has done, and sees."""
        return RelayStatistics(self._is_active, self._published, self._refusals, self._waiting)

    @property
    def _is_active(self) -> bool:
        return time.monotonic() < self._active_until

    # ---- the loop

    async def _run(self) -> None:
        try:
            while not self._stopping:
                self._wanted.clear()  # what is committed after this is seen by this round, or wakes the next
                try:
                    full = await self._round()
                    self._failures = 0
                except Exception as error:  # of the database's driver, or of the broker: both may be away for long
                    self._failures += 1
                    full = False
                    _logger.warning("%s: not relayed: %s: %s", self._outbox.table, type(error).__name__, error)
                if not full:
                    await self._pause()
        finally:
            await self._leave()

    async def _round(self) -> bool:
        """Publish what is there; return whether there may be more."""
        await self._keep_lease()
        if not self._is_active:
            return False
        unsent = await self._outbox.unsent(MOST_AT_ONCE)
        if unsent:
            await self._publish(unsent)
        if time.monotonic() >= self._look_at:
            await self._look()
        return len(unsent) == MOST_AT_ONCE

    async def _pause(self) -> None:
        seconds = self._poll * random.uniform(0.5, 1.5)
        if self._failures:
            seconds = _BROKEN.delay(self._failures, random.random)
        try:
            async with asyncio.timeout(seconds):
                await self._wanted.wait()
        except TimeoutError:
            return
        if self._failures and not self._stopping:
            await asyncio.sleep(min(seconds, _BROKEN.first))  # who wakes it often must not have it ask all the time

    async def _keep_lease(self) -> None:
        """Become or stay the active one."""
        now = time.monotonic()  # before the question: the lease ends for us no later than for others
        if now < self._renew_at:
            return
        if await self._outbox.lease(self._owner, self._lease):
            self._active_until = now + self._lease
            self._renew_at = now + self._lease / 3
        else:  # asked again at the next look; who wakes a relay that is not active makes no work
            self._active_until, self._renew_at = 0.0, now + self._poll / 2

    async def _leave(self) -> None:
        try:
            if self._is_active:
                self._active_until = self._renew_at = 0.0
                await self._outbox.give_up(self._owner)
            await self._outbox.database.aclose()
        except Exception as error:
            _logger.warning("%s: left in disorder: %s: %s", self._outbox.table, type(error).__name__, error)

    # ---- publishing

    async def _publish(self, unsent: Sequence[Unsent]) -> None:
        """Publish messages, and remove those that are confirmed, also if others fail."""
        lanes: dict[object, deque[Unsent]] = {}
        for each in unsent:
            lanes.setdefault(each.envelope.key or each.place, deque()).append(each)
        waiting, confirmed = deque(lanes.values()), list[int]()
        workers = (self._work(waiting, confirmed) for _ in range(min(_KEYS_AT_ONCE, len(lanes))))
        outcomes = await self._staying_active(asyncio.gather(*workers, return_exceptions=True))
        if confirmed:
            await self._outbox.remove(confirmed)
            self._published += len(confirmed)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome

    async def _staying_active(self, work: "asyncio.Future[list[BaseException | None]]") -> "list[BaseException | None]":
        """Keep the lease until work is done; without it the work ends by itself."""
        while not work.done():
            await asyncio.wait((work,), timeout=self._lease / 3)
            try:
                await self._keep_lease()
            except Exception as error:
                _logger.warning("%s: no lease: %s: %s", self._outbox.table, type(error).__name__, error)
        return work.result()

    async def _work(self, lanes: deque[deque[Unsent]], confirmed: list[int]) -> None:
        """Publish one key after the other; end when the broker is away."""
        while lanes:
            lane = lanes.popleft()
            while lane and self._is_active:
                each = lane.popleft()
                try:
                    await self._bus.forward(each.envelope, deadline=self._active_until)
                except (BrokerUnavailable, PublishTimeout):
                    lanes.clear()
                    raise
                except Exception as error:  # of this message: nobody wants it, it is too large
                    await self._note_refused(each, error)
                    break
                confirmed.append(each.place)

    async def _note_refused(self, unsent: Unsent, error: Exception) -> None:
        self._refusals += 1
        problem = f"{type(error).__name__}: {error}"
        _logger.warning("%s: %s: refused: %s", self._outbox.table, unsent.envelope.id, problem)
        await self._outbox.refuse(unsent.place, problem, _REFUSED.delay(unsent.refusals + 1, random.random))

    # ---- lag

    async def _look(self) -> None:
        self._waiting = waiting = await self._outbox.waiting()
        self._look_at = time.monotonic() + _LOOK_AT_LAG_EVERY
        for hook in self._hooks:
            try:
                hook(OutboxLag(self._outbox.table, waiting.count, waiting.oldest, waiting.refused))
            except Exception as error:
                asyncio.get_running_loop().call_exception_handler(
                    {"message": "hasten.events.outbox: a hook raised", "exception": error}
                )
