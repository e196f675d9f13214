"""Reads a group's dead letters: a compacted topic, in which a record without a value takes one away."""

import time
from collections.abc import Iterable
from typing import Any, NamedTuple

from hasten.events._errors import BrokerUnavailable
from hasten.events.brokers._kafka_client import (
    PARTITION_EOF,
    Consumer,
    KafkaException,
    Message,
    TopicPartition,
    error_of,
    made,
)
from hasten.events.brokers._kafka_names import Names
from hasten.events.brokers._kafka_records import Record, record_of
from hasten.events.brokers._kafka_settings import Settings

SCAN_SECONDS = 30.0
"""Reading the topic to its end takes so long at most."""
_AT_ONCE = 500
_WAIT = 0.2


class DeadLetter(NamedTuple):
    """A dead letter as it is kept.

    Attributes:
      key: Of its record; a record with it and no value takes the dead letter away.
    """

    key: bytes
    record: Record


class DeadLetters:
    """The dead letters of one group, read in a thread that may block.

    Args:
      ends: The topic's partitions, with the offsets of their first records and after their last ones.
    """

    def __init__(self, settings: Settings, names: Names, ends: dict[int, tuple[int, int]]) -> None:
        self._settings = settings
        self._names = names
        self._ends = {at: end for at, end in ends.items() if end[1] > end[0]}

    def count(self) -> int:
        """Return how many there are.

        Raises:
          BrokerError: the topic cannot be read.
        """
        return len(self._scan(0, None)) if self._ends else 0

    def read(self, most: int) -> list[DeadLetter]:
        """Return the oldest ones.

        Raises:
          BrokerError: the topic cannot be read.
        """
        if not self._ends:
            return []
        found = self._scan(most, None)
        first = list(found)[:most]
        if any(found[key] is None for key in first):  # others were taken away, so that these came to be the first
            found = self._scan(most, set(first))
        return [self._dead_letter(key, message) for key in first if (message := found.get(key)) is not None]

    def _dead_letter(self, key: bytes, message: Message) -> DeadLetter:
        stood = message.timestamp()[1], self._names.dead, message.partition() or 0, message.offset() or 0
        headers: Any = message.headers()
        return DeadLetter(key, record_of(self._names.topic, None, message.value(), headers, stood))

    def _scan(self, most: int, wanted: set[bytes] | None) -> dict[bytes, Message | None]:
        """Return the keys of all that are there, the oldest first, with the first `most` records, or those wanted."""
        found: dict[bytes, Message | None] = {}
        kept = 0
        for message in self._messages():
            key = message.key() or b""
            gone = found.pop(key, None)
            kept -= gone is not None
            if message.value() is None or not self._is_ours(message):
                continue
            keep = key in wanted if wanted is not None else kept < most
            found[key] = message if keep else None
            kept += keep
        return found

    def _is_ours(self, message: Message) -> bool:
        """Whether it is this group's: another with a dot at another place has the same topic."""
        record = self._dead_letter(b"", message).record
        return not record.group or (record.of, record.group) == self._names

    def _messages(self) -> Iterable[Message]:
        consumer = made(Consumer, self._settings.reader(self._names.id), self._settings)
        try:
            consumer.assign([TopicPartition(self._names.dead, at, first) for at, (first, _) in self._ends.items()])
            yield from self._until_the_end(consumer)
        except KafkaException as error:
            raise error_of(self._settings.name, error) from error
        finally:
            consumer.close()

    def _until_the_end(self, consumer: Consumer) -> Iterable[Message]:
        """Yield all that was there when the ends were asked for."""
        give_up = time.monotonic() + SCAN_SECONDS
        left = {at: last for at, (_, last) in self._ends.items()}
        while left:
            if time.monotonic() > give_up:
                raise BrokerUnavailable(self._settings.name, f"{self._names.dead} cannot be read to its end")
            first = consumer.poll(_WAIT)
            for message in [] if first is None else [first, *consumer.consume(_AT_ONCE, 0)]:
                at, offset = message.partition(), message.offset() or 0
                if (error := message.error()) is None:
                    yield message
                elif error.code() != PARTITION_EOF:
                    raise KafkaException(error)
                if at in left and (error is not None or offset + 1 >= left[at]):
                    del left[at]
