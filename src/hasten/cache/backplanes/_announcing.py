"""What one member has announced, and who has not acknowledged it yet. No I/O: the adapter carries the batches.

What is announced in one pass of the loop is one batch. A batch is complete when each member has acknowledged it, or
when the members that have not can no longer serve what it made invalid:

- A member trusts its memory until TRUST_SECONDS after it *sent* a ping whose answer came. Answers come behind what was
  announced before them: if it has not heard the batch, the server took that ping before the batch, so it was sent
  before, and its trust ends TRUST_SECONDS after the batch at the latest.
- One without trust keeps a value for UNTRUSTED_SECONDS from the beginning of its load. A load that began before the
  batch is over by then, one that began later found what is valid.

Both periods run on the member's clock and are waited for on ours, from when we *know* that the batch was taken. That is
later than when it was taken, which covers everything but clocks of different rates: MARGIN_SECONDS is for these (a
clock that NTP corrects is off by 0.05 % at most, here it may be 5 %).
"""

import asyncio
from collections.abc import Iterable
from itertools import chain, count
from time import monotonic

from hasten.cache._backplane import Invalidation

MARGIN_SECONDS = 0.05
MOST_IN_A_BATCH = 1000
"""Invalidations in a batch; 1,000 keys of 40 bytes are 42 KB on the wire."""


class Batch:
    """What is announced together.

    Attributes:
      number: Tells it from this member's other batches.
      waiting: Those who announced it and still wait; none when all were cancelled.
    """

    __slots__ = ("_invalidations", "acknowledged", "missing", "number", "timer", "until", "waiting")

    def __init__(self, number: int) -> None:
        self.number = number
        self.waiting: set[asyncio.Future[bool]] = set()
        self.acknowledged: set[str] = set()
        self.missing: set[str] | None = None  # not known until it is sent
        self.timer: asyncio.TimerHandle | None = None
        self.until = 0.0
        self._invalidations: list[Invalidation] = []

    def add(self, invalidation: Invalidation) -> "asyncio.Future[bool]":
        self._invalidations.append(invalidation)
        future = asyncio.get_running_loop().create_future()
        self.waiting.add(future)
        return future

    def invalidation(self) -> Invalidation:
        """Return everything in it as one, each key and version once."""
        if len(self._invalidations) == 1:
            return self._invalidations[0]
        keys = dict.fromkeys(chain.from_iterable(one.keys for one in self._invalidations))
        tags = dict.fromkeys(chain.from_iterable(one.tags for one in self._invalidations))
        return Invalidation(tuple(keys), tuple(tags))

    @property
    def full(self) -> bool:
        return len(self._invalidations) >= MOST_IN_A_BATCH

    def finish(self, *, told: bool) -> None:
        """Tell those who wait."""
        if self.timer is not None:
            self.timer.cancel()
        for future in self.waiting:
            if not future.done():
                future.set_result(told)
        self.waiting.clear()


class Announcing:
    """The batches of one member, from the first one who announces to the last one who acknowledges.

    Args:
      patience: Seconds after which a member that did not acknowledge cannot serve what is invalid.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._numbers = count(1)
        self._collected: list[Batch] = []
        self._sent: dict[int, Batch] = {}  # taken to be sent, or sent

    @property
    def open(self) -> int:
        """How many batches somebody waits for."""
        return len(self._collected) + len(self._sent)

    async def add(self, invalidation: Invalidation) -> bool:
        """Announce with the next batch, and wait until it is complete.

        Returns:
          False if it could not be sent.
        Cancellation: the batch is sent; nobody keeps waiting for it.
        """
        if not self._collected or self._collected[-1].full:
            self._collected.append(Batch(next(self._numbers)))
        batch = self._collected[-1]
        future = batch.add(invalidation)
        try:
            return await future
        finally:
            batch.waiting.discard(future)
            if not batch.waiting and batch.missing is not None:
                self._finish(batch, told=True)

    def take_all(self) -> list[Batch]:
        """Return the batches that are to be sent now."""
        batches, self._collected = self._collected, []
        for batch in batches:
            self._sent[batch.number] = batch
        return batches

    def sent(self, batch: Batch, members: Iterable[str], *, in_full: bool = False) -> None:
        """Wait for the members there were when the batch was taken by the server.

        Args:
          in_full: There may be others who are not known: wait as long as for one that does not acknowledge.
        """
        batch.missing = set(members) - batch.acknowledged
        if in_full:
            batch.missing.add("")
        if not batch.missing or not batch.waiting:
            self._finish(batch, told=True)
            return
        batch.until = monotonic() + self._patience
        self._wait_out(batch)

    def acknowledged(self, member: str, numbers: Iterable[int]) -> None:
        """Note that a member has applied these batches; it may have come before we know that they were sent."""
        for number in numbers:
            batch = self._sent.get(number)
            if batch is None:
                continue
            if batch.missing is None:
                batch.acknowledged.add(member)
                continue
            batch.missing.discard(member)
            if not batch.missing:
                self._finish(batch, told=True)

    def fail(self, batches: Iterable[Batch]) -> None:
        """Give up what could not be sent."""
        for batch in batches:
            self._finish(batch, told=False)

    def fail_all(self) -> None:
        """Give up everything."""
        collected, self._collected = self._collected, []
        self.fail(collected)
        self.fail(list(self._sent.values()))

    def _wait_out(self, batch: Batch) -> None:
        remaining = batch.until - monotonic()
        if remaining <= 0:
            self._finish(batch, told=True)
        else:  # again, too, if the timer was early: uvloop counts from the beginning of the pass
            batch.timer = asyncio.get_running_loop().call_later(remaining, self._wait_out, batch)

    def _finish(self, batch: Batch, *, told: bool) -> None:
        self._sent.pop(batch.number, None)
        batch.finish(told=told)
