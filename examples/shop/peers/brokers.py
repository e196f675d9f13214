"""RabbitMQ and Kafka by FastStream: what is published is confirmed, and what is not handled comes again.

RabbitMQ has an exchange, and a quorum queue for each group; it hands out a hundred events at a time. Kafka has a topic.
It would have one event after the other of a partition handled, and a mail takes 80 ms; so it is asked for batches.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.rabbit import Channel, ExchangeType, QueueType, RabbitBroker, RabbitExchange, RabbitQueue

from examples.shop.peers.events import OrderPlaced
from examples.shop.peers.settings import Settings

IN_FLIGHT = 100
"""Events that a group has at a time."""

PUBLISH_TIMEOUT = 5.0
DRAIN = 10.0
"""Seconds for what is under way when the process ends."""

GROUPS = ("mail", "sales")
JSON = "application/json"
QUIET: dict[str, Any] = {
    "logger": logging.getLogger("shop.events"),
    "log_level": logging.DEBUG,  # of what it says of each message; errors it logs as such
    "apply_types": False,  # no injection of dependencies
    "graceful_timeout": DRAIN,
}

Handle = Callable[[Sequence[OrderPlaced]], Awaitable[None]]


class Broker(Protocol):
    """One of the two.

    Attributes:
      broker: FastStream's, which runs the subscribers.
    """

    broker: Any

    def subscribe(self, group: str, handle: Handle) -> None:
        """Have a group's events handled from the start on; those that `handle` raises for come again."""

    async def start_publishing(self) -> None:
        """Connect, and see to it that nothing is lost for want of a consumer; may be tried again."""

    async def publish(self, event: OrderPlaced) -> None:
        """Return when the broker has an event."""


def broker_of(settings: Settings) -> Broker:
    """Return the broker of the settings, which must name one; it is not connected."""
    assert settings.broker is not None
    kind = Kafka if settings.broker.startswith("kafka://") else Rabbit
    return kind(settings.broker, settings.topic)


class Rabbit(Broker):
    """RabbitMQ."""

    def __init__(self, url: str, topic: str) -> None:
        channel = Channel(prefetch_count=IN_FLIGHT, on_return_raises=True)  # what no queue takes was not published
        self.broker = RabbitBroker(url, default_channel=channel, reconnect_interval=1.0, **QUIET)
        self._topic = topic
        self._exchange = RabbitExchange(topic, type=ExchangeType.FANOUT, durable=True)

    def subscribe(self, group: str, handle: Handle) -> None:
        """Have a group's events handled, each alone."""

        @self.broker.subscriber(self._queue(group), self._exchange, ack_policy=AckPolicy.NACK_ON_ERROR)
        async def handle_one(message: dict[str, Any]) -> None:
            await handle([OrderPlaced.model_validate(message)])

    async def start_publishing(self) -> None:
        """Connect, and make the queues of all groups."""
        await self.broker.start()
        exchange = await self.broker.declare_exchange(self._exchange)
        for group in GROUPS:
            await self.broker.declare_queue(self._dead_letters(group))
            queue = await self.broker.declare_queue(self._queue(group))
            await queue.bind(exchange)

    async def publish(self, event: OrderPlaced) -> None:
        """Return when the event is in all queues."""
        async with asyncio.timeout(PUBLISH_TIMEOUT):
            body = event.model_dump_json().encode()
            await self.broker.publish(body, exchange=self._exchange, persist=True, content_type=JSON)

    def _queue(self, group: str) -> RabbitQueue:
        """Return the queue of a group; what comes back twenty times, RabbitMQ's limit, goes to the dead letters."""
        arguments: Any = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": self._dead_letters(group).name}
        return RabbitQueue(f"{self._topic}.{group}", queue_type=QueueType.QUORUM, durable=True, arguments=arguments)

    def _dead_letters(self, group: str) -> RabbitQueue:
        return RabbitQueue(f"{self._topic}.{group}.dead", queue_type=QueueType.QUORUM, durable=True)


class Kafka(Broker):
    """Kafka, over aiokafka."""

    def __init__(self, url: str, topic: str) -> None:
        servers = url.partition("://")[2].split(",")
        self.broker = KafkaBroker(servers, acks="all", enable_idempotence=True, linger_ms=0, **QUIET)
        self._topic = topic

    def subscribe(self, group: str, handle: Handle) -> None:
        """Have a group's events handled, as many at once as there are; they are committed together."""

        @self.broker.subscriber(
            self._topic,
            group_id=f"{self._topic}.{group}",
            batch=True,
            max_records=IN_FLIGHT,
            auto_offset_reset="earliest",
            ack_policy=AckPolicy.NACK_ON_ERROR,
        )
        async def handle_all(messages: list[dict[str, Any]]) -> None:
            await handle([OrderPlaced.model_validate(message) for message in messages])

    async def start_publishing(self) -> None:
        """Connect; the topic keeps what no group has read."""
        await self.broker.start()

    async def publish(self, event: OrderPlaced) -> None:
        """Return when all replicas have the event; those of a product stay in their order."""
        async with asyncio.timeout(PUBLISH_TIMEOUT):
            body, key = event.model_dump_json().encode(), b"%d" % event.product_id
            await self.broker.publish(body, topic=self._topic, key=key, headers={"content-type": JSON})
