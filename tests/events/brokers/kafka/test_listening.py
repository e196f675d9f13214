"""A listener of Kafka's: what was deleted before it was read is a gap, which is told."""

import asyncio
import time

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from hasten.events import Envelope
from hasten.events.brokers._kafka_listener import KafkaListener
from hasten.events.brokers.kafka import KafkaBroker
from tests.events.brokers.adapter import LONGEST, new_topic, run
from tests.events.brokers.kafka.conftest import Connect


async def publish(broker: KafkaBroker, topic: str, text: str) -> None:
    envelope = Envelope(topic=topic, body=text.encode(), content_type="text/plain", id=text, key="k")
    await broker.publish(envelope, deadline=time.monotonic() + LONGEST)


def test_a_gap(connect: Connect, kafka_place: str) -> None:
    """It is told before what comes behind it, and listening goes on."""

    async def scenario() -> None:
        topic, broker, heard, came = new_topic(), connect(partitions=1), list[str](), asyncio.Event()
        await broker.start()
        for number in range(3):
            await publish(broker, topic, f"deleted-{number}")
        admin = AdminClient({"bootstrap.servers": kafka_place})
        for deleted in admin.delete_records([TopicPartition(topic, 0, 3)]).values():
            await asyncio.wrap_future(deleted)

        def receive(envelope: Envelope) -> None:
            heard.append(envelope.id)
            came.set()

        def missed() -> None:
            heard.append("a gap")
            came.set()

        loop = asyncio.get_running_loop()
        listener = KafkaListener(broker._settings, topic, {0: 1}, receive, missed, loop, lambda _: None)
        async with asyncio.timeout(LONGEST):
            await came.wait()
            while heard[-1] == "a gap":  # what is published before it stands at the end is in the gap, too
                came.clear()
                await publish(broker, topic, "behind")
                await asyncio.sleep(0)
                await asyncio.wait((asyncio.ensure_future(came.wait()),), timeout=0.2)
        await listener.aclose()
        await broker.aclose()
        assert heard[:2] == ["a gap", "behind"]

    run(scenario())
