"""Kafka goes away, falls silent, and comes back: nothing confirmed is lost, publishing ends in time, all goes on."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from hasten.events import Bus, Message, PublishTimeout
from hasten.events._envelope import Envelope
from hasten.events.brokers._kafka_client import KafkaError
from hasten.events.brokers.kafka import KafkaBroker
from tests.events.brokers.adapter import LONGEST, OrderPaid, Seen, eventually, new_topic, run
from tests.events.brokers.kafka.conftest import url_with
from tests.events.brokers.kafka.own import OwnKafka

COUNT = 600
IMPATIENT = {
    "api_version_request_timeout_ms": 1000,
    "message_timeout_ms": 1500,  # what librdkafka gives up before its deadline is sent again
    "request_timeout_ms": 1000,
    "socket_timeout_ms": 1000,
}


class History:
    """What was confirmed, and what was handled."""

    def __init__(self, url: str) -> None:
        self.topic = new_topic()
        self.bus = Bus(url, timeout=LONGEST)
        self.confirmed: set[int] = set()
        self._quarter = asyncio.Event()
        self._seen = Seen()
        self.bus.subscribe(self.topic, group="billing")(self._note)

    async def _note(self, order: OrderPaid, message: Message) -> None:
        await self._seen.note(order, message)

    async def _publish(self, first: int, by: int) -> None:
        for number in range(first, COUNT, by):
            await self.bus.publish(self.topic, OrderPaid(number))
            self.confirmed.add(number)
            if len(self.confirmed) >= COUNT // 4:
                self._quarter.set()

    @asynccontextmanager
    async def under_way(self) -> AsyncIterator[None]:
        """Publish beside the block, which begins in the middle of it; all must be confirmed and handled then."""
        async with self.bus:
            work = asyncio.gather(*(self._publish(first, 20) for first in range(20)))
            await self._quarter.wait()
            yield
            await work
            while (got := {order.number for order in self._seen.payloads}) != self.confirmed:
                assert got < self.confirmed
                await self._seen.count(len(self._seen.payloads) + 1)
        assert self.confirmed == set(range(COUNT))

    async def is_connected(self) -> bool:
        return self.bus.broker.connected

    async def is_away(self) -> bool:
        return not self.bus.broker.connected

    async def publish_in_vain(self) -> None:
        """Publish with a deadline that ends before Kafka is back."""
        envelope = Envelope(topic=self.topic, body=b'{"number": 0}', content_type="application/json", id="in vain")
        began = time.monotonic()
        with pytest.raises(PublishTimeout, match="not confirmed in time"):
            await self.bus.broker.publish(envelope, deadline=began + 0.2)
        assert time.monotonic() >= began + 0.2


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_it_goes_in_the_middle(how: str, own_kafka: OwnKafka) -> None:
    """SIGTERM or SIGKILL: what is published meanwhile waits, and is confirmed when Kafka is back."""

    async def scenario() -> None:
        history = History(own_kafka.url)
        async with history.under_way():
            getattr(own_kafka.running, how)()
            await eventually(history.is_away)
            await history.publish_in_vain()
            own_kafka.running.start()
            await eventually(history.is_connected)

    run(scenario())


def test_it_falls_silent(own_kafka: OwnKafka) -> None:
    """Connections that stand and carry nothing are noticed; when they do again, all is confirmed and handled."""

    async def scenario() -> None:
        history = History(url_with(own_kafka.url, **IMPATIENT))
        async with history.under_way():
            own_kafka.running.freeze()
            try:
                await history.publish_in_vain()
                await eventually(history.is_away)
            finally:
                own_kafka.running.thaw()
            await eventually(history.is_connected)

    run(scenario())


def test_a_connection_that_breaks(own_kafka: OwnKafka) -> None:
    """One broken connection does not say that Kafka is away, and one is enough to find out if it is."""

    async def scenario() -> None:
        history = History(own_kafka.url)
        async with history.bus:
            broker = history.bus.broker
            assert isinstance(broker, KafkaBroker)
            broken = KafkaError(KafkaError._TRANSPORT, "connection reset")
            broker._on_error(broken)
            await asyncio.sleep(0)
            await asyncio.gather(*broker._tasks)
            assert broker.connected
            own_kafka.running.freeze()
            try:
                broker._on_error(broken)
                await eventually(history.is_away)
            finally:
                own_kafka.running.thaw()
            await eventually(history.is_connected)

    run(scenario())
