"""FastStream over its three drivers: no middlewares, no logger, no injection of dependencies, payloads by msgspec.

Injection (`apply_types`) with its msgspec serializer takes a little more to consume, with pydantic as much.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fast_depends.msgspec import MsgSpecSerializer
from faststream import AckPolicy, StreamMessage
from faststream.confluent import KafkaBroker as ConfluentBroker
from faststream.kafka import KafkaBroker
from faststream.rabbit import Channel, QueueType, RabbitBroker, RabbitQueue

from benchmarks.events._stack import COMMIT_MILLISECONDS, SILENCE_SECONDS, STICKY_MILLISECONDS
from benchmarks.events._work import IN_FLIGHT, Handle, OrderPaid, Publish, decode
from benchmarks.events.stacks._topics import make_topic

_SILENCE = SILENCE_SECONDS * 1000
_GROUP: dict[str, Any] = {
    "auto_offset_reset": "earliest",
    "auto_commit_interval_ms": COMMIT_MILLISECONDS,
    "session_timeout_ms": _SILENCE,
    "max_poll_interval_ms": _SILENCE,
}


async def _decode(message: StreamMessage[Any]) -> OrderPaid:
    return decode(message.body)


_COMMON: dict[str, Any] = {
    "logger": None,
    "apply_types": False,
    "serializer": MsgSpecSerializer(),
    "decoder": _decode,
}
_PRODUCER: dict[str, Any] = {"acks": "all", "enable_idempotence": True, "linger_ms": 0}


@asynccontextmanager
async def over_rabbitmq(address: str, handle: Handle) -> AsyncIterator[Publish]:
    """Yield what publishes, with confirms; what fails is delivered again (NACK_ON_ERROR), as with hasten."""
    url = f"amqp://guest:guest@{address}/?heartbeat={SILENCE_SECONDS}"
    broker = RabbitBroker(url, default_channel=Channel(prefetch_count=IN_FLIGHT), **_COMMON)
    queue = RabbitQueue("faststream", queue_type=QueueType.QUORUM, durable=True)
    _subscribe(broker.subscriber(queue, ack_policy=AckPolicy.NACK_ON_ERROR), handle)
    async with _publishing(broker, broker.publisher(queue, persist=True)) as publish:
        yield publish


@asynccontextmanager
async def over_aiokafka(
    address: str, handle: Handle, *, name: str = "faststream-aiokafka", policy: AckPolicy = AckPolicy.ACK_FIRST
) -> AsyncIterator[Publish]:
    """Yield what publishes over aiokafka; by default what was read is committed now and then, handled or not."""
    topic = make_topic(address, name)
    broker = KafkaBroker(address, request_timeout_ms=_SILENCE, **_PRODUCER, **_COMMON)
    _subscribe(broker.subscriber(topic, group_id=topic, ack_policy=policy, **_GROUP), handle)
    async with _publishing(broker, broker.publisher(topic)) as publish:
        yield publish


each_over_aiokafka = partial(over_aiokafka, name="faststream-aiokafka-each", policy=AckPolicy.NACK_ON_ERROR)
"""The same with a commit for each message when it was handled: at least once, as hasten."""


@asynccontextmanager
async def over_confluent(address: str, handle: Handle) -> AsyncIterator[Publish]:
    """Yield what publishes over confluent-kafka; what was read is committed now and then, handled or not."""
    topic = make_topic(address, "faststream-confluent")
    settings: Any = {"socket.timeout.ms": _SILENCE // 2, "sticky.partitioning.linger.ms": STICKY_MILLISECONDS}
    broker = ConfluentBroker(address, config=settings, **_PRODUCER, **_COMMON)
    _subscribe(broker.subscriber(topic, group_id=topic, ack_policy=AckPolicy.ACK_FIRST, **_GROUP), handle)
    async with _publishing(broker, broker.publisher(topic)) as publish:
        yield publish


def _subscribe(subscriber: Any, handle: Handle) -> None:
    async def bill(order: OrderPaid) -> None:
        await handle(order)

    subscriber(bill)


@asynccontextmanager
async def _publishing(broker: Any, publisher: Any) -> AsyncIterator[Publish]:
    async with broker:
        await broker.start()

        async def publish(order: OrderPaid) -> None:
            await publisher.publish(order)

        yield publish
