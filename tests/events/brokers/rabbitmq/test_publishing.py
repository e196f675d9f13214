"""Publishing against a peer that says what a test wants: confirms, refusals, flow control, faults, deadlines."""

import asyncio
import time
from typing import Any

import pytest
from pamqp import commands, heartbeat

from hasten.events import BrokerError, PublishTimeout, Unroutable
from hasten.events.brokers.rabbitmq import RabbitBroker
from tests.events.brokers.adapter import run
from tests.events.brokers.rabbitmq.peer import Peer, Session, message

LATER = 30.0


def publish(broker: RabbitBroker, number: int, seconds: float = LATER, **fields: Any) -> "asyncio.Future[None]":
    """Begin to publish a message."""
    return asyncio.ensure_future(broker.publish(message(number, **fields), deadline=time.monotonic() + seconds))


async def started(peer: Peer, options: str = "") -> tuple[RabbitBroker, Session]:
    """Return a broker that is connected to the peer."""
    broker = peer.broker(options)
    await broker.start()
    return broker, await peer.session()


def test_one_confirm_for_many() -> None:
    """A confirm may be for all messages up to one, or for one alone, in any order."""

    async def scenario() -> None:
        async with Peer().listening() as peer:
            broker, session = await started(peer)
            futures = [publish(broker, number) for number in range(6)]
            for _ in futures:
                await session.published()
            session.say(1, commands.Basic.Ack(5), commands.Basic.Ack(3, multiple=True))
            await asyncio.gather(*futures[:3], futures[4])
            assert not futures[3].done()
            assert not futures[5].done()
            session.say(1, commands.Basic.Ack(6, multiple=True))
            await asyncio.gather(*futures)
            await broker.aclose()

    run(scenario())


def test_what_is_refused() -> None:
    """A message that the broker does not take is an error of its publisher's, and of no other."""

    async def scenario() -> None:
        async with Peer().listening() as peer:
            broker, session = await started(peer)
            futures = [publish(broker, number) for number in range(3)]
            for _ in futures:
                await session.published()
            session.say(1, commands.Basic.Nack(2), commands.Basic.Ack(3, multiple=True))
            await futures[0]
            await futures[2]
            with pytest.raises(BrokerError, match="refused the message"):
                await futures[1]
            await broker.aclose()

    run(scenario())


def test_what_comes_back() -> None:
    """Of two messages with one id, sent at once, the one that comes back is the one that nobody wants."""

    async def scenario() -> None:
        async with Peer().listening() as peer:
            broker, session = await started(peer)
            wanted, unwanted = publish(broker, 1), publish(broker, 1, topic="orders.lost")
            again = publish(broker, 1, topic="orders.lost")
            await session.published()
            _, properties, body = await session.published()
            lost = commands.Basic.Return(312, "NO_ROUTE", "hasten", "orders.lost")
            for _ in range(2):
                session.say(1, lost, properties)
                session.write(b"\x03\0\1\0\0\0\2" + body + b"\xce")
            session.say(1, commands.Basic.Ack(3, multiple=True))
            await wanted
            for future in (unwanted, again):
                with pytest.raises(Unroutable, match=r"orders\.lost"):
                    await future
            await broker.aclose()

    run(scenario())


def test_written_together() -> None:
    """What is published in one pass of the loop is sent in one piece."""

    async def scenario() -> None:
        async with Peer().listening() as peer:
            broker, session = await started(peer)
            connection = broker._publishing.connection
            assert connection is not None
            assert connection._transport is not None
            written: list[Any] = []
            write = connection._transport.write

            def note(data: Any) -> None:
                written.append(data)
                write(data)

            connection._transport.write = note  # type: ignore[method-assign]
            futures = [publish(broker, number) for number in range(50)]
            for _ in futures:
                await session.published()
            assert len(written) == 1
            session.say(1, commands.Basic.Ack(50, multiple=True))
            await asyncio.gather(*futures)
            await broker.aclose()

    run(scenario())


def test_sent_again() -> None:
    """What was not confirmed when the connection was lost is sent again in its order, before what came later."""

    async def scenario() -> None:
        async with Peer().listening() as peer:
            broker, session = await started(peer)
            futures = [publish(broker, number) for number in range(4)]
            for _ in futures:
                await session.published()
            session.say(1, commands.Basic.Ack(2))
            await futures[1]
            session.hang_up()
            while broker.connected:
                await asyncio.sleep(0)
            futures.append(publish(broker, 4))
            futures[2].cancel()
            session = await peer.session()
            numbers = [(await session.published())[1].properties.message_id for _ in range(3)]
            assert numbers == ["id-0", "id-3", "id-4"]
            session.say(1, commands.Basic.Ack(3, multiple=True))
            await asyncio.gather(futures[0], futures[3], futures[4])
            await broker.aclose()

    run(scenario())


def test_blocked() -> None:
    """While the broker is short of memory nothing is sent; who cannot wait learns why; then the rest is sent."""

    async def scenario() -> None:
        async with Peer().listening() as peer:
            broker, session = await started(peer)
            session.say(0, commands.Connection.Blocked("low on memory"))
            connection = broker._publishing.connection
            assert connection is not None
            while not connection.blocked:
                await asyncio.sleep(0)
            hasty, patient = publish(broker, 1, seconds=0.05), publish(broker, 2)
            with pytest.raises(PublishTimeout, match="low on memory"):
                await hasty
            assert session.said.empty()
            session.say(0, commands.Connection.Unblocked())
            assert (await session.published())[1].properties.message_id == "id-2"
            session.say(1, commands.Basic.Ack(1))
            await patient
            await broker.aclose()

    run(scenario())


def test_a_black_hole() -> None:
    """A connection on which nothing comes for two heartbeats is left, and what was under way goes over another."""

    async def scenario() -> None:
        async with Peer().listening() as peer:
            broker, session = await started(peer, "?heartbeat=1")
            session.mute = True
            hasty, patient = publish(broker, 1, seconds=0.05), publish(broker, 2)
            with pytest.raises(PublishTimeout, match="did not confirm"):
                await hasty
            session = await peer.session()
            assert (await session.published())[1].properties.message_id == "id-2"
            session.say(1, commands.Basic.Ack(1))
            await patient
            await broker.aclose()

    run(scenario())


def test_heartbeats_are_sent() -> None:
    """A client that has nothing to say shows that it lives, as often as was agreed, and a peer that does is kept."""

    async def scenario() -> None:
        async with Peer().listening() as peer:
            beats: asyncio.Queue[None] = asyncio.Queue()

            def beat(_: object) -> list[object]:
                beats.put_nowait(None)
                return [heartbeat.Heartbeat()]

            peer.answers[heartbeat.Heartbeat] = beat
            broker, session = await started(peer, "?heartbeat=1")
            for _ in range(5):  # 2.5 s: a silent peer would have been left
                async with asyncio.timeout(10.0):
                    await beats.get()
            assert not session.closed.is_set()
            await broker.aclose()

    run(scenario())


def test_the_socket_is_full() -> None:
    """When the peer reads nothing, what is published waits here, and nothing of it is lost or out of order."""

    async def scenario() -> None:
        async with Peer().listening() as peer:
            broker, session = await started(peer)
            session._reader._transport.pause_reading()  # type: ignore[attr-defined]
            body = b"x" * 100_000
            futures = [publish(broker, number, body=body) for number in range(200)]
            await asyncio.sleep(0)
            connection, publisher = broker._publishing.connection, broker._publisher
            assert connection is not None
            assert publisher is not None
            assert connection._transport is not None
            while connection.has_room():
                await asyncio.sleep(0)
            assert len(publisher._waiting) > 100
            assert (
                connection._transport.get_write_buffer_size() < 20_000_000 - 100_000 * len(publisher._waiting) + 10**6
            )
            session._reader._transport.resume_reading()  # type: ignore[attr-defined]
            numbers = [(await session.published())[1].properties.message_id for _ in futures]
            assert numbers == [f"id-{number}" for number in range(200)]
            session.say(1, commands.Basic.Ack(200, multiple=True))
            await asyncio.gather(*futures)
            await broker.aclose()

    run(scenario())


def test_one_message_closes_the_channel() -> None:
    """When the broker closes the channel over a message, that one fails with its reason, and no other."""

    async def scenario() -> None:
        async with Peer().listening() as peer:
            broker, session = await started(peer)
            futures = [publish(broker, number) for number in range(5)]
            answered, tag = 0, 0
            for _ in futures:
                await session.published()
            too_large = commands.Channel.Close(406, "PRECONDITION_FAILED - too large", 60, 40)
            session.say(1, commands.Basic.Ack(1), too_large)
            while answered < 4:
                _, properties, _ = await session.published()
                tag += 1
                if properties.properties.message_id == "id-2":
                    session.say(1, too_large)
                    tag = 0
                else:
                    session.say(1, commands.Basic.Ack(tag))
                answered += 1
            await asyncio.gather(futures[0], futures[1], *futures[3:])
            with pytest.raises(BrokerError, match="too large"):
                await futures[2]
            future = publish(broker, 5)
            await session.published()
            session.say(1, commands.Basic.Ack(tag + 1))
            await future
            await broker.aclose()

    run(scenario())


def test_the_exchange_is_deleted() -> None:
    """It is declared again, and the message is published: nobody is to blame."""

    async def scenario() -> None:
        async with Peer().listening() as peer:
            broker, session = await started(peer)
            future = publish(broker, 1)
            await session.published()
            session.say(1, commands.Channel.Close(404, "NOT_FOUND - no exchange 'hasten'", 60, 40))
            await session.published()
            session.say(1, commands.Basic.Ack(1))
            await future
            await broker.aclose()

    run(scenario())


def test_headers_that_do_not_fit() -> None:
    """Headers that are larger than a frame are refused before the broker would close the connection over them."""

    async def scenario() -> None:
        async with Peer().listening() as peer:
            broker, session = await started(peer)
            with pytest.raises(BrokerError, match="bytes of headers"):
                await publish(broker, 1, headers={"much": "x" * 131_072})
            with pytest.raises(BrokerError, match="255"):
                await publish(broker, 1, origin="x" * 256)
            future = publish(broker, 2)
            await session.published()
            session.say(1, commands.Basic.Ack(1))
            await future
            await broker.aclose()

    run(scenario())


def test_deadlines() -> None:
    """Each message has its own deadline; a caller that goes harms no other."""

    async def scenario() -> None:
        async with Peer().listening() as peer:
            broker, session = await started(peer)
            slow, quick, gone = publish(broker, 1), publish(broker, 2, seconds=0.02), publish(broker, 3)
            gone.cancel()
            for _ in range(3):
                await session.published()
            with pytest.raises(PublishTimeout):
                await quick
            assert not slow.done()
            with pytest.raises(PublishTimeout, match="before it was sent"):
                await publish(broker, 4, seconds=0.0)
            session.say(1, commands.Basic.Ack(3, multiple=True))
            await slow
            await broker.aclose()

    run(scenario())


def test_leaving() -> None:
    """Who leaves waits for the last confirms, takes no more, and says goodbye; nothing is left of it in the loop."""

    async def scenario() -> None:
        async with Peer().listening() as peer:
            broker, session = await started(peer)
            others = asyncio.all_tasks()
            future = publish(broker, 1)
            await session.published()
            leaving = asyncio.ensure_future(broker.aclose())
            await asyncio.sleep(0)
            with pytest.raises(BrokerError, match="is closed"):
                await publish(broker, 2)
            assert not leaving.done()
            session.say(1, commands.Basic.Ack(1))
            await future
            await leaving
            await session.closed.wait()
            assert asyncio.all_tasks() <= others
            assert not broker.connected

    run(scenario())


def test_leaving_without_a_connection() -> None:
    """Who leaves while the broker is away does not wait for it, and its messages are not confirmed."""

    async def scenario() -> None:
        peer = Peer()
        async with peer.listening():
            broker, session = await started(peer)
        session.hang_up()
        while broker.connected:
            await asyncio.sleep(0)
        future = publish(broker, 1)
        await broker.aclose()
        with pytest.raises(PublishTimeout, match="closed before"):
            await future

    run(scenario())
