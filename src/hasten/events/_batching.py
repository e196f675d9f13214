"""Messages that are handled together: `@bus.subscribe(..., batch=Batch(most=100, wait=0.05))`.

    delivered ──> Gathering ── full, or the first has waited ──> one call ── returns ──> all accepted
                                                                    └── raises ──> one by one, as without batches

`Gathering` decides what makes a batch; it is data alone. `BatchConsumer` runs its timer and its calls.

One poison message does not bury the others: a batch that fails is no attempt of any of its messages, and each is then
handled alone, at once. What failed alone is retried alone; so is what came back unsettled, in case it ended a process.
In an ordered group a key is in one batch at a time, and its messages stand in it as they were published.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from hasten._core.ambient import AMBIENT, Carried
from hasten._core.tracing import NO_SPAN, is_asked, trace_id_of
from hasten.events._broker import Delivery, Intake, Subscription
from hasten.events._consumer import Consumer, Handling, logger, monotonic_of
from hasten.events._envelope import Envelope
from hasten.events._errors import Malformed
from hasten.events._once import Claim, Standing
from hasten.events._policy import Batch
from hasten.ledger import recorded_since

_AT_ONCE = -math.inf  # since when what need not wait has been there


class Gathering:
    """Messages that wait to be handled together. Points in time are by one monotonic clock.

    Args:
      batch: How many, and how long.
      ordered: Whether messages of one key are to keep their order.
    """

    def __init__(self, batch: Batch, *, ordered: bool) -> None:
        self._most = batch.most
        self._wait = batch.wait
        self._ordered = ordered
        self._ready: deque[tuple[float, Delivery]] = deque()  # those of one key in their order
        self._alone: deque[Delivery] = deque()
        self._at_work: set[str] = set()  # keys in batches that were taken
        self._behind: dict[str, list[Delivery]] = {}  # messages of those keys; all older than the key's in _ready

    @property
    def is_full(self) -> bool:
        """Whether a batch need not wait for more."""
        return bool(self._alone) or len(self._ready) >= self._most

    def due_at(self) -> float:
        """Return when a batch is to be taken at the latest; infinite if there is none."""
        if self._alone:
            return _AT_ONCE
        self._put_aside()
        return self._ready[0][0] + self._wait if self._ready else math.inf

    def add(self, delivery: Delivery, now: float) -> None:
        """Add a message."""
        if not self._ordered and _is_suspect(delivery):
            self._alone.append(delivery)
        else:
            self._ready.append((now, delivery))

    def take(self, now: float, *, waits: bool = True) -> list[Delivery]:
        """Return the next batch, empty if none is due; give it back by `ended`.

        Args:
          waits: Whether the first may wait for others.
        """
        if self._alone:
            return [self._alone.popleft()]
        if self.is_full or not waits or self.due_at() <= now:
            return self._first()
        return []

    def ended(self, deliveries: Iterable[Delivery]) -> None:
        """Let the keys of messages that were taken be taken again."""
        if not self._ordered:
            return
        for key in {delivery.envelope.key for delivery in deliveries}:
            self._at_work.discard(key)
            behind = self._behind.pop(key, ())
            self._ready.extendleft((_AT_ONCE, delivery) for delivery in reversed(behind))

    def _first(self) -> list[Delivery]:
        taken: list[Delivery] = []
        while self._ready and len(taken) < self._most:
            self._put_aside()
            if not self._ready or (taken and self._ordered and _is_suspect(self._ready[0][1])):
                break
            taken.append(self._ready.popleft()[1])
            if self._ordered and _is_suspect(taken[-1]):
                break
        if self._ordered:
            self._at_work.update(filter(None, (delivery.envelope.key for delivery in taken)))
        return taken

    def _put_aside(self) -> None:
        """Have a message stand first whose key is not at work."""
        while self._ready and (key := self._ready[0][1].envelope.key) in self._at_work:
            self._behind.setdefault(key, []).append(self._ready.popleft()[1])


class BatchConsumer(Consumer):
    """One subscription whose handler takes lists.

    Args:
      batch: What is handled together.
      concurrency: Calls of the handler at once. While they are under way batches grow, up to `batch.most`.
    """

    def __init__(self, subscription: Subscription, handling: Handling, batch: Batch, concurrency: int) -> None:
        super().__init__(subscription, handling)
        self._gathering = Gathering(batch, ordered=subscription.ordered)
        self._room = concurrency
        self._timer: asyncio.TimerHandle | None = None

    def receive(self, delivery: Delivery) -> None:
        if self._intake is None:  # as in Consumer.receive
            self._early.append(delivery)
            return
        self.under_way += 1
        if self._handling.hooks:
            self._tell_delivered(delivery)
        self._gathering.add(delivery, time.monotonic())
        if self._gathering.is_full or self._draining.is_set():
            self._begin()
        elif self._timer is None:
            self._wake()

    def _hurry(self) -> None:
        self._begin()

    def _begin(self) -> None:
        """Have what is due handled, as far as there is room."""
        assert self._intake is not None  # nothing has come before
        waits = not self._draining.is_set()
        while self._room > 0 and not self._is_over and (batch := self._gathering.take(time.monotonic(), waits=waits)):
            self._room -= 1
            self._spawn(self._settle_batch(self._intake, batch))
        if self._timer is None:
            self._wake()

    def _wake(self) -> None:
        """Look again when the next batch is due; one that has no room is begun when a call ends.

        A timer is not cancelled when its batch was full before: one that comes too early looks, and is set again.
        """
        due = self._gathering.due_at()
        if self._room > 0 and due < math.inf and not self._is_over:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, due - time.monotonic()), self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._begin()

    # ---- one batch

    async def _settle_batch(self, intake: Intake, batch: list[Delivery]) -> None:
        ended = batch
        try:
            left = batch if len(batch) == 1 else await self._settle_together(intake, batch)
            if self.subscription.ordered and len(left) > 1:
                ended = list(set(batch).difference(left))
                self._part(intake, left)
            else:
                await self._settle_each(intake, left)
        finally:
            self._room += 1
            self._gathering.ended(ended)
            self._begin()

    async def _settle_each(self, intake: Intake, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            await self._settle(intake, delivery)

    def _part(self, intake: Intake, deliveries: list[Delivery]) -> None:
        """Have the messages of a batch that failed settled key by key: one key's pauses hold up no other."""
        lanes: dict[str, list[Delivery]] = {}
        for delivery in deliveries:
            lanes.setdefault(delivery.envelope.key, []).append(delivery)
        for lane in lanes.values():
            self._spawn(self._settle_lane(intake, lane))

    async def _settle_lane(self, intake: Intake, lane: list[Delivery]) -> None:
        try:
            await self._settle_each(intake, lane)
        finally:
            self._gathering.ended(lane)
            self._begin()

    async def _settle_together(self, intake: Intake, batch: list[Delivery]) -> list[Delivery]:
        """Settle what a batch settles; return the messages that are to be handled one by one."""
        for delivery in batch:
            self.progress.begin(delivery)
        try:
            return await self._settle_fit(intake, batch)
        finally:
            for delivery in batch:
                self.progress.end(delivery)

    async def _settle_fit(self, intake: Intake, batch: list[Delivery]) -> list[Delivery]:
        fit = await self._fit(intake, batch)
        claims = await self._claims(intake, fit)
        if claims is None or len(fit) < 2:  # one alone gets its retries
            if claims:
                await self._release(fit, claims)
            return list(fit)
        if not await self._handle_together(fit, claims):
            return list(fit)
        await self._note_done(fit, claims)
        for delivery in fit:
            intake.accept(delivery)
        self.under_way -= len(fit)
        return []

    async def _fit(self, intake: Intake, batch: list[Delivery]) -> dict[Delivery, Any]:
        """Return the messages that can be handled, with their payloads; bury the others."""
        fit: dict[Delivery, Any] = {}
        for delivery in batch:
            if self._refusal(delivery) is None:
                try:
                    fit[delivery] = self._handling.call.decode(delivery.envelope.body, delivery.envelope.content_type)
                    continue
                except Malformed:
                    pass
            await self._settle(intake, delivery)
        return fit

    async def _handle_together(self, fit: dict[Delivery, Any], claims: Sequence[Claim]) -> bool:
        """Return whether the handler has returned."""
        envelopes = [delivery.envelope for delivery in fit]
        tracer = self.tracer
        spans = [NO_SPAN if tracer is None else tracer.begin(envelope.traceparent) for envelope in envelopes]
        AMBIENT.set(_ambient_of(envelopes, () if tracer is None else [span for span, _ in spans]))
        ok = False
        try:
            chosen = next((at for at, (span, _) in enumerate(spans) if is_asked(span)), 0)
            await self._recorded(spans[chosen][0], self._call_with_all, fit, envelopes, spans, chosen)
            ok = True
        except Exception as error:  # one of them was done already (AlreadyDone), or rejected: it will be again, alone
            what = f"{type(error).__name__}: {error}"
            logger.warning("%s: a batch of %d: %s; now one by one", self._handling.call.name, len(fit), what)
        finally:
            if not ok:
                await self._release(fit, claims)
        if not ok:
            for envelope in envelopes:
                self._tell_retried(envelope.attempt, "batch", 0.0)
        return ok

    async def _call_with_all(
        self, fit: dict[Delivery, Any], envelopes: Sequence[Envelope], spans: Sequence[tuple[str, str]], chosen: int
    ) -> None:
        """Call the handler, and tell of each message; an account is the chosen one's."""
        began, ok = time.monotonic(), False
        try:
            await self._handling.call.many(list(fit.values()), envelopes)
            ok = True
        finally:
            if self._handling.hooks:
                recorded = recorded_since()
                for at, (envelope, span) in enumerate(zip(envelopes, spans, strict=True)):
                    theirs = recorded if at == chosen else math.inf
                    self._tell_handled(envelope, envelope.attempt, began, span, theirs, ok=ok)

    # ---- once

    async def _claims(self, intake: Intake, fit: dict[Delivery, Any]) -> list[Claim] | None:
        """Claim all messages, and leave out and accept those that are done; None if that cannot be done together."""
        once = self._handling.once
        if once is None or not fit:
            return []
        asked = [once.claim(self.subscription.group, delivery.envelope.id) for delivery in fit]
        answers = dict(zip(tuple(fit), await asyncio.gather(*asked, return_exceptions=True), strict=True))
        for delivery, answer in answers.items():
            if isinstance(answer, Claim) and answer.standing is Standing.DONE:
                del fit[delivery]
                intake.accept(delivery)
                self.under_way -= 1
        left = {delivery: answers[delivery] for delivery in fit}
        ours = {each: got for each, got in left.items() if isinstance(got, Claim) and got.standing is Standing.OURS}
        if len(ours) == len(left):
            return list(ours.values())
        await self._release(ours, list(ours.values()))  # another consumer has one, or it cannot be known
        return None

    async def _release(self, deliveries: Iterable[Delivery], claims: Sequence[Claim]) -> None:
        if claims:
            ids = (delivery.envelope.id for delivery in deliveries)
            await asyncio.gather(*(self._give_back(one, claim) for one, claim in zip(ids, claims, strict=True)))

    async def _note_done(self, deliveries: Iterable[Delivery], claims: Sequence[Claim]) -> None:
        if claims:
            ids = (delivery.envelope.id for delivery in deliveries)
            await asyncio.gather(*(self._note(one, claim) for one, claim in zip(ids, claims, strict=True)))


def _is_suspect(delivery: Delivery) -> bool:
    """Whether a message has failed before, or may have ended the process that had it."""
    return delivery.returned > 0 or delivery.envelope.attempt > 1


def _ambient_of(envelopes: Sequence[Envelope], spans: Sequence[str]) -> Carried:
    """Return what a batch's handler carries on: it is worth doing as long as one is; the trace, if all are of one.

    Args:
      spans: The traceparents of the messages' handling, of which the first is carried on; empty if nobody traces.
    """
    carried = spans or [envelope.traceparent for envelope in envelopes]
    traces = {trace_id_of(each) for each in carried}
    deadline = max(envelope.deadline for envelope in envelopes)
    return Carried(monotonic_of(deadline), carried[0] if len(traces) == 1 else "")
