"""aiormq: two connections, all acknowledgements of a pass of the loop in one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiormq
from aiormq.abc import AbstractChannel, DeliveredMessage

from benchmarks.events._stack import SILENCE_SECONDS
from benchmarks.events._work import IN_FLIGHT, Handle, OrderPaid, Publish, decode, encode
from benchmarks.events.stacks._settled import Settled, telling

_QUEUE = "aiormq"


@asynccontextmanager
async def connected(address: str, handle: Handle) -> AsyncIterator[Publish]:
    """Yield what publishes, with confirms."""
    url = f"amqp://guest:guest@{address}/?heartbeat={SILENCE_SECONDS}"
    publishing, consuming = await aiormq.connect(url), await aiormq.connect(url)
    channel = await publishing.channel(publisher_confirms=True)
    await channel.queue_declare(_QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
    await _consume(await consuming.channel(), handle)

    async def publish(order: OrderPaid) -> None:
        properties = aiormq.spec.Basic.Properties(content_type="application/json", delivery_mode=2)
        await channel.basic_publish(encode(order), routing_key=_QUEUE, properties=properties, mandatory=True)

    yield publish
    for connection in (publishing, consuming):
        await connection.close()


async def _consume(channel: AbstractChannel, handle: Handle) -> None:
    settled = Settled(telling(lambda tag: channel.basic_ack(tag, multiple=True, wait=False)))

    async def on_message(message: DeliveredMessage) -> None:
        await handle(decode(message.body))
        assert message.delivery_tag is not None
        settled.add(message.delivery_tag)

    await channel.basic_qos(prefetch_count=IN_FLIGHT)
    await channel.basic_consume(_QUEUE, on_message)
