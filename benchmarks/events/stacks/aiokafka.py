"""aiokafka: an idempotent producer, batches of records, what was handled is committed as often as by hasten."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer  # type: ignore[import-untyped]

from benchmarks.events._stack import COMMIT_MILLISECONDS, SILENCE_SECONDS
from benchmarks.events._work import IN_FLIGHT, Handle, OrderPaid, Publish, decode, encode
from benchmarks.events.stacks._topics import make_topic

_SILENCE = SILENCE_SECONDS * 1000


@asynccontextmanager
async def connected(address: str, handle: Handle) -> AsyncIterator[Publish]:
    """Yield what publishes, confirmed by all replicas."""
    topic = make_topic(address, "aiokafka")
    common = {"bootstrap_servers": address, "request_timeout_ms": _SILENCE}
    group = {"auto_offset_reset": "earliest", "enable_auto_commit": False}
    patience = {"session_timeout_ms": _SILENCE, "max_poll_interval_ms": _SILENCE}
    producer = AIOKafkaProducer(**common, acks="all", enable_idempotence=True, linger_ms=0)
    async with producer, AIOKafkaConsumer(topic, group_id=topic, **common, **group, **patience) as consumer:
        handled: dict[object, int] = {}
        tasks = [
            asyncio.create_task(_consume(consumer, handle, handled)),
            asyncio.create_task(_commit(consumer, handled)),
        ]

        async def publish(order: OrderPaid) -> None:
            await producer.send_and_wait(topic, encode(order))

        yield publish
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await consumer.commit(handled)


async def _consume(consumer: AIOKafkaConsumer, handle: Handle, handled: dict[object, int]) -> None:
    while True:
        for partition, records in (await consumer.getmany(timeout_ms=1000, max_records=IN_FLIGHT)).items():
            for record in records:
                await handle(decode(record.value))
                handled[partition] = record.offset + 1


async def _commit(consumer: AIOKafkaConsumer, handled: dict[object, int]) -> None:
    committed: dict[object, int] = {}
    while True:
        await asyncio.sleep(COMMIT_MILLISECONDS / 1000)
        if handled != committed:
            committed = dict(handled)
            await consumer.commit(committed)
