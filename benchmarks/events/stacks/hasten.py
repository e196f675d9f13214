"""hasten.events: the bus, typed payloads on both sides; and its brokers alone, below retries and drain."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from benchmarks.events._stack import SILENCE_SECONDS
from benchmarks.events._work import IN_FLIGHT, Handle, OrderPaid, Publish, decode, encode
from hasten.events import Broker, Bus, Delivery, Envelope, Intake, Subscription
from hasten.events._brokers import broker_at
from hasten.events._envelope import Ids

_GROUP = "billing"
_TIMEOUT = 5.0
_RABBITMQ = f"amqp://{{address}}/?heartbeat={SILENCE_SECONDS}&exchange={{exchange}}"
_KAFKA = "&".join(
    (
        f"kafka://{{address}}?session.timeout.ms={SILENCE_SECONDS * 1000}",
        f"max.poll.interval.ms={SILENCE_SECONDS * 1000}",
        f"socket.timeout.ms={SILENCE_SECONDS * 500}",
    )
)


def over_rabbitmq(address: str, handle: Handle) -> AbstractAsyncContextManager[Publish]:
    """Yield a bus's publish, with its defaults."""
    return _bus(_RABBITMQ.format(address=address, exchange="bus"), "orders.paid", handle)


def broker_over_rabbitmq(address: str, handle: Handle) -> AbstractAsyncContextManager[Publish]:
    """Yield a broker's."""
    return _broker(_RABBITMQ.format(address=address, exchange="broker"), "orders.paid", handle)


def over_kafka(address: str, handle: Handle) -> AbstractAsyncContextManager[Publish]:
    """Yield a bus's publish, with its defaults."""
    return _bus(_KAFKA.format(address=address), "bus", handle)


def broker_over_kafka(address: str, handle: Handle) -> AbstractAsyncContextManager[Publish]:
    """Yield a broker's."""
    return _broker(_KAFKA.format(address=address), "broker", handle)


@asynccontextmanager
async def _bus(url: str, topic: str, handle: Handle) -> AsyncIterator[Publish]:
    bus = Bus(url)

    @bus.subscribe(topic, group=_GROUP, concurrency=IN_FLIGHT)
    async def bill(order: OrderPaid) -> None:
        await handle(order)

    async with bus:
        yield lambda order: bus.publish(topic, order)


@asynccontextmanager
async def _broker(url: str, topic: str, handle: Handle) -> AsyncIterator[Publish]:
    broker = broker_at(url)
    await broker.start()
    try:
        consumer = _Consumer(handle)
        await consumer.start(broker, topic)
        yield _publishing(broker, topic)
    finally:
        await broker.aclose()


def _publishing(broker: Broker, topic: str) -> Publish:
    new_id = Ids()

    def publish(order: OrderPaid) -> Awaitable[object]:
        now = time.time()
        envelope = Envelope(topic=topic, body=encode(order), content_type="application/json", id=new_id(), time=now)
        return broker.publish(envelope, deadline=time.monotonic() + _TIMEOUT)

    return publish


class _Consumer:
    """A task for each message, and nothing else."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._create_task = asyncio.get_running_loop().create_task
        self._tasks: set[asyncio.Task[None]] = set()
        self._intake: Intake

    async def start(self, broker: Broker, topic: str) -> None:
        subscription = Subscription(topic=topic, group=_GROUP, prefetch=IN_FLIGHT)
        self._intake = await broker.subscribe(subscription, self._receive)

    def _receive(self, delivery: Delivery) -> None:
        task = self._create_task(self._settle(delivery))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _settle(self, delivery: Delivery) -> None:
        await self._handle(decode(delivery.envelope.body))
        self._intake.accept(delivery)
