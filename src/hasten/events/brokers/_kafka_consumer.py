"""One consumer of a group: from records that were read to deliveries, and from settlements to offsets.

    thread (Puller) ── batches ──> waiting ──> delivered, `prefetch` at most ──> settled ──> committed
                                      │  └─ not due yet ──> held, by time ──┐       ▲
                                      │                                    └───────┘
                                      └─ not due for long, or too many held ──> the group's retry topic

What waits is dropped when its partition goes to another consumer, who reads it again. What is held or being handled is
open in the partition's `Progress`: later ones that are done are committed all the same, in the metadata.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from hasten.events._broker import Delivery, Intake, Receive, Subscription
from hasten.events._envelope import Envelope
from hasten.events._errors import BrokerError
from hasten.events.brokers._kafka_commits import MOST_UNCOMMITTED, Commits, Key, Mark, Share, last_marks
from hasten.events.brokers._kafka_hold import Hold, Opened
from hasten.events.brokers._kafka_names import Names
from hasten.events.brokers._kafka_offsets import Progress
from hasten.events.brokers._kafka_producer import KafkaProducer, Outgoing
from hasten.events.brokers._kafka_puller import REVOKE_SECONDS, Puller, Reader, Reply
from hasten.events.brokers._kafka_records import Headers, copy_headers, dead_headers, key_of, record_of

if TYPE_CHECKING:
    from hasten.events.brokers._kafka_client import Message
    from hasten.events.brokers._kafka_settings import Settings

COPY_SECONDS = 10.0
"""In which a message that is retried or buried must be confirmed in its new place."""
LONG_DELAY = 60.0
"""What is due later than that goes to the retry topic, where no commit of others' waits for it."""
CLOSE_SECONDS = 10.0
"""Leaving the group takes so long at most, then the session runs out by itself."""
_AGAIN_SECONDS = 1.0  # until what could not be put elsewhere is delivered again
_MOST_AT_ONCE = 256  # records that are looked at in one pass of the loop
_logger = logging.getLogger("hasten.events")


class Leaving:
    """Partitions that are given up as soon as nothing of them is being handled."""

    def __init__(self, shares: list[Share], reply: Reply, timer: asyncio.TimerHandle) -> None:
        self.shares = shares
        self.reply = reply
        self.timer = timer


class KafkaIntake(Intake, Reader):
    """The deliveries of one subscription.

    `Delivery.returned` counts what came back here because it could not be retried or buried; Kafka itself does not
    count deliveries.

    Args:
      producer: Of the copies in the retry topic and among the dead letters.
      retry_partitions: Of the retry topic.
    Raises:
      ConfigurationError: librdkafka does not take an option.
    """

    def __init__(
        self,
        settings: "Settings",
        subscription: Subscription,
        receive: Receive,
        producer: KafkaProducer,
        retry_partitions: int,
    ) -> None:
        self.names = Names(subscription.topic, subscription.group)
        self.closed = False
        self._name = settings.name
        self._loop = loop = asyncio.get_running_loop()
        self._prefetch = subscription.prefetch
        self._receive = receive
        self._producer = producer
        self._puller = Puller(settings, self.names, retry_partitions, loop, self)
        self._shares: dict[Key, Share] = {}
        most = max(MOST_UNCOMMITTED, 4 * subscription.prefetch)
        self._commits = Commits(loop, self._shares, self._puller.commit, most, self._deliver_soon)
        self._leaving: Leaving | None = None
        self._waiting: deque[tuple[Share, Message]] = deque()
        self._ready: deque[Opened] = deque()  # before what waits
        self._hold = Hold()
        self._alarm: asyncio.TimerHandle | None = None
        self._unsettled = 0
        self._is_due = False
        self._stopped = False

    def start(self) -> None:
        """Join the group."""
        self._puller.start()

    # ---- records come in

    def assigned(self, committed: Sequence[Mark]) -> None:
        for topic, at, offset, metadata in committed:
            progress = Progress(offset, metadata)
            self._shares[topic, at] = Share((topic, at), progress, is_retry=topic == self.names.retry)

    def take(self, batch: "Sequence[Message]") -> None:
        shares, waiting = self._shares, self._waiting
        for message in batch:
            key: Any = (message.topic(), message.partition())  # None in no record that was read
            if (share := shares.get(key)) is not None:
                waiting.append((share, message))
            else:
                self._puller.took(1, len(message))
        if not self._is_due:
            self._deliver()

    def _deliver_soon(self) -> None:
        """Deliver in the next pass of the loop: a consumer is not called by who settles."""
        if not self._is_due and (self._waiting or self._ready):
            self._is_due = True
            self._loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        self._is_due = False
        for _ in range(_MOST_AT_ONCE):
            if self._stopped or self._unsettled >= self._prefetch or self._commits.is_behind:
                return
            if self._ready:
                self._hand_out(self._ready.popleft())
            elif self._waiting:
                opened = self._open(*self._waiting.popleft())
                if opened is not None:
                    self._hand_out(opened)
            else:
                return
        self._deliver_soon()

    def _hand_out(self, opened: Opened) -> None:
        opened.share.out += 1
        self._unsettled += 1
        self._receive(Delivery(opened.envelope, opened.returned, opened))

    def _open(self, share: Share, message: "Message") -> Opened | None:
        """Return what a record says, if it is to be handled now."""
        self._puller.took(1, len(message))
        offset: Any = message.offset()
        headers: Any = message.headers()
        if self._shares.get(share.key) is not share:  # it went; if it came back, this record was read again as well
            return None
        if not share.progress.take(offset):
            self._commits.note(share)
            return None
        stood = message.timestamp()[1], *share.key, offset
        record = record_of(self.names.topic, message.key(), message.value(), headers, stood)
        opened = Opened(share, offset, record.envelope, 0)
        if share.is_retry and record.group and (record.of, record.group) != self.names:
            self._finish(opened)
            return None
        if record.not_before > 0.0 and (seconds := record.not_before - time.time()) > 0.0:
            self._postpone(opened, seconds, record.not_before)
            return None
        return opened

    # ---- what is not due yet

    def _postpone(self, opened: Opened, seconds: float, not_before: float) -> None:
        if not opened.share.is_retry and (seconds > LONG_DELAY or self._hold.is_full):
            self._move(opened, not_before)
        else:
            self._keep(opened, seconds)

    def _move(self, opened: Opened, not_before: float) -> None:
        """Put a message into the retry topic."""
        headers = copy_headers(opened.envelope, self.names.group, not_before)
        opened.share.out += 1
        moved = self._copy(self.names.retry, key_of(opened.envelope), opened.envelope, headers)
        moved.add_done_callback(partial(self._moved, opened))

    def _moved(self, opened: Opened, moved: "asyncio.Future[None]") -> None:
        opened.share.out -= 1
        if not moved.cancelled() and moved.exception() is None:
            self._finish(opened)
        else:
            self._put_back(opened)

    def _keep(self, opened: Opened, seconds: float) -> None:
        """Deliver a message after a while."""
        self._hold.push(time.monotonic() + seconds, opened)
        self._puller.hold_retries = self._puller.hold_retries or self._hold.is_full
        self._set_alarm()

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        due = self._hold.next_due
        if due is not None and not self._stopped:
            self._alarm = self._loop.call_later(max(0.0, due - time.monotonic()), self._take_due)

    def _take_due(self) -> None:
        self._ready.extend(self._hold.pop_due(time.monotonic()))  # a timer of uvloop may ring 1 ms too early
        self._read_retries()
        self._set_alarm()
        self._deliver_soon()

    def _read_retries(self) -> None:
        """Have the retry topic read again when there is room for what is not due."""
        if self._puller.hold_retries and self._hold.has_room:
            self._puller.hold_retries = False

    # ---- settling

    def accept(self, delivery: Delivery) -> None:
        opened: Opened | None = delivery.tag
        if opened is None:
            return
        delivery.tag = None
        self._release(opened)
        self._finish(opened)

    async def retry(self, delivery: Delivery, seconds: float, *, attempt: int, reason: str) -> None:
        again = msgspec.structs.replace(delivery.envelope, attempt=attempt)
        not_before = time.time() + seconds if seconds > 0.0 else 0.0
        headers = copy_headers(again, self.names.group, not_before)
        await self._settle_by_copy(delivery, self.names.retry, key_of(again), headers)

    async def bury(self, delivery: Delivery, reason: str) -> None:
        opened: Opened | None = delivery.tag
        if opened is None:
            return
        dead = msgspec.structs.replace(delivery.envelope, reason=reason)
        (topic, at), offset = opened.share.key, opened.offset
        # The same record buried twice, because it came again, is one dead letter.
        key = f"{dead.id} {topic}-{at}-{offset}".encode()
        await self._settle_by_copy(delivery, self.names.dead, key, dead_headers(dead, self.names.group))

    async def _settle_by_copy(self, delivery: Delivery, topic: str, key: bytes | None, headers: Headers) -> None:
        """Settle a message when it is confirmed in its new place; deliver it again if that fails."""
        opened: Opened | None = delivery.tag
        if opened is None:
            return
        if opened.share.live:
            try:
                await self._copy(topic, key, opened.envelope, headers)
            except BrokerError:
                if delivery.tag is not None:
                    delivery.tag = None
                    self._release(opened)
                    self._put_back(opened)
                raise
        self.accept(delivery)

    def _copy(self, topic: str, key: bytes | None, envelope: Envelope, headers: Headers) -> "asyncio.Future[None]":
        outgoing: Outgoing = (topic, envelope.body, key, headers, 0)
        return self._producer.send(outgoing, time.monotonic() + COPY_SECONDS)

    def _put_back(self, opened: Opened) -> None:
        if opened.share.live and not self.closed:
            self._keep(opened._replace(returned=opened.returned + 1), _AGAIN_SECONDS)
        self._give_up_if_done()

    def _release(self, opened: Opened) -> None:
        """Count a delivery as settled."""
        self._unsettled -= 1
        opened.share.out -= 1
        if self._ready or self._waiting:
            self._deliver_soon()

    def _finish(self, opened: Opened) -> None:
        """Note that a message is done."""
        if opened.share.live:
            opened.share.progress.done(opened.offset)
            self._commits.settle(opened.share)
        self._give_up_if_done()

    def committed(self, marks: Sequence[Mark], done: bool) -> None:  # noqa: FBT001  an answer, not a switch
        self._commits.answered(marks, done=done)

    # ---- partitions go

    def revoke(self, keys: Sequence[Key], reply: Reply) -> None:
        if reply.is_late:
            self.lost(keys)
            return
        shares = [share for key in keys if (share := self._shares.pop(key, None)) is not None]
        self._forget(shares)
        self._leaving = Leaving(shares, reply, self._loop.call_later(REVOKE_SECONDS, self._give_up))
        self._give_up_if_done()

    def _forget(self, shares: list[Share]) -> None:
        """Drop what is held of some partitions."""
        gone = set(shares)
        self._hold.drop(gone)
        self._ready = deque(opened for opened in self._ready if opened.share not in gone)
        self._read_retries()

    def _give_up_if_done(self) -> None:
        if self._leaving is not None and not any(share.out for share in self._leaving.shares):
            self._give_up()

    def _give_up(self) -> None:
        """Let partitions go; what is still being handled is handed back as well."""
        leaving, self._leaving = self._leaving, None
        if leaving is None:
            return
        leaving.timer.cancel()
        marks = last_marks(leaving.shares)
        for share in leaving.shares:
            share.live = False
        self._commits.drop(leaving.shares)
        self._forget(leaving.shares)
        leaving.reply.give(marks)

    def lost(self, keys: Sequence[Key]) -> None:
        shares = [share for key in keys if (share := self._shares.pop(key, None)) is not None]
        for share in shares:
            share.live = False
        self._commits.drop(shares)
        self._forget(shares)

    # ---- the end

    async def stop(self) -> None:
        self._stopped = True
        self._puller.stopped = True
        self._set_alarm()

    async def aclose(self) -> None:
        """Commit, and leave the group at once.

        Cancellation: the thread goes on with it.
        """
        if self.closed:
            return
        await self.stop()
        self.closed = True
        self._commits.close()
        self._give_up()
        marks = last_marks(self._shares.values())
        for share in self._shares.values():
            share.live = False
        self._shares.clear()
        ended = self._puller.close(marks)
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await asyncio.shield(ended)
        except TimeoutError:
            _logger.warning("%s: %s: cannot leave the group, its session runs out", self._name, self.names.id)
