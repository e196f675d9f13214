"""What happens to a message from its delivery until it is settled, whatever the broker.

    delivered ── expired, malformed, returned too often ──> dead letters
        │
        ├── handled before (once=) ──> accepted
        │
     handler ── returns ──> accepted
        ├── raises Reject ──> dead letters
        └── raises ── retries left ──> again later, by the broker; in place if the group is ordered
                  └── none left ──> dead letters

One task a message. In an ordered group messages of one key have a lane: each waits for the one before it.
"""

import asyncio
import contextvars
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar, TypeVarTuple

from hasten._core.ambient import AMBIENT, Carried
from hasten._core.signals import EventBuried, EventDelivered, EventHandled, EventHook, EventRetried
from hasten._core.tracing import NO_SPAN, Tracer
from hasten.events._broker import Broker, Delivery, Intake, Subscription
from hasten.events._envelope import NO_DEADLINE, Envelope
from hasten.events._errors import BrokerError, Malformed, Reject
from hasten.events._handler import Call
from hasten.events._once import AlreadyDone, Claim, Once, Standing
from hasten.events._policy import RetryPolicy
from hasten.events._progress import Progress
from hasten.events._telling import tell
from hasten.ledger import recorded_since

if TYPE_CHECKING:
    from hasten.ledger import WorkRecorder

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

MOST_RETURNED = 20
"""A message that came back so often without an answer goes to the dead letters: it may be what ends the processes.

Its neighbours came back as often, so a consumer buries one in its life, and tries the others: see SUSPECT_RETURNED."""
SUSPECT_RETURNED = 3
"""Those that came back so often are handled one after the other, and each is settled before the next one begins.

So what ends the process is soon the first of them, and it is that one which is buried.
"""
STUCK_AFTER = 60.0
"""Seconds in which a consumer that is at work must come to an end with something."""
_SUSPECT_PAUSE = 0.1  # seconds, in which the settlement of the suspect before is sent, and on disk
_BUSY_PAUSE = 1.0  # seconds until a message that another consumer has claimed is looked at again
Cause = Literal["failed", "rejected", "malformed", "expired", "returned"]
AgainBecause = Literal["failed", "busy", "batch"]
logger = logging.getLogger("hasten.events")


@dataclass(frozen=True, slots=True)
class Handling:
    """How a group handles its messages.

    Attributes:
      call: The handler.
      retry: What happens when it raises.
      once: Remembers what was handled; None handles each delivery.
      hooks: Called with an `EventDelivered`, `EventHandled`, `EventRetried` or `EventBuried`.
      stuck_after: Seconds in which something must come to an end while it is at work.
    """

    call: Call
    retry: RetryPolicy
    once: Once | None = None
    hooks: Sequence[EventHook] = ()
    stuck_after: float = STUCK_AFTER


class Consumer:
    """One subscription in this process.

    Attributes:
      subscription: What it gets.
      under_way: Messages that are handled now, or wait for one of their key.
      progress: Whether it gets anywhere with them.
      tracer: Begins a span each time that a message is handled; None for none.
      recorder: Has some of the handling be in a ledger; None for none.
    """

    tracer: Tracer | None = None
    recorder: "WorkRecorder | None" = None

    def __init__(self, subscription: Subscription, handling: Handling) -> None:
        self.subscription = subscription
        self.under_way = 0
        self.progress = Progress(handling.stuck_after)
        self._handling = handling
        self._name = f"{subscription.topic} {subscription.group}"
        self._lanes: dict[str, deque[Delivery]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining = asyncio.Event()
        self._is_over = False  # the drain is: nothing is begun any more
        self._intake: Intake | None = None
        self._early: list[Delivery] = []
        self._alone = asyncio.Lock()  # held while a suspect is handled
        self._has_buried_suspect = False
        self._context = contextvars.copy_context()

    @property
    def once(self) -> Once | None:
        """What remembers for this group."""
        return self._handling.once

    async def start(self, broker: Broker) -> None:
        """Have messages delivered.

        Raises:
          BrokerError: the broker refuses.
        """
        self._intake = await broker.subscribe(self.subscription, self.receive)
        for delivery in self._early:
            self.receive(delivery)
        self._early.clear()

    def receive(self, delivery: Delivery) -> None:
        """Take a message from the broker."""
        if self._intake is None:  # the broker is quicker than the answer that we have subscribed
            self._early.append(delivery)
            return
        self.under_way += 1
        if self._handling.hooks:
            self._tell_delivered(delivery)
        key = delivery.envelope.key
        if not self.subscription.ordered or not key:
            self._spawn(self._settle(self._intake, delivery))
        elif (lane := self._lanes.get(key)) is None:
            self._lanes[key] = lane = deque((delivery,))
            self._spawn(self._drive(self._intake, key, lane))
        else:
            lane.append(delivery)

    async def drain(self, deadline: float) -> None:
        """Ask for no more, and finish what is under way; `cut` comes next.

        Args:
          deadline: By `time.monotonic()`.
        """
        if self._intake is None:
            return
        await self._intake.stop()
        self._draining.set()  # pauses before retries end now: who comes next may retry
        self._hurry()
        while self._tasks and (left := deadline - time.monotonic()) > 0.0:
            await asyncio.wait(self._tasks, timeout=left)

    async def cut(self) -> None:
        """Cancel what is under way still, which is delivered to others, and settle what was handled."""
        self._is_over = True
        late = tuple(self._tasks)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        if self._intake is not None:
            await self._intake.aclose()

    def _hurry(self) -> None:
        """Begin what waits for others, since none will come."""

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        # Each in a context of its own, as it was when the consumer was made: what one sets another does not see.
        task = asyncio.get_running_loop().create_task(work, context=self._context.copy())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _drive(self, intake: Intake, key: str, lane: deque[Delivery]) -> None:
        """Settle the messages of one key, one after the other."""
        while lane:
            await self._settle(intake, lane.popleft())
        del self._lanes[key]

    # ---- one message

    async def _settle(self, intake: Intake, delivery: Delivery) -> None:
        """Settle a message, whatever happens."""
        self.progress.begin(delivery)
        try:
            refusal = self._refusal(delivery)
            if refusal is not None:
                await self._bury(intake, delivery, *refusal)
            else:
                await self._handle(intake, delivery)
        except BrokerError as error:  # it stays unsettled, and comes again
            logger.warning("%s: %s: not settled: %s", self._handling.call.name, delivery.envelope.id, error)
        finally:
            self.under_way -= 1
            self.progress.end(delivery)

    def _refusal(self, delivery: Delivery) -> tuple[Cause, str] | None:
        """Return why a message is not to be handled at all."""
        envelope = delivery.envelope
        if envelope.expired:
            return "expired", f"{time.time() - envelope.deadline:.3f} s ago"
        if delivery.returned >= MOST_RETURNED and not self._has_buried_suspect:
            self._has_buried_suspect = True
            return "returned", f"came back {delivery.returned} times without being settled"
        return None

    async def _handle(self, intake: Intake, delivery: Delivery) -> None:
        """Handle a message until it is settled, or handed to the broker for a retry."""
        if delivery.returned < SUSPECT_RETURNED:
            await self._handle_now(intake, delivery)
            return
        async with self._alone:
            await asyncio.sleep(_SUSPECT_PAUSE)
            await self._handle_now(intake, delivery)

    async def _handle_now(self, intake: Intake, delivery: Delivery) -> None:
        envelope, handling = delivery.envelope, self._handling
        try:
            payload = handling.call.decode(envelope.body, envelope.content_type)
        except Malformed as error:
            await self._bury(intake, delivery, "malformed", str(error))
            return
        AMBIENT.set(Carried(monotonic_of(envelope.deadline), envelope.traceparent))
        attempt = envelope.attempt
        while True:
            try:
                if await self._attempt(payload, envelope, attempt):
                    intake.accept(delivery)
                    return
                cause: AgainBecause = "busy"
                reason, pause, following = "another consumer handles it", _BUSY_PAUSE, attempt
            except Reject as error:
                await self._bury(intake, delivery, "rejected", error.reason)
                return
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
                logger.warning("%s: %s: attempt %d: %s", handling.call.name, envelope.id, attempt, reason)
                if attempt > handling.retry.retries:
                    await self._bury(intake, delivery, "failed", reason)
                    return
                cause, pause, following = "failed", handling.retry.delay(attempt, random.random), attempt + 1
            if not self.subscription.ordered:
                await intake.retry(delivery, pause, attempt=following, reason=reason)
                self._tell_retried(attempt, cause, pause)
                return
            self._tell_retried(attempt, cause, pause)
            if await self._stops_within(pause, delivery):
                return  # unsettled: who gets it next goes on
            attempt = following

    async def _attempt(self, payload: Any, envelope: Envelope, attempt: int) -> bool:
        """Handle a message; return whether it is handled, False if another consumer is at it."""
        handling, group = self._handling, self.subscription.group
        claim = None
        if handling.once is not None:
            claim = await handling.once.claim(group, envelope.id)
            if claim.standing is not Standing.OURS:
                return claim.standing is Standing.DONE
        span = NO_SPAN
        if self.tracer is not None:
            span = self.tracer.begin(envelope.traceparent)
            AMBIENT.set(Carried(monotonic_of(envelope.deadline), span[0]))
        ok = False
        try:
            await self._recorded(span[0], self._call, payload, envelope, attempt, span)
            ok = True
        finally:
            if claim is not None and not ok:
                await self._give_back(envelope.id, claim)
        if claim is not None:
            await self._note(envelope.id, claim)
        return True

    async def _call(self, payload: Any, envelope: Envelope, attempt: int, span: tuple[str, str]) -> None:
        """Call the handler, and tell of it."""
        handling = self._handling
        began, ok = time.monotonic(), False
        try:
            await handling.call.one(payload, envelope, attempt)
            ok = True
        except AlreadyDone:
            ok = True
        finally:
            if handling.hooks:
                self._tell_handled(envelope, attempt, began, span, recorded_since(), ok=ok)

    def _recorded(
        self, traceparent: str, function: Callable[[*Ts], Coroutine[Any, Any, T]], *args: *Ts
    ) -> Coroutine[Any, Any, T]:
        """Return `function(*args)`, which the ledger may record."""
        if self.recorder is None or not self.recorder.wants(traceparent):
            return function(*args)
        return self.recorder.recorded(self._name, self._handling.call.function, function, *args)

    async def _note(self, message_id: str, claim: Claim) -> None:
        """Note that a message was handled; if that fails it was all the same, and is not handled again for it."""
        assert self._handling.once is not None
        try:
            await self._handling.once.done(self.subscription.group, message_id, claim)
        except Exception as error:
            logger.warning("%s: %s: handled, but not noted: %s", self._handling.call.name, message_id, error)

    async def _give_back(self, message_id: str, claim: Claim) -> None:
        """End a claim; one that cannot be ended now ends by itself."""
        assert self._handling.once is not None
        try:
            await self._handling.once.release(self.subscription.group, message_id, claim)
        except Exception as error:
            logger.warning("%s: %s: not released: %s", self._handling.call.name, message_id, error)

    async def _bury(self, intake: Intake, delivery: Delivery, cause: Cause, reason: str) -> None:
        envelope = delivery.envelope
        logger.warning("%s: %s: dead letter: %s: %s", self._handling.call.name, envelope.id, cause, reason)
        await intake.bury(delivery, f"{cause}: {reason}")
        if self._handling.hooks:
            tell(self._handling.hooks, EventBuried(envelope.topic, self.subscription.group, cause))

    async def _stops_within(self, seconds: float, delivery: Delivery) -> bool:
        """Wait before a message's retry in place; return whether the consumer is stopped meanwhile."""
        self.progress.end(delivery)
        try:
            async with asyncio.timeout(seconds):
                await self._draining.wait()
        except TimeoutError:
            return False
        finally:
            self.progress.begin(delivery)
        return True

    # ---- signals

    def _tell_delivered(self, delivery: Delivery) -> None:
        envelope, group = delivery.envelope, self.subscription.group
        tell(
            self._handling.hooks,
            EventDelivered(envelope.topic, group, envelope.attempt, delivery.returned, len(envelope.body)),
        )

    def _tell_handled(
        self, envelope: Envelope, attempt: int, began: float, span: tuple[str, str], recorded: float, *, ok: bool
    ) -> None:
        seconds = time.monotonic() - began
        waited = max(0.0, time.time() - seconds - envelope.time)
        signal = EventHandled(envelope.topic, self.subscription.group, attempt, ok, seconds, waited, *span, recorded)
        tell(self._handling.hooks, signal)

    def _tell_retried(self, attempt: int, cause: AgainBecause, pause: float) -> None:
        if self._handling.hooks:
            topic, group = self.subscription.topic, self.subscription.group
            tell(self._handling.hooks, EventRetried(topic, group, attempt, cause, pause))


def monotonic_of(deadline: float) -> float:
    """Return a deadline by `time.monotonic()`."""
    return deadline if deadline == NO_DEADLINE else time.monotonic() + deadline - time.time()
