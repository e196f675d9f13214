"""Kafka: `kafka://host:9092,host:9092?partitions=6&security.protocol=SASL_SSL&...`.

librdkafka (confluent-kafka) does the talking; a thread for what is published and one for each subscription wait for it,
and call the loop once a batch.

Options in the URL but `partitions` and `replication` are librdkafka's, under the names that it has for them: those for
SASL and TLS (`sasl.*`, `ssl.*`, `security.protocol`), connections, buffers and times. `_kafka_settings` lists them; any
other is refused, such as `acks`, for what is promised hangs on it. User and password may stand before the hosts; then
SASL PLAIN over TLS is meant, unless the options say otherwise.

A message costs 44 µs of processor time to publish, 23 of them in the loop, and 17 to consume, where a bare loop over
confluent-kafka takes 15 and 4 (medians on two busy cores with Kafka beside it, 100 in flight; one alone is confirmed
after 0.7 ms; five requests under way at once, where now there are two, which takes less).

What a topic and a group are there: `_kafka_names`. What a record looks like: `_kafka_records`. How far a group has
come: `_kafka_offsets`.

- A topic is made by who publishes or subscribes first, unless it is there, with `partitions` partitions. Each keeps the
  order of its keys; a consumer handles messages of one partition at once, so partitions only bound how many processes
  share the work. More of them later move keys to others.
- A new group begins with the oldest message that the topic still has: nothing is lost, and nothing is `Unroutable`.
  A group that nobody is in for `offsets.retention.minutes` (7 days by default) is a new one.
- What was handled out of order is committed as well, so a consumer that leaves has nothing handled twice.
- A message that is retried, or is due in more than a minute, waits in the group's retry topic. A consumer reads 1,000
  ahead there; if all of these are due later, those behind them wait until half of them was delivered. What Kafka
  deletes for its age (`retention.ms`) is gone there as well. Clocks of publishers and consumers must agree.
- Dead letters are kept until they are replayed, in one partition. Reading them reads the whole topic.
- A partition of the retry topic is read by who has that of the event topic with its number, so a key that is retried,
  delayed or replayed stays with its consumer, as long as both topics have as many. Its order among the others is lost.
"""

import asyncio
import logging
import random
import time
from asyncio import AbstractEventLoop, Future
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from hasten.events._broker import Backlog, Broadcasting, Broker, Inspection, Intake, Listening, Receive, Subscription
from hasten.events._envelope import Envelope
from hasten.events._errors import BrokerError, BrokerUnavailable, PublishTimeout
from hasten.events.brokers._kafka_admin import KafkaAdmin
from hasten.events.brokers._kafka_client import ALL_BROKERS_DOWN, AWAY, KafkaError, call_loop, in_thread
from hasten.events.brokers._kafka_consumer import COPY_SECONDS, KafkaIntake
from hasten.events.brokers._kafka_dead import DeadLetters
from hasten.events.brokers._kafka_listener import KafkaListener
from hasten.events.brokers._kafka_names import Names
from hasten.events.brokers._kafka_offsets import done_beyond
from hasten.events.brokers._kafka_producer import KafkaProducer, Outgoing
from hasten.events.brokers._kafka_records import copy_headers, headers_of, key_of
from hasten.events.brokers._kafka_settings import Settings, settings_of

CONNECT_SECONDS = 5.0
"""The cluster must answer in it when the bus is started."""
_LOOK_SECONDS = 2.0
"""A cluster that does not answer in it, after a connection broke, is away."""
_PAUSE = 0.5
"""Seconds between two questions whether a cluster that was away is back, and half of it up or down by chance."""
_logger = logging.getLogger("hasten.events")
Waiting = tuple[Outgoing, float, "Future[None]"]
"""A message whose topic is being made, its deadline, and who waits."""


class KafkaBroker(Broker, Inspection, Broadcasting):
    """A Kafka cluster, seen by one process.

    Args:
      settings: From `settings_of`.
    """

    keeps_topics = True

    def __init__(self, settings: Settings) -> None:
        self.name = settings.name
        self.connected = False
        self._settings = settings
        self._loop: AbstractEventLoop | None = None
        self._clients: tuple[KafkaAdmin, KafkaProducer] | None = None
        self._send: Callable[[Outgoing, float], Future[None]] | None = None  # the producer's
        self._topics: set[str] = set()
        self._new_topics: dict[str, list[Waiting]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._intakes: list[KafkaIntake] = []
        self._listeners: list[KafkaListener] = []
        self._is_looking = False

    def __repr__(self) -> str:
        return f"KafkaBroker({self.name!r})"

    @property
    def _admin(self) -> KafkaAdmin:
        return self._open()[0]

    @property
    def _producer(self) -> KafkaProducer:
        return self._open()[1]

    def _open(self) -> tuple[KafkaAdmin, KafkaProducer]:
        if self._clients is None:
            raise BrokerError(self.name, "is not started, or closed")
        return self._clients

    async def start(self) -> None:
        """Connect.

        Raises:
          BrokerUnavailable: the cluster does not answer in CONNECT_SECONDS, or refuses the login; it is said why.
          ConfigurationError: librdkafka does not take an option.
        """
        self._loop = asyncio.get_running_loop()
        admin = KafkaAdmin(self._settings, self._loop)
        try:
            await admin.reach(CONNECT_SECONDS)
            producer = KafkaProducer(self._settings, self._loop, self._on_error)
        except BaseException:
            await admin.aclose()
            raise
        self._clients, self._send, self.connected = (admin, producer), producer.send, True

    # ---- publishing

    def publish(
        self, envelope: Envelope, *, deadline: float, delay: float = 0.0, mandatory: bool = True
    ) -> Awaitable[None]:
        not_before = time.time() + delay if delay > 0.0 else 0.0
        topic, send = envelope.topic, self._send
        headers = headers_of(envelope, not_before)
        outgoing = (topic, envelope.body, key_of(envelope), headers, int(envelope.time * 1000.0))
        if send is None or topic not in self._topics or deadline <= time.monotonic():
            return self._publish_new(outgoing, deadline)
        return send(outgoing, deadline)

    async def _publish_new(self, outgoing: Outgoing, deadline: float) -> None:
        """Publish to a topic that may have to be made; after those that wait for it already."""
        topic, producer = outgoing[0], self._producer
        seconds = deadline - time.monotonic()
        if seconds <= 0.0:
            raise PublishTimeout(self.name, f"{topic}: no time left")
        if topic in self._topics:
            await producer.send(outgoing, deadline)
            return
        future: Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._new_topics.setdefault(topic, [])
        waiting.append((outgoing, deadline, future))
        if len(waiting) == 1:
            self._spawn(self._make_topic(topic))
        try:
            async with asyncio.timeout(seconds):
                await future
        except TimeoutError as error:
            raise PublishTimeout(self.name, f"{topic}: not confirmed in time") from error

    async def _make_topic(self, topic: str) -> None:
        """Have a topic, and send what waits for it, in its order."""
        waiting = self._new_topics[topic]
        refusal: BrokerError | None = BrokerError(self.name, f"{topic}: closed before it was sent")
        try:
            refusal = await self._refusal_of(topic, waiting)
        finally:
            del self._new_topics[topic]
            for outgoing, deadline, future in waiting:
                if future.done():
                    continue
                if refusal is not None:
                    future.set_exception(BrokerError(self.name, refusal.reason))
                else:
                    _follow(self._producer.send(outgoing, deadline), future)

    async def _refusal_of(self, topic: str, waiting: list[Waiting]) -> BrokerError | None:
        """Return why there is no such topic, None when there is one; ask as long as somebody waits."""
        while not all(future.done() for _, _, future in waiting):
            try:
                await self._admin.make_topics({topic: (self._settings.partitions, {})})
            except BrokerUnavailable:
                await asyncio.sleep(_pause())
            except BrokerError as error:
                return error
            else:
                self._topics.add(topic)
                return None
        return None

    # ---- consuming

    async def subscribe(self, subscription: Subscription, receive: Receive) -> Intake:
        admin, producer = self._open()
        names = Names(subscription.topic, subscription.group)
        await self._make_places(admin, names)
        retry_partitions = len(await self._partitions(names, names.retry))
        intake = KafkaIntake(self._settings, subscription, receive, producer, retry_partitions)
        self._intakes.append(intake)
        intake.start()
        return intake

    async def _make_places(self, admin: KafkaAdmin, names: Names) -> None:
        await admin.make_topics({names.topic: (self._settings.partitions, {})})
        many = len(await self._partitions(names, names.topic))
        await admin.make_topics({names.retry: (many, {}), names.dead: (1, {"cleanup.policy": "compact"})})
        self._topics.update((names.topic, names.retry, names.dead))

    async def listen(self, topic: str, receive: Callable[[Envelope], None], missed: Callable[[], None]) -> Listening:
        """Have every message of a topic received from now on.

        The topic stays when nobody listens any more, and Kafka keeps its messages as those of any other.
        """
        admin, _ = self._open()
        await admin.make_topics({topic: (self._settings.partitions, {})})
        self._topics.add(topic)
        ends = await admin.ends(topic, await admin.partitions_of(topic) or ())
        loop = asyncio.get_running_loop()
        last = {at: end for at, (_, end) in ends.items()}
        listener = KafkaListener(self._settings, topic, last, receive, missed, loop, self._listeners.remove)
        self._listeners.append(listener)
        return listener

    # ---- operators

    async def groups_of(self, topic: str) -> list[str]:
        """Return the groups that have subscribed to a topic; Kafka forgets those that nobody is in, after a while."""
        return await self._admin.groups_of(topic)

    async def backlog(self, topic: str, group: str) -> Backlog:
        names = Names(topic, group)
        waiting = 0
        for name in (names.topic, names.retry):
            waiting += await self._waiting_in(names, name)
        return Backlog(waiting, await self._in_thread((await self._dead(names)).count))

    async def _waiting_in(self, names: Names, topic: str) -> int:
        partitions = await self._partitions(names, topic)
        ends = await self._admin.ends(topic, partitions)
        committed = await self._admin.committed(names.id, topic, partitions)
        waiting = 0
        for at, (first, last) in ends.items():
            offset, metadata = committed.get(at, (-1, ""))
            waiting += max(0, last - max(first, offset) - done_beyond(offset, metadata))
        return waiting

    async def _partitions(self, names: Names, topic: str) -> list[int]:
        partitions = await self._admin.partitions_of(topic)
        if partitions is None:
            raise BrokerError(self.name, f"{names.topic} has no group {names.group}: there is no topic {topic}")
        return partitions

    async def _dead(self, names: Names) -> DeadLetters:
        ends = await self._admin.ends(names.dead, await self._partitions(names, names.dead))
        return DeadLetters(self._settings, names, ends)

    async def dead_letters(self, topic: str, group: str, most: int) -> list[Envelope]:
        letters = await self._dead(Names(topic, group))
        return [each.record.envelope for each in await self._in_thread(lambda: letters.read(most))]

    async def replay(self, topic: str, group: str, chosen: Callable[[Envelope], bool], most: int) -> int:
        names = Names(topic, group)
        letters = await self._dead(names)
        again = [each for each in await self._in_thread(lambda: letters.read(most)) if chosen(each.record.envelope)]
        for letter in again:  # one is there twice if this ends in between, never not at all
            envelope = msgspec.structs.replace(letter.record.envelope, attempt=1, reason="")
            await self._put((names.retry, envelope.body, key_of(envelope), copy_headers(envelope, group), 0))
            await self._put((names.dead, None, letter.key, [], 0))
        return len(again)

    def _put(self, outgoing: Outgoing) -> Awaitable[None]:
        return self._producer.send(outgoing, time.monotonic() + COPY_SECONDS)

    def _in_thread(self, work: Callable[[], Any]) -> "Future[Any]":
        return in_thread(asyncio.get_running_loop(), "hasten-kafka-inspection", work)

    # ---- the connection

    def _on_error(self, error: KafkaError) -> None:
        """Take what librdkafka says, in any thread."""
        if self._loop is not None and error.code() in AWAY:
            reason = self._settings.without_secrets(error.str())
            call_loop(self._loop, self._note, error.code() == ALL_BROKERS_DOWN, reason)

    def _note(self, all_are_down: bool, reason: str) -> None:  # noqa: FBT001  called by `call_loop`
        if self._clients is None:
            return
        if all_are_down:
            self._note_away(reason)
        if not self._is_looking:
            self._is_looking = True
            self._spawn(self._look_for_it(self._clients[0]))

    def _note_away(self, reason: str) -> None:
        if self.connected:
            _logger.warning("%s: away: %s", self.name, reason)
            self.connected = False

    async def _look_for_it(self, admin: KafkaAdmin) -> None:
        """Ask whether the cluster answers until it does.

        librdkafka says when a connection breaks, not when one stands again, and not each time that all are down.
        """
        try:
            while self._clients is not None:
                try:
                    await admin.reach(_LOOK_SECONDS)
                except BrokerError as error:
                    self._note_away(error.reason)
                    await asyncio.sleep(_pause())
                    continue
                if not self.connected:
                    _logger.warning("%s: answers again", self.name)
                    self.connected = True
                return
        finally:
            self._is_looking = False

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def aclose(self) -> None:
        if self._clients is None:
            return
        await asyncio.gather(*(each.aclose() for each in (*self._intakes, *self._listeners)))
        self._intakes.clear()
        admin, producer = self._clients
        await producer.aclose()
        self._clients, self._send, self.connected = None, None, False
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await admin.aclose()


def _pause() -> float:
    return _PAUSE * (0.5 + random.random())


def _follow(sent: "Future[None]", waiting: "Future[None]") -> None:
    """Have one future end as another does."""

    def end(_: object) -> None:
        if waiting.done() or sent.cancelled():
            return
        if (error := sent.exception()) is not None:
            waiting.set_exception(error)
        else:
            waiting.set_result(None)

    sent.add_done_callback(end)


def kafka_broker(url: str) -> KafkaBroker:
    """Return the broker of `kafka://host:9092`, not connected yet.

    Raises:
      ConfigurationError: the URL is wrong.
    """
    return KafkaBroker(settings_of(url))
