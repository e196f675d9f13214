"""Somebody who hears all messages of a topic while he is there: a consumer of no group, from the topic's end on.

Kafka keeps what is published, so a lost connection makes no gap; only what Kafka has deleted before it was read does,
and that is told. Partitions that the topic is given later are not heard: give it none while somebody listens.
"""

import logging
import threading
from asyncio import AbstractEventLoop, Future
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hasten.events._broker import Listening
from hasten.events._envelope import Envelope
from hasten.events.brokers._kafka_client import (
    NO_SUCH_OFFSET,
    OFFSET_END,
    Consumer,
    KafkaException,
    Message,
    TopicPartition,
    call_loop,
    made,
    reason_of,
    resolve,
)
from hasten.events.brokers._kafka_records import record_of
from hasten.events.brokers._kafka_settings import Settings

_BATCH = 100
_POLL_SECONDS = 0.05  # a thread that waits in librdkafka cannot be woken
_logger = logging.getLogger("hasten.events")


class KafkaListener(Listening):
    """A listener, whose thread calls the loop once a batch, and reads on when that has been heard.

    Args:
      ends: The topic's partitions, and the offsets after their last records, behind which it listens.
      receive, missed: As of `Broadcasting.listen`.
      left: Called when it is closed.
    Raises:
      ConfigurationError: librdkafka does not take an option.
    """

    def __init__(
        self,
        settings: Settings,
        topic: str,
        ends: Mapping[int, int],
        receive: Callable[[Envelope], None],
        missed: Callable[[], None],
        loop: AbstractEventLoop,
        left: "Callable[[KafkaListener], None]",
    ) -> None:
        self._name = f"{settings.name}: {topic}"
        self._topic = topic
        self._next = dict(ends)  # the offset of what is heard next, by partition
        self._receive = receive
        self._missed = missed
        self._loop = loop
        self._left = left
        self._settings = settings
        self._consumer = made(Consumer, settings.listener(self._heard), settings)
        self._closing = False
        self._was_taken = threading.Event()
        self._ended: Future[None] = loop.create_future()
        threading.Thread(target=self._run, name=f"hasten-kafka-listener-{topic}", daemon=True).start()

    async def aclose(self) -> None:
        if not self._closing:
            self._closing = True
            self._left(self)
        self._was_taken.set()
        await self._ended

    # ---- in the loop

    def _take(self, batch: Sequence[Message]) -> None:
        for message in batch:
            if not self._closing:
                self._receive(self._envelope_of(message))
        self._was_taken.set()

    def _envelope_of(self, message: Message) -> Envelope:
        stood = message.timestamp()[1], self._topic, message.partition() or 0, message.offset() or 0
        headers: Any = message.headers()
        return record_of(self._topic, message.key(), message.value(), headers, stood).envelope

    def _tell_missed(self) -> None:
        if not self._closing:
            self._missed()

    # ---- in the thread

    def _run(self) -> None:
        try:
            self._assign()
            while not self._closing:
                self._pull()
        finally:
            self._consumer.close()
            call_loop(self._loop, resolve, self._ended)

    def _assign(self) -> None:
        self._consumer.assign([TopicPartition(self._topic, at, offset) for at, offset in self._next.items()])

    def _pull(self) -> None:
        try:
            first = self._consumer.poll(_POLL_SECONDS)
            messages = [] if first is None else [first, *self._consumer.consume(_BATCH - 1, 0)]
        except KafkaException as refusal:
            self._say(reason_of(refusal))
            return
        batch = []
        lost = False
        for message in messages:
            at, error = message.partition() or 0, message.error()
            if error is None:
                batch.append(message)
                self._next[at] = (message.offset() or 0) + 1
            elif error.code() == NO_SUCH_OFFSET:  # Kafka has deleted what comes next
                self._next[at] = OFFSET_END
                lost = True
        self._hand_over(batch)
        if lost:
            call_loop(self._loop, self._tell_missed)
            self._assign()

    def _hand_over(self, batch: Sequence[Message]) -> None:
        if not batch:
            return
        self._was_taken.clear()
        if not call_loop(self._loop, self._take, batch):
            self._closing = True
        while not self._closing and not self._was_taken.wait(timeout=1.0):
            self._closing = self._loop.is_closed()

    def _heard(self, error: Any) -> None:
        self._say(error.str())

    def _say(self, text: str) -> None:
        _logger.debug("%s: listening: %s", self._name, self._settings.without_secrets(text))
