"""Publishing to a real Kafka: confirmed, in time, in order, with no room, and without its callers."""

import asyncio
import time

import pytest

from hasten.events import Broker, Bus, Message, PublishTimeout
from hasten.events._envelope import Envelope
from hasten.events._errors import BrokerError, BrokerUnavailable
from hasten.events.brokers import kafka
from hasten.events.brokers._kafka_client import FATAL, KafkaError
from hasten.events.brokers.kafka import KafkaBroker, kafka_broker
from tests.events.brokers.adapter import OrderPaid, Seen, new_topic, run
from tests.events.brokers.kafka.conftest import Connect


def envelope(topic: str, number: int, key: str = "") -> Envelope:
    return Envelope(
        topic=topic, body=b'{"number": %d}' % number, content_type="application/json", id=f"m{number}", key=key
    )


def soon() -> float:
    return time.monotonic() + 20.0


def noting(bus: Bus, topic: str) -> Seen:
    seen = Seen()

    @bus.subscribe(topic, group="billing", concurrency=64, ordered=True)
    async def note(order: OrderPaid, message: Message) -> None:
        await seen.note(order, message)

    return seen


async def publish(broker: Broker, each: Envelope, deadline: float) -> None:
    await broker.publish(each, deadline=deadline)


def test_more_than_the_queue_takes(connect: Connect) -> None:
    """While librdkafka's queue is full messages wait, none is refused, and they keep their order."""

    async def scenario() -> None:
        topic, bus = new_topic(), Bus(connect(queue_buffering_max_messages=10))
        seen = noting(bus, topic)
        async with bus:
            sent = [asyncio.ensure_future(publish(bus.broker, envelope(topic, n, "k"), soon())) for n in range(500)]
            await asyncio.sleep(0)
            assert isinstance(bus.broker, KafkaBroker)
            assert len(bus.broker._producer._no_room) > 400
            await asyncio.gather(*sent)
            await seen.count(500)
            assert bus.broker._producer.unconfirmed == 0
        assert [order.number for order in seen.payloads] == list(range(500))

    run(scenario())


def test_a_small_one_behind_a_large_one(connect: Connect) -> None:
    """A message that there would be room for does not overtake those that wait for room."""

    async def scenario() -> None:
        topic, bus = new_topic(), Bus(connect(queue_buffering_max_kbytes=3))
        seen = noting(bus, topic)

        async def publish_one(number: int) -> None:
            each = envelope(topic, number, "k")
            if number % 3 == 0:
                each.body = b'{"number": %d, "customer": "%s"}' % (number, b"x" * 1700)
            await publish(bus.broker, each, soon())

        async with bus:
            await publish_one(0)
            await asyncio.gather(*(publish_one(number) for number in range(1, 300)))
            await seen.count(300)
        assert [order.number for order in seen.payloads] == list(range(300))

    run(scenario())


def test_order_while_the_topic_is_made(connect: Connect) -> None:
    """What is published while a new topic is being made keeps its order, with what is published right after."""

    async def scenario() -> None:
        topic, publisher, consumer = new_topic(), Bus(connect()), Bus(connect())
        seen = noting(consumer, topic)
        async with publisher:
            broker = publisher.broker
            sent = [asyncio.ensure_future(publish(broker, envelope(topic, n, "k"), soon())) for n in range(20)]
            await asyncio.sleep(0)
            assert isinstance(broker, KafkaBroker)
            while topic not in broker._topics:
                await asyncio.sleep(0)
            sent += [asyncio.ensure_future(publish(broker, envelope(topic, n, "k"), soon())) for n in range(20, 40)]
            await asyncio.gather(*sent)
            async with consumer:
                await seen.count(40)
        assert [order.number for order in seen.payloads] == list(range(40))

    run(scenario())


def test_cancelled_callers(connect: Connect) -> None:
    """Callers that are cancelled while they wait harm nobody: the others' messages are confirmed, and come."""

    async def scenario() -> None:
        topic, bus = new_topic(), Bus(connect(linger_ms=20))
        seen = noting(bus, topic)
        async with bus:
            sent = [asyncio.ensure_future(publish(bus.broker, envelope(topic, n), soon())) for n in range(200)]
            await asyncio.sleep(0)
            for task in sent[::2]:
                task.cancel()
            await asyncio.gather(*sent[1::2])
            assert all(task.cancelled() for task in sent[::2])
            while not {order.number for order in seen.payloads} >= set(range(1, 200, 2)):
                await seen.count(len(seen.payloads) + 1)

    run(scenario())


def test_a_producer_that_is_done_for(connect: Connect) -> None:
    """When librdkafka says that its producer takes nothing more, what is not confirmed is sent by a new one."""

    async def scenario() -> None:
        topic, bus = new_topic(), Bus(connect(linger_ms=300))
        seen = noting(bus, topic)
        async with bus:
            assert isinstance(bus.broker, KafkaBroker)
            producer = bus.broker._producer
            sent = [asyncio.ensure_future(publish(bus.broker, envelope(topic, n, "k"), soon())) for n in range(50)]
            await asyncio.sleep(0)
            before = producer._line
            producer._heard(KafkaError(FATAL, "out of sequence"))
            await asyncio.gather(*sent)
            assert producer._line is not before
            while {order.number for order in seen.payloads} < set(range(50)):
                await seen.count(len(seen.payloads) + 1)
        assert before.closing

    run(scenario())


def test_too_large(connect: Connect) -> None:
    """A message that is larger than what is allowed is refused, and the next one is published."""

    async def scenario() -> None:
        topic, bus = new_topic(), Bus(connect(message_max_bytes=2000))
        seen = noting(bus, topic)
        async with bus:
            large = envelope(topic, 1)
            large.body = b"x" * 10_000
            with pytest.raises(BrokerError, match="too large"):
                await bus.broker.publish(large, deadline=soon())
            await bus.publish(topic, OrderPaid(2))
            await seen.count(1)

    run(scenario())


def test_no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bus whose Kafka does not answer says so, and why, and leaves nothing running."""
    monkeypatch.setattr(kafka, "CONNECT_SECONDS", 1.0)

    async def scenario() -> None:
        bus = Bus("kafka://me:secret@127.0.0.1:1?security.protocol=SASL_PLAINTEXT")
        with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:1.*Connection refused") as caught:
            await bus.start()
        assert "secret" not in str(caught.value)
        await bus.aclose()

    run(scenario())


def test_closed(connect: Connect) -> None:
    """A broker that was not started, or is closed, publishes nothing and says so."""

    async def scenario() -> None:
        broker = connect()
        for _ in range(2):
            with pytest.raises(BrokerError, match="not started, or closed"):
                await broker.publish(envelope(new_topic(), 1), deadline=soon())
            await broker.start()
            await broker.aclose()

    run(scenario())


def test_no_time_left(connect: Connect) -> None:
    """A deadline that is over ends publishing before anything is sent."""

    async def scenario() -> None:
        topic, bus = new_topic(), Bus(connect())
        seen = noting(bus, topic)
        async with bus:
            with pytest.raises(PublishTimeout):
                await bus.broker.publish(envelope(topic, 1), deadline=time.monotonic())
            await bus.publish(topic, OrderPaid(2))
            await seen.count(1)
        assert [order.number for order in seen.payloads] == [2]

    run(scenario())


def test_made_without_a_loop() -> None:
    """A broker is made anywhere, and connects to nothing until it is started."""
    broker = kafka_broker("kafka://127.0.0.1:1")
    assert not broker.connected
    assert broker.name == "kafka 127.0.0.1:1"
