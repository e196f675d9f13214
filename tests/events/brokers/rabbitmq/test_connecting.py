"""Connecting, and peers that do not keep to the protocol."""

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any

import pytest
from pamqp import commands, frame

from hasten.events import BrokerUnavailable
from hasten.events._broker import Subscription
from hasten.events.brokers.rabbitmq import RabbitBroker, rabbit_broker
from tests.events.brokers.adapter import run
from tests.events.brokers.rabbitmq.peer import Peer

ORDERS = Subscription(topic="orders.paid", group="billing", prefetch=7)


async def refusal(broker: RabbitBroker) -> str:
    """Return why a broker cannot be started; nothing of the attempt is left."""
    others = asyncio.all_tasks()
    with pytest.raises(BrokerUnavailable) as raised:
        await broker.start()
    await broker.aclose()
    assert asyncio.all_tasks() <= others
    assert "secret" not in str(raised.value) + repr(broker)
    return raised.value.reason


def test_who_we_are() -> None:
    """The client says its name and password, the vhost, and the smaller one of both sides' limits."""

    async def scenario() -> None:
        peer = Peer()
        peer.tune = commands.Connection.Tune(100, 8192, 60)
        heard: dict[type[Any], Any] = {}
        for each in (commands.Connection.StartOk, commands.Connection.TuneOk, commands.Connection.Open):

            def note(said: Any, answer: Callable[[Any], list[Any]] = peer.answers[each]) -> list[Any]:
                heard[type(said)] = said
                return answer(said)

            peer.answers[each] = note
        async with peer.listening():
            broker = rabbit_broker(f"amqp://m%40a:se%2Fcret@127.0.0.1:{peer.port}/shop%2Feu?heartbeat=7")
            await broker.start()
            start, tune, opened = heard.values()
            assert start.response == "\0m@a\0se/cret"
            assert start.client_properties["capabilities"]["connection.blocked"] is True
            assert (tune.channel_max, tune.frame_max, tune.heartbeat) == (100, 8192, 7)
            assert opened.virtual_host == "shop/eu"
            await broker.aclose()

    run(scenario())


@pytest.mark.parametrize("at", [commands.Connection.StartOk, commands.Connection.Open])
def test_refused(at: type) -> None:
    """A wrong password or vhost ends the start with what the server says."""

    async def scenario() -> None:
        peer = Peer()
        peer.answers[at] = lambda _: [commands.Connection.Close(403, "ACCESS_REFUSED - no", 0, 0)]
        async with peer.listening():
            assert "ACCESS_REFUSED - no (403)" in await refusal(peer.broker())

    run(scenario())


def test_no_plain() -> None:
    """A server that takes no passwords is refused with what it takes."""

    async def scenario() -> None:
        peer = Peer()
        peer.start = commands.Connection.Start(mechanisms="EXTERNAL AMQPLAIN", server_properties={})
        async with peer.listening():
            assert "EXTERNAL AMQPLAIN" in await refusal(peer.broker())

    run(scenario())


def test_nobody_there() -> None:
    """No server at any of the hosts is an error with the reason of each."""

    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as one:
            port = one.getsockname()[1]
        reason = await refusal(rabbit_broker(f"amqp://mia:secret@127.0.0.1:{port},127.0.0.2:{port}"))
        assert f"127.0.0.1:{port}" in reason
        assert f"127.0.0.2:{port}" in reason

    run(scenario())


def test_another_host() -> None:
    """The hosts are tried in turn, at the start, and when a connection is lost."""

    async def scenario() -> None:
        one, other = Peer(), Peer()
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        async with other.listening():
            async with one.listening():
                places = f"127.0.0.1:{port},127.0.0.1:{one.port},127.0.0.1:{other.port}"
                broker = rabbit_broker(f"amqp://{places}")
                await broker.start()
                await one.session()
            await other.session()
            while not broker.connected:
                await asyncio.sleep(0)
            await broker.aclose()

    run(scenario())


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"AMQP\0\0\x09\x01", "another version of AMQP"),
        (b"HTTP/1.1 400 Bad Request\r\n", "no AMQP"),
        (b"\x01\0\0\0\0\0\4\0\x0a\0\x0b\xce", "000a000b"),
        (b"\x01\0\0\0\0\0\4\0\x0a\0\x0a\xce", "cut off"),
        (b"\x01\0\0\0\0\0\4\0\x0a\0\x0a\xcd", "without its end"),
        (b"\x07\0\0\0\0\0\0\xce", "unknown kind 7"),
        (b"\x01\0\5\0\0\0\4\0\x0a\0\x0a\xce", "channel 5"),
        (b"\x03\0\0\0\0\0\0\xce", "a body where there can be none"),
    ],
)
def test_broken_protocol(said: bytes, reason: str) -> None:
    """A peer that does not speak AMQP 0-9-1 is left at once, and the error says what was wrong."""

    async def scenario() -> None:
        peer = Peer()

        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(said)
            await reader.read()
            writer.close()

        server = await asyncio.start_server(greet, "127.0.0.1", 0)
        peer.port = server.sockets[0].getsockname()[1]
        assert reason in await refusal(peer.broker())
        server.close()

    run(scenario())


def test_broken_later(caplog: pytest.LogCaptureFixture) -> None:
    """A peer that breaks the protocol later is told so, left, and connected to again."""

    async def scenario() -> None:
        async with Peer().listening() as peer:
            broker = peer.broker()
            await broker.start()
            session = await peer.session()
            session.write(frame.marshal(commands.Basic.Ack(9), 1))
            await peer.session()
            while not broker.connected:
                await asyncio.sleep(0)
            await broker.aclose()

    with caplog.at_level(logging.WARNING):
        run(scenario())
    assert "the server broke the protocol: a confirm of message 9, of 0" in caplog.text


def test_consuming_again(caplog: pytest.LogCaptureFixture) -> None:
    """A consumer that the broker has cancelled, or whose channel it has closed, subscribes again with all it needs."""

    async def scenario() -> None:
        async with Peer().listening() as peer:
            broker = peer.broker()
            await broker.start()
            await peer.session()
            consumers: asyncio.Queue[commands.Basic.Consume] = asyncio.Queue()

            def consume(said: commands.Basic.Consume) -> list[Any]:
                consumers.put_nowait(said)
                return [commands.Basic.ConsumeOk(said.consumer_tag)]

            async def consumer() -> commands.Basic.Consume:
                async with asyncio.timeout(5.0):  # before the client could think that the peer is dead
                    return await consumers.get()

            peer.answers[commands.Basic.Consume] = consume
            intake = await broker.subscribe(ORDERS, lambda _: None)
            session = await peer.session()
            first = await consumer()
            assert first.queue == "hasten:orders.paid:billing"
            number = intake._channel.number  # type: ignore[attr-defined]
            session.say(number, commands.Basic.Cancel(first.consumer_tag, nowait=True))
            assert (await consumer()).queue == first.queue
            while intake._channel is None:  # type: ignore[attr-defined]
                await asyncio.sleep(0)
            number = intake._channel.number  # type: ignore[attr-defined]
            session.say(number, commands.Channel.Close(406, "PRECONDITION_FAILED - timed out", 0, 0))
            assert (await consumer()).queue == first.queue
            session.hang_up()
            await peer.session()
            assert (await consumer()).queue == first.queue
            await broker.aclose()

    run(scenario())
