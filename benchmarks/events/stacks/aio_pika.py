"""aio-pika: two robust connections, which are as fast as plain ones; all acknowledgements of a pass of the loop in one.

An acknowledgement for each message, as its documentation has it, takes a tenth more to consume.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aio_pika
from aio_pika.abc import AbstractIncomingMessage, AbstractRobustConnection

from benchmarks.events._stack import SILENCE_SECONDS
from benchmarks.events._work import IN_FLIGHT, Handle, OrderPaid, Publish, decode, encode
from benchmarks.events.stacks._settled import Settled, telling

_QUEUE = "aio-pika"


@asynccontextmanager
async def connected(address: str, handle: Handle) -> AsyncIterator[Publish]:
    """Yield what publishes, with confirms."""
    url = f"amqp://guest:guest@{address}/?heartbeat={SILENCE_SECONDS}"
    async with await aio_pika.connect_robust(url) as publishing, await aio_pika.connect_robust(url) as consuming:
        await _consume(consuming, handle)
        exchange = (await publishing.channel(publisher_confirms=True)).default_exchange

        async def publish(order: OrderPaid) -> None:
            message = aio_pika.Message(
                encode(order), content_type="application/json", delivery_mode=aio_pika.DeliveryMode.PERSISTENT
            )
            await exchange.publish(message, routing_key=_QUEUE)

        yield publish
        await asyncio.sleep(0)  # the last acknowledgement


async def _consume(connection: AbstractRobustConnection, handle: Handle) -> None:
    channel = await connection.channel()
    await channel.set_qos(prefetch_count=IN_FLIGHT)
    queue = await channel.declare_queue(_QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
    below = await channel.get_underlay_channel()
    settled = Settled(telling(lambda tag: below.basic_ack(tag, multiple=True, wait=False)))

    async def on_message(message: AbstractIncomingMessage) -> None:
        await handle(decode(message.body))
        assert message.delivery_tag is not None
        settled.add(message.delivery_tag)

    await queue.consume(on_message)
