"""Keeps the messages of `memory://` in a file, so that they outlive the process.

    loop's thread     add, change, remove, hand_over ──> Work ─┐        ┌─> answers, deliveries
    writer's thread                                            └ commit ┘

What comes in one pass of the loop, and while a commit is under way, is one transaction; so the busier a bus is, the
less a message costs. Two rules make what a killed process leaves exact:

- A message is put among those that wait when it is on disk. What is published is confirmed then.
- A message is handed over when the file says that it is delivered; so `returned` counts also what ended the process.
  Its consumer had room because the one before it was removed in the same transaction or an earlier one: what comes
  again after a kill are the messages that were being handled, at most `prefetch` of each consumer.
"""

import asyncio
import logging
import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, count

from hasten.events._broker import Delivery
from hasten.events._envelope import Envelope
from hasten.events._errors import BrokerError, PublishTimeout
from hasten.events.brokers._memory_file import Failures, KeptGroup, MessageFile, Work, packed
from hasten.events.brokers._memory_group import MOST_WAITING, Group, Keeping, MemoryIntake, State

MOST_BYTES = 128 * 1024 * 1024
"""Of one message; RabbitMQ's bound."""
PAUSE = 1.0
"""Seconds until what could not be written is tried again."""
_logger = logging.getLogger("hasten.events")


class _Row:
    """A delivery's place in the file: its tag.

    Attributes:
      is_apart: Its state says whether it was delivered, and not its place in line.
    """

    __slots__ = ("is_apart", "number")

    def __init__(self, number: int, *, is_apart: bool) -> None:
        self.number = number
        self.is_apart = is_apart


class _Publishing:
    """A message that waits to be kept."""

    __slots__ = ("answer", "deadline", "delay_ends", "deliveries", "groups")

    def __init__(self, groups: Sequence[Group], deliveries: list[Delivery], delay_ends: float, deadline: float) -> None:
        self.groups = groups
        self.deliveries = deliveries
        self.delay_ends = delay_ends
        self.deadline = deadline
        self.answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class _Batch(Work):
    """What one transaction writes, and what is done after it."""

    __slots__ = ("handovers", "publishings")

    def __init__(self) -> None:
        super().__init__()
        self.publishings: list[_Publishing] = []
        self.handovers: list[tuple[MemoryIntake, Delivery]] = []

    @property
    def is_urgent(self) -> bool:
        """Whether somebody waits for it."""
        return bool(self.added or self.handovers)

    def cut(self) -> "_Batch":
        """Return what somebody waits for; the rest stays."""
        batch = _Batch()
        batch.added, self.added = self.added, []
        batch.publishings, self.publishings = self.publishings, []
        batch.handovers, self.handovers = self.handovers, []
        return batch


class Journal(Keeping):
    """A file that hears of each message; of one event loop.

    Args:
      most_waiting: Messages that wait in a group, at most.

    What cannot be written, on a full disk for instance, is refused if it is published; all else is kept in memory and
    tried again each second, and messages go on being delivered and handled. A process that ends meanwhile handles those
    again that it has handled since.
    """

    def __init__(self, file: MessageFile, most_waiting: int = MOST_WAITING) -> None:
        self.name = file.name
        self.connected = False
        self.is_open = False
        self._file = file
        self._most_waiting = most_waiting
        self._is_due = False
        self._begin()

    def _begin(self) -> None:
        """Know nothing."""
        self._numbers = count(self._file.last + 1)
        self._batch = _Batch()
        self._written: _Batch | None = None  # what the writer has
        self._notes_fail = False
        self._retries = False  # notes that failed are to be tried again, now
        self._again: asyncio.TimerHandle | None = None
        self._passed: asyncio.Future[None] | None = None
        self._looks_at = math.inf  # by time.monotonic(): for publishings that are late
        self._late: asyncio.TimerHandle | None = None

    async def open(self) -> list[Group]:
        self._loop = asyncio.get_running_loop()
        self._writer = ThreadPoolExecutor(1, "hasten-memory")
        try:
            kept = await self._loop.run_in_executor(self._writer, self._file.open)
        except BaseException:
            self._writer.submit(self._file.close)  # who is cancelled here leaves the thread at it
            self._writer.shutdown(wait=False)
            raise
        self._begin()
        self.connected = self.is_open = True
        return [self._group_of(each) for each in kept]

    def _group_of(self, kept: KeptGroup) -> Group:
        group, now = self._group(kept.topic, kept.name, kept.number), time.time()
        for number, state, due, returned, envelope in kept.messages:
            delivery = Delivery(envelope, returned, _Row(number, is_apart=state is not State.IN_LINE))
            if state is State.DEAD:
                group.dead.append(delivery)
            else:
                group.put(delivery, 0.0 if due is None else due - now)
        return group

    async def join(self, topic: str, name: str) -> Group:
        self._check_open()
        number = await self._loop.run_in_executor(self._writer, self._file.add_group, topic, name)
        return self._group(topic, name, number)

    def _group(self, topic: str, name: str, number: int) -> Group:
        return Group(topic, name, self, number, most_waiting=self._most_waiting)

    # ---- what happens to messages

    def add(self, envelope: Envelope, groups: Sequence[Group], delay: float, deadline: float) -> "asyncio.Future[None]":
        self._check_open()
        now = time.monotonic()
        if deadline <= now:
            raise PublishTimeout(self.name, "its deadline is over")
        kept = self._packed(envelope)
        state, due = (State.BACK, time.time() + delay) if delay > 0.0 else (State.IN_LINE, None)
        deliveries = []
        for group in groups:
            number = next(self._numbers)
            deliveries.append(Delivery(envelope, 0, _Row(number, is_apart=due is not None)))
            self._batch.added.append((number, group.number, state, due, envelope.attempt, envelope.reason, kept))
        publishing = _Publishing(groups, deliveries, now + delay, deadline)
        self._batch.publishings.append(publishing)
        self._write_soon()
        if deadline < self._looks_at:
            self._look_at(deadline)
        return publishing.answer

    def _packed(self, envelope: Envelope) -> bytes:
        try:
            kept = packed(envelope)
        except (TypeError, ValueError, OverflowError) as error:
            raise BrokerError(self.name, f"{envelope.id} cannot be kept: {error}") from error
        if len(kept) > MOST_BYTES:
            raise BrokerError(self.name, f"{envelope.id} has {len(kept)} bytes; {MOST_BYTES} at most")
        return kept

    def hand_over(self, group: Group, picked: Sequence[tuple[MemoryIntake, Delivery]]) -> None:
        last = 0
        for _, delivery in picked:
            row: _Row = delivery.tag
            if row.is_apart:
                self.change(delivery, State.OUT)
            else:
                last = row.number  # those in line are delivered in their order
        if last:
            self._batch.delivered[group.number] = last
        self._batch.handovers += picked
        self._write_soon()

    def change(self, delivery: Delivery, state: State, delay: float = 0.0) -> None:
        row: _Row = delivery.tag
        row.is_apart = True
        envelope, due = delivery.envelope, time.time() + delay if delay > 0.0 else None
        self._batch.changed.append((state, due, delivery.returned, envelope.attempt, envelope.reason, row.number))
        self._write_soon()

    def remove(self, delivery: Delivery) -> None:
        self._batch.removed.append(delivery.tag.number)
        self._write_soon()

    # ---- transactions, one at a time

    def _write_soon(self) -> None:
        """Write at the end of this pass of the loop, or when the writer is back."""
        if self._written is None and not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._write)

    def _write(self) -> None:
        self._is_due = False
        if self._written is not None or not self._is_worth_it:
            return
        if self._notes_fail and not self._retries:
            batch = self._batch.cut()
        else:
            batch, self._batch = self._batch, _Batch()
        self._retries = False
        self._written = batch
        self._writer.submit(self._run, batch)

    @property
    def _is_worth_it(self) -> bool:
        """Whether there is anything to write, notes that failed not counted until they are tried again."""
        return self._batch.is_urgent or (self._batch.has_notes and (self._retries or not self._notes_fail))

    def _run(self, batch: _Batch) -> None:
        """Write, in the writer's thread."""
        failures = self._file.write(batch)
        try:
            self._loop.call_soon_threadsafe(self._wrote, batch, failures)
        except RuntimeError:  # the loop was closed before the broker: nobody is there to be told
            self._file.close()

    def _wrote(self, batch: _Batch, failures: Failures) -> None:
        self._written = None
        self._note_health(batch, failures)
        if failures.notes:
            batch.take_notes(self._batch)
            self._batch.take_notes(batch)
        for publishing in batch.publishings:
            self._answer(publishing, failures.added)
        for intake, delivery in batch.handovers:
            intake.take(delivery)  # also if that is not noted: a disk that is full gets room by what is handled
        if self._passed is not None and not self._passed.done():
            self._passed.set_result(None)
        self._write()

    def _note_health(self, batch: _Batch, failures: Failures) -> None:
        if not batch.added and not batch.has_notes:
            return
        reason = failures.notes or failures.added
        if reason and self.connected:
            _logger.warning("%s: not written: %s", self.name, reason)
        elif not reason and not self.connected:
            _logger.warning("%s: written again", self.name)
        self.connected = not reason
        if batch.has_notes or not reason:
            self._notes_fail = bool(failures.notes)
        if self._notes_fail and self._again is None:
            self._again = self._loop.call_later(PAUSE, self._try_again)

    def _try_again(self) -> None:
        self._again = None
        self._retries = True
        self._write()

    def _answer(self, publishing: _Publishing, failure: str) -> None:
        """Put a message where it is to be delivered, and tell who published it; or tell why not."""
        answer = publishing.answer
        if failure:
            if not answer.done():
                answer.set_exception(BrokerError(self.name, f"not written: {failure}"))
            for group in publishing.groups:
                group.release()
            return
        left = publishing.delay_ends - time.monotonic() if publishing.deliveries[0].tag.is_apart else 0.0
        for group, delivery in zip(publishing.groups, publishing.deliveries, strict=True):
            group.reserved -= 1
            group.put(delivery, left)
        if not answer.done():
            answer.set_result(None)

    # ---- a disk that does not answer: one timer for all publishings

    def _look_at(self, deadline: float) -> None:
        if self._late is not None:
            self._late.cancel()
        self._looks_at = deadline
        self._late = self._loop.call_later(deadline - time.monotonic(), self._look)

    def _look(self) -> None:
        """Give those publishings up whose deadline is over."""
        self._looks_at, now = math.inf, time.monotonic()
        under_way = self._written.publishings if self._written is not None else ()
        waiting = [each for each in chain(under_way, self._batch.publishings) if not each.answer.done()]
        for publishing in waiting:
            if publishing.deadline <= now:
                publishing.answer.set_exception(PublishTimeout(self.name, "not on disk yet"))
        nearest = min((each.deadline for each in waiting if each.deadline > now), default=math.inf)
        if nearest < math.inf:
            self._look_at(nearest)

    # ---- the end

    def _check_open(self) -> None:
        if not self.is_open:
            raise BrokerError(self.name, "is not started")

    async def aclose(self, left: int) -> None:
        """Write what is to be written, and leave the file; the messages of what cannot be come again."""
        self.is_open = False
        try:
            while self._written is not None or self._batch.is_urgent or self._batch.has_notes:
                self._retries = True
                self._write()
                self._passed = self._loop.create_future()
                await self._passed
                if self._notes_fail and self._written is None:
                    _logger.warning(
                        "%s: closed; what was handled last could not be written, and comes again", self.name
                    )
                    break
        finally:
            self.connected = False
            for timer in (self._late, self._again):
                if timer is not None:
                    timer.cancel()
            await self._loop.run_in_executor(self._writer, self._file.close)
            self._writer.shutdown(wait=False)
