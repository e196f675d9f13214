"""Three brokers that lose each other, on librdkafka's mock cluster: what our producer and our consumer do about it."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from hasten.events._broker import Delivery, Subscription
from hasten.events.brokers._kafka_client import KafkaError
from hasten.events.brokers._kafka_commits import MOST_UNCOMMITTED
from hasten.events.brokers._kafka_consumer import KafkaIntake
from hasten.events.brokers._kafka_names import Names
from hasten.events.brokers._kafka_producer import KafkaProducer
from hasten.events.brokers._kafka_settings import settings_of
from tests.events.brokers.adapter import LONGEST, new_topic, run
from tests.events.brokers.kafka.mock import MockCluster, mock_cluster

COUNT = 20_000
KEYS = 100
PREFETCH = 64


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    with mock_cluster() as running:
        yield running


class History:
    """What was confirmed, and what was handled, message by message; of one topic with three partitions.

    The bus is left out: what it asks of a cluster's controller a mock cluster does not answer.
    """

    def __init__(self, cluster: MockCluster) -> None:
        self.names = names = Names(new_topic(), "billing")
        for name in (names.topic, names.retry, names.dead):
            cluster.make_topic(name, 3)
        cluster.coordinate(names.id, 1)
        settings = settings_of(cluster.url)
        self._producer = KafkaProducer(settings, asyncio.get_running_loop(), lambda _: None)
        subscription = Subscription(topic=names.topic, group=names.group, prefetch=PREFETCH)
        self._intake = KafkaIntake(settings, subscription, self._receive, self._producer, 3)
        self._confirmed: list[int] = []
        self._handled: dict[int, list[int]] = {}
        self._left = set(range(COUNT))
        self._quarter, self._all = asyncio.Event(), asyncio.Event()

    def _receive(self, delivery: Delivery) -> None:
        number = int(delivery.envelope.body)
        self._handled.setdefault(number % KEYS, []).append(number)
        self._left.discard(number)
        self._intake.accept(delivery)
        if not self._left:
            self._all.set()

    async def _publish(self) -> None:
        await asyncio.gather(*(self._publish_key(key) for key in range(KEYS)))

    async def _publish_key(self, key: int) -> None:
        for number in range(key, COUNT, KEYS):
            value = b"%d" % number
            await self._producer.send((self.names.topic, value, b"k%d" % key, [], 0), time.monotonic() + LONGEST)
            self._confirmed.append(number)
            if len(self._confirmed) >= COUNT // 4:
                self._quarter.set()

    @asynccontextmanager
    async def under_way(self) -> AsyncIterator["asyncio.Task[None]"]:
        """Publish beside the block, which begins when a quarter is confirmed; then wait until all are handled.

        All that was confirmed must have been handled then, and each key in order.
        """
        self._intake.start()
        work = asyncio.create_task(self._publish())
        await self._quarter.wait()
        yield work
        await work
        await self._all.wait()
        await self._intake.aclose()
        await self._producer.aclose()
        assert sorted(self._confirmed) == list(range(COUNT))
        for key, numbers in self._handled.items():
            assert list(Counter(numbers)) == list(range(key, COUNT, KEYS))  # each at its first time
        again = sum(map(len, self._handled.values())) - COUNT
        assert again <= KEYS + PREFETCH + MOST_UNCOMMITTED


def test_a_leader_without_its_followers(cluster: MockCluster) -> None:
    """A broker that reaches no other confirms nothing; what it was sent is sent again when another one leads."""

    async def scenario() -> None:
        history = History(cluster)
        apart = (KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND, KafkaError.REQUEST_TIMED_OUT) * 3
        async with history.under_way() as work:
            assert not work.done()
            cluster.refuse(1, *apart, KafkaError.NOT_LEADER_FOR_PARTITION)
            cluster.lead(history.names.topic, 0, 2)

    run(scenario())


def test_a_leader_that_is_not_reached(cluster: MockCluster) -> None:
    """A leader that is the group's coordinator as well goes; another one takes its place, and gives it back."""

    async def scenario() -> None:
        history = History(cluster)
        names = history.names
        async with history.under_way() as work:
            assert not work.done()
            cluster.down(1)
            for name in (names.topic, names.retry, names.dead):
                cluster.lead(name, 0, 2)
            cluster.coordinate(names.id, 3)
            await work
            cluster.up(1)
            cluster.lead(names.topic, 0, 1)

    run(scenario())
