"""What every broker promises to those who listen (`Broadcasting`)."""

import asyncio
import time

import pytest

from hasten.events import Broadcast, Broadcasting, Bus, Envelope
from hasten.events.brokers.memory import MemoryBroker
from tests.events.brokers.adapter import LONGEST, Adapter, OrderPaid, Seen, new_topic, run
from tests.events.brokers.test_contract import noting


class Heard:
    """What a listener has received; `None` stands for a gap."""

    def __init__(self) -> None:
        self.bodies: list[bytes | None] = []
        self._more = asyncio.Event()

    def receive(self, body: bytes) -> None:
        self._note(body)

    def missed(self) -> None:
        self._note(None)

    def _note(self, body: bytes | None) -> None:
        self.bodies.append(body)
        self._more.set()

    async def until(self, body: bytes | None) -> None:
        """Wait until it has come."""
        async with asyncio.timeout(LONGEST):
            while body not in self.bodies:
                self._more.clear()
                await self._more.wait()


async def heard_on(bus: Bus, topic: str) -> tuple[Broadcast, Heard]:
    broadcast, heard = Broadcast(bus, topic), Heard()
    await broadcast.listen(heard.receive, heard.missed)
    return broadcast, heard


def numbered(numbers: range) -> list[bytes]:
    return [b"%d" % number for number in numbers]


def test_all_who_listen_hear_all(adapter: Adapter) -> None:
    """Each listener hears everything once, in the order of its sending, the sender too; and no gap."""

    async def scenario() -> None:
        topic, ours, theirs = new_topic(), adapter.bus(), adapter.bus()
        async with adapter.joined(ours, theirs):
            mine, heard = await heard_on(ours, topic)
            others = [(await heard_on(bus, topic))[1] for bus in (ours, theirs, theirs)]
            await asyncio.gather(*(mine.send(body) for body in numbered(range(500))))
            for each in (heard, *others):
                await each.until(b"499")
                assert each.bodies == numbered(range(500))

    run(scenario())


def test_what_was_sent_is_ahead(adapter: Adapter) -> None:
    """When sending has been answered every listener receives it before what another one sends from then on."""

    async def scenario() -> None:
        topic, ours, theirs = new_topic(), adapter.bus(), adapter.bus()
        async with adapter.joined(ours, theirs):
            mine, here = await heard_on(ours, topic)
            other, there = await heard_on(theirs, topic)
            for number in range(0, 100, 2):
                await mine.send(b"%d" % number)
                await other.send(b"%d" % (number + 1))
            for each in (here, there):
                await each.until(b"99")
                assert each.bodies == numbered(range(100))

    run(scenario())


def test_nothing_is_kept(adapter: Adapter) -> None:
    """Who listens hears nothing of before, and nothing after his end; sending into the void is no error."""

    async def scenario() -> None:
        topic, bus = new_topic(), adapter.bus()
        async with adapter.joined(bus):
            await Broadcast(bus, topic).send(b"before")
            first, heard = await heard_on(bus, topic)
            await first.send(b"meanwhile")
            await heard.until(b"meanwhile")
            await first.aclose()
            await first.aclose()
            await first.send(b"after")
            second, again = await heard_on(bus, topic)
            await second.send(b"again")
            await again.until(b"again")
        assert heard.bodies == [b"meanwhile"]
        assert again.bodies == [b"again"]

    run(scenario())


def test_beside_groups(adapter: Adapter) -> None:
    """Listeners take nothing away from groups, and hear what the bus publishes, with all that travels with it."""

    async def scenario() -> None:
        topic, bus = new_topic(), adapter.bus(origin="shop")
        seen: Seen = noting(bus, topic, "billing")
        envelopes: list[Envelope] = []
        came = asyncio.Event()

        def receive(envelope: Envelope) -> None:
            envelopes.append(envelope)
            came.set()

        async with adapter.joined(bus):
            assert isinstance(bus.broker, Broadcasting)
            await bus.broker.listen(topic, receive, lambda: None)
            await bus.publish(topic, OrderPaid(7), key="k", headers={"tenant": "mück"})
            await seen.count(1)
            async with asyncio.timeout(LONGEST):
                await came.wait()
        (envelope,) = envelopes
        assert (envelope.topic, envelope.key, envelope.origin) == (topic, "k", "shop")
        assert (envelope.id, envelope.headers) == (seen.messages[0].id, {"tenant": "mück"})

    run(scenario())


def test_listening_needs_a_start(adapter: Adapter) -> None:
    """A broker that is not started, and has to be, says so."""

    async def scenario() -> None:
        bus = adapter.bus()
        if isinstance(bus.broker, MemoryBroker):
            pytest.skip("memory needs none")
        with pytest.raises(Exception, match="not started"):
            await heard_on(bus, new_topic())

    run(scenario())


def test_a_broker_that_is_started_again(adapter: Adapter) -> None:
    """What was closed can be started again, in another loop, as tests of an app do it, and tells all who listen."""
    topic, broker = new_topic(), adapter.bus().broker

    async def once(number: int) -> None:
        heard = Heard()
        body = b"%d" % number
        envelope = Envelope(topic=topic, body=body, content_type="text/plain", id=f"again-{number}")
        await broker.start()
        try:
            assert isinstance(broker, Broadcasting)
            await broker.listen(topic, lambda each: heard.receive(each.body), heard.missed)
            await broker.publish(envelope, deadline=time.monotonic() + LONGEST)
            await heard.until(body)
            assert heard.bodies == [body]
        finally:
            await broker.aclose()

    for number in range(3):
        run(once(number))
