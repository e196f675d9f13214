"""What is asked of a cluster beside publishing and reading: topics, offsets. Nothing here waits in the loop."""

import asyncio
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

from hasten.events._errors import BrokerError, BrokerUnavailable
from hasten.events.brokers._kafka_client import (
    ALL_BROKERS_DOWN,
    AdminClient,
    Consumer,
    KafkaError,
    KafkaException,
    NewTopic,
    TopicPartition,
    error_of,
    in_thread,
    made,
)
from hasten.events.brokers._kafka_names import Names
from hasten.events.brokers._kafka_settings import Settings

ASK_SECONDS = 5.0
"""An answer of the cluster takes so long at most."""
_SEEN_WITHIN = 5.0  # seconds until a new topic is known to the broker that is asked
_LOOK_EVERY = 0.02
_NO_TOPIC = "hasten.no.topic"  # asked for where any answer will do
_NOT_THERE = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED}
T = TypeVar("T")


class Clients(NamedTuple):
    """librdkafka's clients behind a `KafkaAdmin`; they end with the last thread that uses them.

    Attributes:
      admin: Makes topics, and lists groups. Nothing else: its newer questions (describe_cluster,
        describe_topics, list_offsets, list_consumer_group_offsets) end the process when a broker goes away at the wrong
        moment, or a group's coordinator moves (assertions of librdkafka 2.16; its issue 5040).
      reader: A consumer that joins no group, and hears of errors; asking it for a topic does not make the topic.
    """

    admin: AdminClient
    reader: Consumer


class KafkaAdmin:
    """Asks a cluster; of one event loop.

    Raises:
      ConfigurationError: librdkafka does not take an option.
    """

    def __init__(self, settings: Settings, loop: AbstractEventLoop) -> None:
        self._settings = settings
        self._name = settings.name
        self._loop = loop
        reader = {**settings.reader("hasten"), "error_cb": self._hear}
        self._clients = [Clients(made(AdminClient, settings.admin(), settings), made(Consumer, reader, settings))]
        self._heard = ""

    @property
    def _client(self) -> AdminClient:
        return self._open().admin

    def _open(self) -> Clients:
        if not self._clients:
            raise BrokerError(self._name, "closed")
        return self._clients[0]

    async def reach(self, seconds: float) -> None:
        """Return when the cluster answers.

        Raises:
          BrokerUnavailable: it does not in that time.
        """
        reader = self._open().reader
        try:
            await self._ask(lambda reader: reader.list_topics(_NO_TOPIC, timeout=seconds))
        except BrokerError as error:
            self._heard = error.reason
            reader.poll(0)  # what went wrong with its connections waits there: a login that was refused, say
            raise BrokerUnavailable(self._name, self._settings.without_secrets(self._heard)) from error

    def _hear(self, error: KafkaError) -> None:
        if error.code() != ALL_BROKERS_DOWN:
            self._heard = error.str()

    def _ask(self, question: Callable[[Consumer], T]) -> "asyncio.Future[T]":
        """Ask what blocks in a thread.

        Raises:
          BrokerError: by the answer: there is none.
        """
        reader = self._open().reader

        def answer() -> T:
            try:
                return question(reader)
            except KafkaException as error:
                raise error_of(self._name, error) from error

        return in_thread(self._loop, "hasten-kafka-admin", answer)

    async def make_topics(self, topics: dict[str, tuple[int, dict[str, str]]]) -> None:
        """Make those topics that are not there, with so many partitions and that configuration.

        Raises:
          BrokerError: a topic is not there, and we may not make it.
        """
        missing = [name for name in topics if await self.partitions_of(name) is None]
        if not missing:
            return
        new = [self._new_topic(name, *topics[name]) for name in missing]
        refusals = await self._make(new)
        give_up = time.monotonic() + _SEEN_WITHIN
        while missing := [name for name in missing if await self.partitions_of(name) is None]:
            for name in missing:  # it may be there all the same, made by others, and we may not make topics
                if name in refusals:
                    raise refusals[name]
            if time.monotonic() >= give_up:
                raise BrokerUnavailable(self._name, f"{missing[0]} is not there yet")
            await asyncio.sleep(_LOOK_EVERY)

    def _new_topic(self, name: str, partitions: int, configuration: dict[str, str]) -> NewTopic:
        return NewTopic(name, partitions, self._settings.replication, config=configuration)

    async def _make(self, new: list[NewTopic]) -> dict[str, BrokerError]:
        """Make topics; return why which were refused."""
        answers = self._client.create_topics(new, request_timeout=ASK_SECONDS, operation_timeout=ASK_SECONDS)
        refusals = {}
        for name, answer in answers.items():
            try:
                await asyncio.wrap_future(answer)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    refusals[name] = error_of(self._name, error)
        return refusals

    async def partitions_of(self, topic: str) -> list[int] | None:
        """Return a topic's partitions; None if it is not there, or not for us."""
        return await self._ask(lambda reader: _partitions_of(reader, topic))

    async def ends(self, topic: str, partitions: Iterable[int]) -> dict[int, tuple[int, int]]:
        """Return the offsets of the first record of each partition, and after the last one.

        Raises:
          BrokerUnavailable: they cannot be known in ASK_SECONDS; a leader that has moved is asked for again until then.
        """
        places = [TopicPartition(topic, at) for at in partitions]
        give_up = time.monotonic() + ASK_SECONDS
        while True:
            try:
                return await self._ask(lambda reader: {each.partition: _ends_of(reader, each) for each in places})
            except BrokerUnavailable:
                if time.monotonic() >= give_up:
                    raise
            await asyncio.sleep(_LOOK_EVERY)

    async def committed(self, group_id: str, topic: str, partitions: Iterable[int]) -> dict[int, tuple[int, str]]:
        """Return the offsets that a group has committed, negative for none, with their metadata."""
        places = [TopicPartition(topic, at) for at in partitions]
        found = await self._ask(lambda _: self._committed(group_id, places))
        return {each.partition: (each.offset, each.metadata or "") for each in found}

    def _committed(self, group_id: str, places: list[TopicPartition]) -> list[TopicPartition]:
        consumer = made(Consumer, self._settings.reader(group_id), self._settings)
        try:
            return consumer.committed(places, timeout=ASK_SECONDS)
        finally:
            consumer.close()

    async def groups_of(self, topic: str) -> list[str]:
        """Return the groups of a topic, by name."""
        listed = self._client.list_consumer_groups(request_timeout=ASK_SECONDS)
        try:
            answer = await asyncio.wrap_future(listed)
        except KafkaException as error:
            raise error_of(self._name, error) from error
        ids = [each.group_id for each in answer.valid]
        prefix = Names(topic, "").id
        return sorted(id_.removeprefix(prefix) for id_ in ids if id_.startswith(prefix))

    async def aclose(self) -> None:
        """End the client and its threads."""
        if self._clients:
            await in_thread(self._loop, "hasten-kafka-close", self._clients.clear)


def _partitions_of(reader: Consumer, topic: str) -> list[int] | None:
    found = reader.list_topics(topic, timeout=ASK_SECONDS).topics.get(topic)
    if found is None:
        return None
    if found.error is not None:
        if found.error.code() in _NOT_THERE:
            return None
        raise KafkaException(found.error)
    return sorted(found.partitions)


def _ends_of(reader: Consumer, place: TopicPartition) -> tuple[int, int]:
    low, high = reader.get_watermark_offsets(place, timeout=ASK_SECONDS)
    return low, high
