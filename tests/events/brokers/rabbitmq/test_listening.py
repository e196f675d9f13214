"""Listeners on a real RabbitMQ: their queues go with them, and a gap is told."""

import contextlib
from collections.abc import AsyncIterator

import pytest

from hasten.events import Broadcast, Broker, Bus
from hasten.events.brokers import _amqp_methods as amqp
from hasten.events.brokers._amqp_connection import Connection
from hasten.events.brokers._amqp_listener import RabbitListener
from hasten.events.brokers._amqp_topology import exists
from hasten.events.brokers.rabbitmq import RabbitBroker
from tests.events.brokers.adapter import eventually, new_topic, run
from tests.events.brokers.test_broadcasting import heard_on


def listener_of(broker: Broker) -> RabbitListener:
    assert isinstance(broker, RabbitBroker)
    (listener,) = broker._intakes
    assert isinstance(listener, RabbitListener)
    return listener


def consuming(broker: Broker) -> Connection:
    assert isinstance(broker, RabbitBroker)
    connection = broker._consuming.connection
    assert connection is not None
    return connection


@contextlib.asynccontextmanager
async def two(url: str) -> AsyncIterator[tuple[Bus, Bus]]:
    """Run two buses: one that is harmed, and one that looks on."""
    async with Bus(url) as ours, Bus(url) as theirs:
        yield ours, theirs


@pytest.mark.parametrize("end", ["close", "lose"])
def test_nothing_stays(end: str, amqp_url: str) -> None:
    """The queue of a listener that is closed, or whose process is gone, is no longer at the broker."""

    async def scenario() -> None:
        async with two(amqp_url) as (ours, theirs):
            broadcast, _ = await heard_on(ours, new_topic())
            queue = listener_of(ours.broker).queue
            await heard_on(theirs, new_topic())
            looking = consuming(theirs.broker)

            async def is_gone() -> bool:
                return not await exists(looking, queue)

            if end == "close":
                await broadcast.aclose()
            else:
                listener_of(ours.broker)._closed = True  # it does not listen again
                consuming(ours.broker).abort("lost, as if the process were killed")
            await eventually(is_gone)

    run(scenario())


@pytest.mark.parametrize("loss", ["connection", "channel"])
def test_a_gap_is_told(loss: str, amqp_url: str) -> None:
    """After a lost connection, or a channel that the broker has closed, it listens again, and tells of the gap."""

    async def scenario() -> None:
        async with two(amqp_url) as (ours, theirs):
            topic = new_topic()
            _, heard = await heard_on(ours, topic)
            sender = Broadcast(theirs, topic)
            await sender.send(b"before")
            await heard.until(b"before")
            first = listener_of(ours.broker).queue
            if loss == "connection":
                consuming(ours.broker).abort("lost")
            else:
                channel = listener_of(ours.broker)._channel
                assert channel is not None
                channel.write(amqp.BASIC_NACK(99, False, True))  # noqa: FBT003  of what was never delivered
            await heard.until(None)
            await sender.send(b"behind")
            await heard.until(b"behind")
            assert heard.bodies == [b"before", None, b"behind"]
            assert listener_of(ours.broker).queue != first

    run(scenario())


def test_closing_while_it_is_lost(amqp_url: str) -> None:
    """A listener that is closed while its connection is away does not come back."""

    async def scenario() -> None:
        async with two(amqp_url) as (ours, theirs):
            topic = new_topic()
            broadcast, heard = await heard_on(ours, topic)
            consuming(ours.broker).abort("lost")
            await broadcast.aclose()
            another, again = await heard_on(ours, topic)
            await Broadcast(theirs, topic).send(b"behind")
            await again.until(b"behind")
            assert b"behind" not in heard.bodies
            await another.aclose()
            assert isinstance(ours.broker, RabbitBroker)
            assert not ours.broker._intakes

    run(scenario())
