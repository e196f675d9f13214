"""The thread that reads for one consumer, so that nothing waits for Kafka in the loop.

It keeps polling whatever the handlers do, so that `max.poll.interval.ms` never runs out: while the loop has enough to
do, the partitions are paused. It hands records to the loop in batches, one call a batch, and never more than
READ_AHEAD that were not delivered. When partitions are taken away it waits for the loop to finish with them.

Only this thread calls the consumer: another one would have to wait, with the interpreter, until it does not poll
(confluent-kafka 2.16, `Handle_serialize_enter`).

It subscribes to the event topic alone: a partition of the retry topic belongs to whoever has that of the event topic
with its number. If both were subscribed to, a consumer could be given nothing but partitions of the retry topic.
"""

import logging
import threading
import time
from asyncio import AbstractEventLoop, Future
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from hasten.events.brokers._kafka_client import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
    call_loop,
    made,
    partitions_text,
    reason_of,
    resolve,
)
from hasten.events.brokers._kafka_commits import Key, Mark
from hasten.events.brokers._kafka_names import Names
from hasten.events.brokers._kafka_settings import Settings

READ_AHEAD = 1000
"""Records that were read and not delivered, at most; one batch more."""
READ_AHEAD_BYTES = 4 * 1024 * 1024
"""Of their payloads, at most; one batch more."""
REVOKE_SECONDS = 5.0
"""A partition that is taken away is kept so long at most for what is being handled; then it is handed back as well."""
_BATCH = 100  # to make records holds the interpreter: 0.1 ms a batch
_POLL_SECONDS = 0.05  # a thread that waits in librdkafka cannot be woken
_BUSY_POLL_SECONDS = 0.002  # while the loop has records: it may wait for a commit before it goes on
_PATIENCE = 0.05  # seconds that the loop may have enough to do before the partitions are paused: what librdkafka has
# fetched of a paused one it throws away
_ASK_SECONDS = 5.0
_LAST_TRIES = 40
# What a broker says to a commit while partitions move: the next one will do.
_MOVING = {KafkaError.ILLEGAL_GENERATION, KafkaError.REBALANCE_IN_PROGRESS, KafkaError.UNKNOWN_MEMBER_ID}
_PAUSE_AFTER_ERROR = 0.2
_logger = logging.getLogger("hasten.events")


class Reply:
    """What the loop says when it is finished with partitions.

    Attributes:
      is_late: Nobody waits for it any more: the partitions are others'.
    """

    def __init__(self) -> None:
        self.marks: Sequence[Mark] = ()
        self.is_late = False
        self._given = threading.Event()

    def give(self, marks: Sequence[Mark]) -> None:
        """Let the thread go on."""
        self.marks = marks
        self._given.set()

    def wait(self, seconds: float) -> bool:
        """Return whether the loop has answered."""
        self.is_late = not self._given.wait(seconds)
        return not self.is_late


class Reader(Protocol):
    """Who gets the records; all of it is called in the loop's thread."""

    def assigned(self, committed: Sequence[Mark]) -> None:
        """Partitions are ours, with what was committed."""

    def take(self, batch: Sequence[Message]) -> None:
        """Records have come."""

    def revoke(self, keys: Sequence[Key], reply: Reply) -> None:
        """Finish with partitions, and say so."""

    def lost(self, keys: Sequence[Key]) -> None:
        """Partitions are ours no more; others have them."""

    def committed(self, marks: Sequence[Mark], done: bool) -> None:  # noqa: FBT001  an answer, not a switch
        """A commit was answered."""


class Puller:
    """Reads topics as a member of a group.

    Args:
      names: What is read, and as which group.
      retry_partitions: Of the retry topic.
    Raises:
      ConfigurationError: librdkafka does not take an option.
    Attributes:
      hold_retries: Whether no more of the retry topic is to be read for now.
      stopped: Whether nothing more is to be read.
    """

    def __init__(
        self, settings: Settings, names: Names, retry_partitions: int, loop: AbstractEventLoop, reader: Reader
    ) -> None:
        self.hold_retries = False
        self.stopped = False
        self._name = f"{settings.name}: {names.id}"
        self._names = names
        self._retry_partitions = retry_partitions
        self._loop = loop
        self._reader = reader
        self._settings = settings
        self._consumer = made(Consumer, settings.consumer(names.id, self._heard, self._on_commit), settings)
        self._handed = 0  # written by the thread
        self._handed_bytes = 0
        self._taken = 0  # written by the loop
        self._taken_bytes = 0
        self._room = threading.Event()
        self._mine: set[Key] = set()
        self._paused: set[Key] = set()
        self._is_full = False
        self._closing = False
        self._must_rejoin = False
        self._asked: Sequence[Mark] = ()
        self._sent: Sequence[Mark] = ()
        self._last: Sequence[Mark] = ()
        self._said: set[str | int] = set()
        self._ended: Future[None] = loop.create_future()
        self._thread = threading.Thread(target=self._run, name=f"hasten-kafka-{names.id}", daemon=True)

    # ---- in the loop

    def start(self) -> None:
        """Join the group."""
        self._thread.start()

    def took(self, count: int, size: int) -> None:
        """Tell the thread that records were delivered."""
        self._taken += count
        self._taken_bytes += size
        if not self._room.is_set() and self._has_room(2):
            self._room.set()

    def commit(self, marks: Sequence[Mark]) -> None:
        """Tell the group how far it has come; `Reader.committed` says what came of it before the next call."""
        self._asked = marks

    def close(self, marks: Sequence[Mark]) -> "Future[None]":
        """Have the thread commit these, leave the group and end; the answer is there when it has."""
        self._last = marks
        self._closing = True
        self._room.set()
        if not self._thread.ident:
            self._ended.set_result(None)
        return self._ended

    # ---- in the thread

    def _run(self) -> None:
        try:
            self._join()
            while not self._closing:
                self._pull_safely()
        finally:
            self._leave()

    def _join(self) -> None:
        self._consumer.subscribe(
            [self._names.topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    def _rejoin(self) -> None:
        """Leave the group and join it again, to ask once more what was committed; nothing was taken meanwhile."""
        time.sleep(_PAUSE_AFTER_ERROR)
        self._must_rejoin = False
        self._consumer.unsubscribe()
        self._join()

    def _pull_safely(self) -> None:
        try:
            self._pull()
            if self._must_rejoin:
                self._rejoin()
        except KafkaException as error:
            self._say(reason_of(error))
            time.sleep(_PAUSE_AFTER_ERROR)

    def _pull(self) -> None:
        if not self._has_room(1) and not self._is_full:
            self._room.clear()
            if not self._has_room(1) and not self._room.wait(_PATIENCE):
                self._is_full = True
        elif self._is_full and self._has_room(2):
            self._is_full = False
        self._pause()
        if self._asked:
            self._commit()
        message = self._consumer.poll(_BUSY_POLL_SECONDS if self._taken < self._handed else _POLL_SECONDS)
        if message is not None and not self._closing:
            self._hand_over([message, *self._consumer.consume(_BATCH - 1, 0)])

    def _has_room(self, part: int) -> bool:
        """Whether less than a part of what may be read ahead is waiting: 1 all of it, 2 half of it."""
        return (
            self._handed - self._taken < READ_AHEAD // part
            and self._handed_bytes - self._taken_bytes < READ_AHEAD_BYTES // part
        )

    def _pause(self) -> None:
        """Have those partitions paused, and no others, that are not to be read now."""
        wanted: set[Key] = set()
        if self._is_full or self.stopped:
            wanted = self._mine
        elif self.hold_retries:
            wanted = {key for key in self._mine if key[0] == self._names.retry}
        if wanted != self._paused:
            if more := wanted - self._paused:
                self._consumer.pause([TopicPartition(*key) for key in more])
            if less := self._paused - wanted:
                self._consumer.resume([TopicPartition(*key) for key in less])
            self._paused = set(wanted)

    def _commit(self) -> None:
        self._sent, self._asked = self._asked, ()
        try:
            self._consumer.commit(offsets=_offsets(self._sent), asynchronous=True)
        except KafkaException as error:
            self._answer(error.args[0])

    def _hand_over(self, messages: Iterable[Message]) -> None:
        batch = []
        for message in messages:
            if (error := message.error()) is None:
                batch.append(message)
                self._handed_bytes += len(message)
            else:
                self._say(error.str())
        if batch:
            self._handed += len(batch)
            self._said.clear()
            call_loop(self._loop, self._reader.take, batch)

    def _leave(self) -> None:
        """Commit for the last time, and leave the group, so that others need not wait for its session to end."""
        try:
            # Polling lets a rebalance that is under way end; it may take partitions away, and their marks with them.
            self._commit_patiently(lambda: self._last, lambda: self._consumer.poll(_POLL_SECONDS))
            self._consumer.close()
        except (KafkaException, RuntimeError) as error:
            self._say(reason_of(error))
        finally:
            call_loop(self._loop, resolve, self._ended)

    def _commit_patiently(self, marks: Callable[[], Sequence[Mark]], pause: Callable[[], object]) -> None:
        """Commit for the last time, also while the group is moving."""
        error = self._commit_now(marks())
        for _ in range(_LAST_TRIES):
            if error is None or error.code() not in _MOVING:
                break
            pause()
            error = self._commit_now(marks())
        if error is not None:
            self._say(f"not committed: {error.str()}")

    def _commit_now(self, marks: Sequence[Mark]) -> KafkaError | None:
        """Return why it was not done, if it was not."""
        if not marks:
            return None
        try:
            answers = self._consumer.commit(offsets=_offsets(marks), asynchronous=False)
        except KafkaException as error:
            reason: KafkaError = error.args[0]
            return reason
        return next((each.error for each in answers if each.error is not None), None)

    # ---- called by librdkafka in the thread, while it polls

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        keys = self._with_retries(partitions)
        self._mine.update(keys)
        committed = self._committed(consumer, keys)
        if committed is None:  # who is left to ask for it while a coordinator comes back may never begin to read
            self._must_rejoin = True
            consumer.incremental_assign([TopicPartition(*key) for key in keys])
            return
        marks = [(each.topic, each.partition, each.offset, each.metadata or "") for each in committed]
        call_loop(self._loop, self._reader.assigned, marks)
        consumer.incremental_assign([TopicPartition(topic, at, offset) for topic, at, offset, _ in marks])
        _logger.debug("%s: has %s", self._name, partitions_text(partitions))

    def _committed(self, consumer: Consumer, keys: Sequence[Key]) -> list[TopicPartition] | None:
        """Return what the group has committed; None if that cannot be known now."""
        try:
            answers = consumer.committed([TopicPartition(*key) for key in keys], timeout=_ASK_SECONDS)
        except KafkaException as error:
            self._say(f"what was committed is not known yet: {reason_of(error)}")
            return None
        return answers if all(each.error is None for each in answers) else None

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        keys = self._with_retries(partitions)
        reply = Reply()
        if self._closing:
            self._commit_given_up(self._take_last(keys))
        elif call_loop(self._loop, self._reader.revoke, keys, reply) and reply.wait(REVOKE_SECONDS + 1.0):
            self._commit_given_up(reply.marks)
        self._forget(consumer, keys)
        _logger.debug("%s: gave up %s", self._name, partitions_text(partitions))

    def _commit_given_up(self, marks: Sequence[Mark]) -> None:
        """Commit what is given up before another member reads on from there."""
        self._commit_patiently(lambda: marks, lambda: time.sleep(_POLL_SECONDS))

    def _take_last(self, keys: Sequence[Key]) -> Sequence[Mark]:
        """Take those of the last marks that are of partitions which are given up: nobody may commit them later."""
        taken = [mark for mark in self._last if mark[:2] in keys]
        self._last = [mark for mark in self._last if mark[:2] not in keys]
        return taken

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        keys = self._with_retries(partitions)
        self._take_last(keys)
        call_loop(self._loop, self._reader.lost, keys)
        self._forget(consumer, keys)
        _logger.warning("%s: lost %s: its session was over", self._name, partitions_text(partitions))

    def _with_retries(self, partitions: Iterable[TopicPartition]) -> list[Key]:
        """Return partitions of the event topic with those of the retry topic that belong to them."""
        numbers = [each.partition for each in partitions]
        return [(self._names.topic, at) for at in numbers] + [
            (self._names.retry, at) for at in numbers if at < self._retry_partitions
        ]

    def _forget(self, consumer: Consumer, keys: Sequence[Key]) -> None:
        if paused := [TopicPartition(*key) for key in keys if key in self._paused]:
            consumer.resume(paused)  # it may come back, and would still be paused
        if self._asked:  # one that is as old would be committed over what the next owner commits
            self._asked = [mark for mark in self._asked if mark[:2] not in keys]
            if not self._asked:
                call_loop(self._loop, self._reader.committed, (), True)  # noqa: FBT003  an answer, not a switch
        self._mine.difference_update(keys)
        self._paused.difference_update(keys)
        consumer.incremental_unassign([TopicPartition(*key) for key in keys])

    def _on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """Take what came of a commit; librdkafka calls this for those of `_commit_now` as well, which nobody awaits."""
        answered = {(each.topic, each.partition, each.offset) for each in partitions}
        if self._sent and answered <= {mark[:3] for mark in self._sent}:
            self._answer(error or next((each.error for each in partitions if each.error is not None), None))

    def _answer(self, error: KafkaError | None) -> None:
        marks, self._sent = self._sent, ()
        if error is not None and error.code() not in _MOVING:
            self._say(f"not committed, it is tried again: {error.str()}")
        call_loop(self._loop, self._reader.committed, marks, error is None)

    def _heard(self, error: KafkaError) -> None:
        self._say(error.str(), error.code())

    def _say(self, text: str, about: str | int = "") -> None:
        """Log what goes wrong, but not the same again and again; it may be said again when records have come."""
        about = about or text
        if about not in self._said:
            self._said.add(about)
            _logger.warning("%s: %s", self._name, self._settings.without_secrets(text))


def _offsets(marks: Sequence[Mark]) -> list[TopicPartition]:
    return [TopicPartition(topic, at, offset, metadata) for topic, at, offset, metadata in marks]
