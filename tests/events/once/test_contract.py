"""What `once=` promises: through the bus over every adapter, and for those with claims, what a claim is."""

import asyncio
from collections import Counter

import pytest

from hasten.events import Bus, Claim, Message, Once, Reject, RetryPolicy, Standing
from hasten.events.brokers.memory import MemoryBroker
from tests.events.brokers.adapter import LONGEST, QUICKLY, Seen, eventually, run
from tests.events.once.conftest import Adapter

TOPIC = "orders.paid"


async def handled(bus: Bus, group: str = "billing") -> None:
    """Wait until a group has nothing left."""
    consumer = bus._consumers[TOPIC, group]
    assert isinstance(bus.broker, MemoryBroker)
    broker = bus.broker

    async def is_empty() -> bool:
        return (await broker.backlog(TOPIC, group)).waiting + consumer.under_way == 0

    await eventually(is_empty)


def test_delivered_twice(adapter: Adapter) -> None:
    """Messages that come again, one after the other or at the same time, have their effect once."""

    async def scenario() -> None:
        place, bus = await adapter.place(), Bus("memory://")

        @bus.subscribe(TOPIC, group="billing", once=place.once)
        async def bill(_: int, message: Message) -> None:
            await place.effect(message)

        async with bus:
            for _ in range(2):
                for number in range(10):
                    await bus.publish(TOPIC, number, message_id=f"id-{number}")
                    await bus.publish(TOPIC, number, message_id=f"id-{number}")
                await handled(bus)
        assert await place.effects() == {f"id-{number}": 1 for number in range(10)}
        await place.aclose()

    run(scenario())


def test_groups_are_apart(adapter: Adapter) -> None:
    """What one group has handled another handles too."""

    async def scenario() -> None:
        place, bus = await adapter.place(), Bus("memory://")
        for group in ("billing", "mail"):

            async def handle(_: int, message: Message) -> None:
                await place.effect(message)

            bus.subscribe(TOPIC, group=group, once=place.once)(handle)
        async with bus:
            await bus.publish(TOPIC, 1, message_id="id")
            for group in ("billing", "mail"):
                await handled(bus, group)
        assert await place.effects() == {"id": 2}
        await place.aclose()

    run(scenario())


def test_a_failure_is_no_handling(adapter: Adapter) -> None:
    """What failed is handled at the retry; what was rejected, when it is replayed."""

    async def scenario() -> None:
        place, broker = await adapter.place(), MemoryBroker()
        bus, attempts = Bus(broker), Counter[str]()

        @bus.subscribe(TOPIC, group="billing", once=place.once, retry=QUICKLY)
        async def bill(_: int, message: Message) -> None:
            attempts[message.id] += 1
            if attempts[message.id] == 1:
                raise ValueError("at first")
            if attempts[message.id] == 2:
                raise Reject("then")
            await place.effect(message)

        async with bus:
            await bus.publish(TOPIC, 1, message_id="id")
            await handled(bus)
            assert await place.effects() == {}
            assert await broker.replay(TOPIC, "billing", lambda _: True, 10) == 1
            await handled(bus)
        assert attempts == {"id": 3}
        assert await place.effects() == {"id": 1}
        await place.aclose()

    run(scenario())


def test_a_cancelled_handler(adapter: Adapter) -> None:
    """A handler that the drain cancels has handled nothing: the next consumer may, without waiting for a claim."""

    async def scenario() -> None:
        place, broker, started = await adapter.place(), MemoryBroker(), asyncio.Event()
        first, second = Bus(broker, drain=0.0), Bus(broker)

        @first.subscribe(TOPIC, group="billing", once=place.once)
        async def hang(_: int, message: Message) -> None:
            started.set()
            await asyncio.Event().wait()

        @second.subscribe(TOPIC, group="billing", once=place.once, retry=RetryPolicy(0))
        async def bill(_: int, message: Message) -> None:
            await place.effect(message)

        async with first:
            await first.publish(TOPIC, 1, message_id="id")
            await started.wait()
        async with second:
            await handled(second)
        assert await place.effects() == {"id": 1}
        await place.aclose()

    run(scenario())


def test_a_long_handler(adapter: Adapter) -> None:
    """While a handler runs, longer than a claim lives by itself, the message that comes again waits for it."""

    async def scenario() -> None:
        place, bus, seen = await adapter.place(), Bus("memory://"), Seen()
        entered = Counter[str]()

        @bus.subscribe(TOPIC, group="billing", once=place.once)
        async def bill(_: int, message: Message) -> None:
            entered[message.id] += 1
            if entered[message.id] == 1 and not adapter.notes_with_the_effect:
                await asyncio.sleep(1.5)
            await place.effect(message)
            await seen.note(1, message)

        async with bus:
            await bus.publish(TOPIC, 1, message_id="id")
            await bus.publish(TOPIC, 1, message_id="id")
            await seen.count(1)
            await handled(bus)
        assert await place.effects() == {"id": 1}
        if not adapter.notes_with_the_effect:
            assert entered == {"id": 1}
        await place.aclose()

    run(scenario())


# ---- claims


async def until(once: Once, standing: Standing) -> Claim:
    """Ask for a message until the answer is this."""
    async with asyncio.timeout(LONGEST):
        while (claim := await once.claim("billing", "id")).standing is not standing:
            await asyncio.sleep(0.01)
        return claim


def test_a_claim(claiming: Adapter) -> None:
    """Who claims first has it, the others wait; given back, it is the next one's; done, it is nobody's."""

    async def scenario() -> None:
        place = await claiming.place()
        once = place.once
        first = await once.claim("billing", "id")
        assert first.standing is Standing.OURS
        assert (await once.claim("billing", "id")).standing is Standing.BUSY
        assert (await once.claim("billing", "other")).standing is Standing.OURS
        assert (await once.claim("mail", "id")).standing is Standing.OURS
        await once.release("billing", "id", first)
        second = await once.claim("billing", "id")
        assert second.standing is Standing.OURS
        assert second.token != first.token
        await once.done("billing", "id", second)
        assert (await once.claim("billing", "id")).standing is Standing.DONE
        await place.aclose()

    run(scenario())


def test_a_claim_that_was_given_back(claiming: Adapter) -> None:
    """Whose claim has ended cannot end the next one's; that its effect has happened is known all the same."""

    async def scenario() -> None:
        place = await claiming.place()
        once = place.once
        first = await once.claim("billing", "id")
        await once.release("billing", "id", first)
        second = await once.claim("billing", "id")
        await once.release("billing", "id", first)
        assert (await once.claim("billing", "id")).standing is Standing.BUSY
        await once.done("billing", "id", first)
        await once.release("billing", "id", second)
        assert (await once.claim("billing", "id")).standing is Standing.DONE
        await place.aclose()

    run(scenario())


@pytest.mark.parametrize("kind", ["redis", "redis-cluster"])
def test_the_claim_of_a_dead_consumer(kind: str, request: pytest.FixtureRequest) -> None:
    """It ends by itself; one whose consumer lives is renewed, also past its lease."""

    async def scenario() -> None:
        url = request.getfixturevalue("redis_url" if kind == "redis" else "redis_cluster_url")
        adapter = Adapter(kind, f"{url} nowhere", request.node.name.replace("[", "-").strip("]"))
        alive, dead, next_one = await adapter.place(), await adapter.place(), await adapter.place()
        kept = await alive.once.claim("billing", "kept")
        await dead.once.claim("billing", "id")
        await dead.aclose()  # it renews nothing any more
        assert (await next_one.once.claim("billing", "id")).standing is Standing.BUSY
        claim = await until(next_one.once, Standing.OURS)
        again = await next_one.once.claim("billing", "kept")
        assert again.standing is Standing.BUSY
        await alive.once.done("billing", "kept", kept)
        await next_one.once.done("billing", "id", claim)
        for place in (alive, dead, next_one):
            await place.aclose()

    run(scenario())
