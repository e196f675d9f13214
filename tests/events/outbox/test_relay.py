"""A relay publishes what is committed: everything, in the order of its keys, and one relay at a time."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from hasten.events import BrokerError, Bus, Envelope, Message
from hasten.events.brokers.memory import MemoryBroker
from hasten.events.outbox import OutboxLag, Relay
from tests.events.brokers.adapter import Seen, eventually, run
from tests.events.outbox.conftest import NewShop
from tests.events.outbox.shop import TOPIC, Away, FileBroker, Shop

OFTEN = 0.02
SELDOM = 3600.0


async def emptied(shop: Shop) -> None:
    """Wait until an outbox is empty."""

    async def is_empty() -> bool:
        return (await shop.outbox.waiting()).count == 0

    await eventually(is_empty)


def test_everything_in_order(new_shop: NewShop) -> None:
    """All messages are published with what they carry, those of one key as they were written, and then gone."""

    async def scenario() -> None:
        shop, bus, seen = new_shop(), Bus("memory://"), Seen()
        await shop.create()
        bus.subscribe(TOPIC, group="billing", ordered=True)(_noting(seen))
        for number in range(5):
            await shop.add(*((f"{number}-{each}", f"k{each % 3}" if each % 4 else "") for each in range(50)))
        async with bus, Relay(shop.outbox, bus, poll=OFTEN) as relay:
            await seen.count(250)
            await emptied(shop)
            assert relay.statistics().active
            assert relay.statistics().published == 250
        assert not relay.statistics().active
        assert Counter(message.id for message in seen.messages).most_common(1)[0][1] == 1
        for key in ("k0", "k1", "k2"):
            ids = [message.id for message in seen.messages if message.key == key]
            assert ids == sorted(ids, key=lambda each: [int(part) for part in each.split("-")])

    run(scenario())


def _noting(seen: Seen) -> Any:
    async def note(payload: dict[str, str], message: Message) -> None:
        assert payload == {"id": message.id}
        await seen.note(payload, message)

    return note


def test_woken(new_shop: NewShop) -> None:
    """A relay that is woken publishes at once; it need not wait to look by itself."""

    async def scenario() -> None:
        shop, bus, seen = new_shop(), Bus("memory://"), Seen()
        await shop.create()
        bus.subscribe(TOPIC, group="billing")(_noting(seen))
        async with bus, Relay(shop.outbox, bus, poll=SELDOM) as relay:
            for number in range(3):
                await shop.add((f"{number}", ""))
                relay.wake()
                await seen.count(number + 1)

    run(scenario())


def test_the_broker_is_away(new_shop: NewShop, tmp_path: Path) -> None:
    """While the broker is away nothing is lost and nothing overtakes; when it is back all is published."""

    async def scenario() -> None:
        shop, broker = new_shop(), FileBroker(tmp_path / "published", before=Away(5))
        await shop.create()
        await shop.add(*((f"{number}", f"k{number % 2}") for number in range(20)))
        bus = Bus(broker)
        async with bus, Relay(shop.outbox, bus, poll=OFTEN):
            await emptied(shop)
        published = broker.published()
        assert len(published) == 20
        for key in ("k0", "k1"):
            numbers = [int(each) for each, of in published if of == key]
            assert numbers == sorted(numbers)

    run(scenario())


def test_what_the_broker_refuses(new_shop: NewShop) -> None:
    """A message that is refused holds back its own key alone, is reported, and goes when it can; then its key does."""

    async def scenario() -> None:
        shop, broker, lags = new_shop(), MemoryBroker(), list[OutboxLag]()
        await shop.create()
        consuming, bus, seen = Bus(broker), Bus(_Refusing(broker, {"bad", "large"})), Seen()
        consuming.subscribe(TOPIC, group="billing", ordered=True)(_noting(seen))
        await shop.add(("0", "k"), ("bad", "k"), ("1", "k"), ("2", "other"), ("large", ""), ("3", ""))
        relay = Relay(shop.outbox, bus, poll=OFTEN, hooks=[lags.append])
        async with consuming, bus, relay:
            await seen.count(3)
            await shop.add(("4", "k"), ("5", "other"))
            await seen.count(4)
            assert sorted(message.id for message in seen.messages) == ["0", "2", "3", "5"]
            refused = await shop.outbox.refused()
            assert [(each.id, why) for each, why in refused] == [
                ("bad", "BrokerError: file: will not have it"),
                ("large", "BrokerError: file: will not have it"),
            ]
            assert relay.statistics().refusals >= 2
            waiting = await shop.outbox.waiting()
            assert (waiting.count, waiting.refused) == (4, 2)
            assert await shop.outbox.discard("large")
            assert not await shop.outbox.discard("large")
            assert isinstance(bus.broker, _Refusing)
            bus.broker.refused.clear()
            await seen.count(7)
            assert [message.id for message in seen.messages if message.key == "k"] == ["0", "bad", "1", "4"]
        assert lags[0].table == shop.outbox.table
        assert lags[0].refused == 2
        assert lags[0].oldest >= 0.0

    run(scenario())


class _Refusing(FileBroker):
    """Another connection to a broker, over which some messages do not go."""

    def __init__(self, broker: MemoryBroker, refused: set[str]) -> None:
        super().__init__(Path("nowhere"))
        self.refused = refused
        self._broker = broker

    async def publish(self, envelope: Envelope, *, deadline: float, delay: float = 0.0, mandatory: bool = True) -> None:
        if envelope.id in self.refused:
            raise BrokerError(self.name, "will not have it")
        await self._broker.publish(envelope, deadline=deadline)


def test_one_is_active(new_shop: NewShop, tmp_path: Path) -> None:
    """Of several relays one publishes; when it leaves, another does at once; nothing is published twice."""

    async def scenario() -> None:
        broker, shops = FileBroker(tmp_path / "published"), [new_shop() for _ in range(3)]
        await shops[0].create()
        buses = [Bus(broker) for _ in shops]
        relays = [Relay(shop.outbox, bus, poll=OFTEN, lease=SELDOM) for shop, bus in zip(shops, buses, strict=True)]
        for bus, relay in zip(buses, relays, strict=True):
            await bus.start()
            await relay.__aenter__()
        for round_ in range(3):
            await shops[0].add(*((f"{round_}-{each}", "k") for each in range(20)))
            await emptied(shops[0])
            active = [relay for relay in relays if relay.statistics().active]
            assert len(active) == 1
            await active[0].aclose()
        assert [each for each, _ in broker.published()] == [f"{n}-{each}" for n in range(3) for each in range(20)]
        for bus, relay in zip(buses, relays, strict=True):
            await relay.aclose()
            await bus.aclose()
        await shops[0].outbox.database.aclose()

    run(scenario())


def test_a_relay_that_is_gone(new_shop: NewShop, tmp_path: Path) -> None:
    """The lease of a relay that is gone without a word ends, and another takes its place, no sooner."""

    async def scenario() -> None:
        shop, broker = new_shop(), FileBroker(tmp_path / "published")
        await shop.create()
        assert await shop.outbox.lease("gone", 0.5)
        assert not await shop.outbox.lease("other", 0.5)
        assert await shop.outbox.lease("gone", 0.5)
        await shop.add(("a", ""))
        bus = Bus(broker)
        async with bus, Relay(shop.outbox, bus, poll=OFTEN):
            await emptied(shop)
        assert broker.published() == [("a", "")]

    run(scenario())


def test_a_lease_that_is_lost(new_shop: NewShop, tmp_path: Path) -> None:
    """A relay whose lease was taken publishes no more of a key while another does."""

    async def scenario() -> None:
        shop = new_shop()
        await shop.create()
        entered, go_on = asyncio.Event(), asyncio.Event()
        slow = _Slow(tmp_path / "published", entered, go_on)
        await shop.add(*((f"{number}", "k") for number in range(5)))
        bus = Bus(slow)
        async with bus, Relay(shop.outbox, bus, poll=OFTEN, lease=0.3) as relay:
            await entered.wait()
            await shop.database.query(f"UPDATE {shop.outbox.table}_lease SET owner = 'other', ends = 1e12")

            async def has_noticed() -> bool:
                return not relay.statistics().active

            await eventually(has_noticed)
            go_on.set()
            await eventually(lambda: _left(shop, 4))
        assert slow.published() == [("0", "k")]
        await shop.outbox.database.aclose()

    run(scenario())


async def _left(shop: Shop, count: int) -> bool:
    return (await shop.outbox.waiting()).count == count


class _Slow(FileBroker):
    """Has a message when it is told to."""

    def __init__(self, file: Path, entered: asyncio.Event, go_on: asyncio.Event) -> None:
        super().__init__(file)
        self._entered = entered
        self._go_on = go_on

    async def publish(self, envelope: Envelope, *, deadline: float, delay: float = 0.0, mandatory: bool = True) -> None:
        self._entered.set()
        await self._go_on.wait()
        await super().publish(envelope, deadline=deadline)


def test_the_database_is_away(new_shop: NewShop, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A relay whose tables are not there, or whose database fails, says so, tries again, and goes on when it can."""

    async def scenario() -> None:
        shop, broker = new_shop(), FileBroker(tmp_path / "published")
        bus = Bus(broker)
        async with bus, Relay(shop.outbox, bus, poll=OFTEN):

            async def has_said_so() -> bool:
                return "not relayed" in caplog.text

            await eventually(has_said_so)
            await shop.create()
            await shop.add(("a", ""))
            await emptied(shop)
        assert broker.published() == [("a", "")]

    run(scenario())


def test_a_hook_that_raises(new_shop: NewShop, tmp_path: Path) -> None:
    """It harms nobody: the error goes to the loop's handler."""

    async def scenario() -> None:
        shop, broker, told = new_shop(), FileBroker(tmp_path / "published"), list[dict[str, Any]]()
        await shop.create()
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

        def hook(lag: OutboxLag) -> None:
            raise ValueError("broken")

        bus = Bus(broker)
        async with bus, Relay(shop.outbox, bus, poll=OFTEN, hooks=[hook]):
            await shop.add(("a", ""))
            await emptied(shop)
        assert isinstance(told[0]["exception"], ValueError)

    run(scenario())
