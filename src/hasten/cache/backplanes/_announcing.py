"""What one member has announced, and who has not acknowledged it yet. No I/O: the adapter carries the batches.

What is announced in one pass of the loop is one batch. It is complete when each member that may have had trust when it
was taken has acknowledged it, or when the patience of the announcer is over: TRUST_SECONDS and the margin, from when we
*know* that it was taken. That is later than it was taken, so it covers everything but clocks of different rates (NTP
corrects a clock by 0.05 % at most, here it may be 5 %).
"""

import asyncio
from collections.abc import Iterable
from itertools import chain, count
from time import monotonic

from hasten.cache._backplane import Invalidation

MARGIN = 0.05
"""Part of the trust by which everybody waits for longer."""
MOST_IN_A_BATCH = 1000
"""Invalidations in a batch; 1,000 keys of 40 bytes are 42 KB on the wire."""

_STRANGERS = ""
"""Stands for members that are not known: nobody's name, so it is never acknowledged."""


class Batch:
    """What is announced together.

    Attributes:
      number: Tells it from this member's other batches.
      waiting: Those who announced it and still wait; none when all were cancelled.
      acknowledged: Who has applied it before we know who must.
      missing: Who has not applied it yet; None until it is known that it was taken.
    """

    __slots__ = ("_invalidations", "acknowledged", "missing", "number", "timer", "until", "waiting")

    def __init__(self, number: int) -> None:
        self.number = number
        self.waiting: set[asyncio.Future[bool]] = set()
        self.acknowledged: set[str] = set()
        self.missing: set[str] | None = None
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
      trust: Seconds for which a beat gives trust.
    Attributes:
      patience: Seconds after which trust from what was taken before is over.
    """

    def __init__(self, trust: float) -> None:
        self.patience = trust * (1.0 + MARGIN)
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
          False if it is not known to have been taken.
        Cancellation: the batch is sent; nobody keeps waiting for it.
        """
        if not self._collected or self._collected[-1].full:
            self._collected.append(Batch(next(self._numbers)))
        batch = self._collected[-1]
        future = batch.add(invalidation)
        try:
            return await future
        except asyncio.CancelledError:
            batch.waiting.discard(future)
            if not batch.waiting and batch.missing is not None:
                self._finish(batch, told=True)
            raise

    def take_all(self) -> list[Batch]:
        """Return the batches that are to be sent now."""
        batches, self._collected = self._collected, []
        for batch in batches:
            self._sent[batch.number] = batch
        return batches

    def sent(self, batch: Batch, members: Iterable[str], *, strangers: bool = False) -> None:
        """Wait for those who may have had trust when the batch was taken.

        Args:
          members: Who they are, as far as it is known.
          strangers: There may be more: none of them can acknowledge, so the batch takes all of our patience.
        """
        batch.missing = set(members) - batch.acknowledged
        if strangers:
            batch.missing.add(_STRANGERS)
        if not batch.missing or not batch.waiting:
            self._finish(batch, told=True)
            return
        batch.until = monotonic() + self.patience
        self._wait_out(batch)

    def acknowledged(self, member: str, numbers: Iterable[int]) -> None:
        """Note that a member has applied these batches; it may have come before we know that they were taken."""
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

    def departed(self, member: str) -> None:
        """Wait for a member no more: it has emptied its memory."""
        self.acknowledged(member, list(self._sent))

    def fail(self, batches: Iterable[Batch]) -> None:
        """Give up what is not known to have been taken."""
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
