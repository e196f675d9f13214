"""Request and reply over a bus."""

import asyncio
import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from hasten._core.errors import ConfigurationError
from hasten.events import (
    Broadcasting,
    Bus,
    Envelope,
    Message,
    RequestFailed,
    Requests,
    RequestTimeout,
    Unroutable,
    answers,
)
from hasten.events.brokers.memory import MemoryBroker
from hasten.resilience import deadline
from tests.events.brokers.adapter import Adapter, Seen, eventually, new_topic, run
from tests.events.brokers.conftest import kafka_adapter, memory_adapter, rabbitmq_adapter

__all__ = ("kafka_adapter", "memory_adapter", "rabbitmq_adapter")


class Item(msgspec.Struct):
    """What is asked for."""

    name: str


class Price(msgspec.Struct):
    """What is answered."""

    name: str
    cents: int


@pytest.fixture(params=["memory", "rabbitmq", "kafka"])
def adapter(request: pytest.FixtureRequest) -> Adapter:
    """A broker of each kind that can tell those who listen."""
    made: Adapter = request.getfixturevalue(f"{request.param}_adapter")
    return made


@asynccontextmanager
async def both(adapter: Adapter, answering: Bus, **options: Any) -> AsyncIterator[Requests]:
    """Run who answers and who asks, each on a connection of its own."""
    asking = adapter.bus()
    async with adapter.joined(answering, asking), Requests(asking, **options) as requests:
        yield requests


def test_asking(adapter: Adapter) -> None:
    """Each of many who ask at once gets the answer to its own request, decoded as what it asks for."""

    async def scenario() -> None:
        topic, bus = new_topic(), adapter.bus()

        @answers(bus, topic, group="prices")
        async def quote(item: Item, message: Message) -> Price:
            for _ in range(int(item.name) % 5):  # not in the order of the requests
                await asyncio.sleep(0)
            return Price(item.name, len(message.headers["tenant"]))

        async with both(adapter, bus) as requests:
            asked = (
                requests.ask(topic, Item(str(number)), returns=Price, headers={"tenant": "x" * number})
                for number in range(100)
            )
            assert await asyncio.gather(*asked) == [Price(str(number), number) for number in range(100)]

    run(scenario())


def test_many_ask(adapter: Adapter) -> None:
    """Answers go to who has asked, and to nobody else where topics are not kept; elsewhere all hear them."""

    async def scenario() -> None:
        topic, bus, other = new_topic(), adapter.bus(), adapter.bus()

        @answers(bus, topic, group="prices")
        async def double(number: int) -> int:
            return 2 * number

        async with both(adapter, bus) as ours, adapter.joined(other), Requests(other) as theirs:
            taken: list[Envelope] = []
            take = ours._take
            assert isinstance(other.broker, Broadcasting)
            await other.broker.listen(theirs._topic, taken.append, lambda: None)
            assert await ours.ask(topic, 1, returns=int) == 2
            assert await theirs.ask(topic, 2, returns=int) == 4

            async def came() -> bool:
                return bool(taken) and taken[-1].body == b"4"

            await eventually(came)  # a listener beside may be told a moment later
            assert len(taken) == (2 if other.broker.keeps_topics else 1)
            take(taken[-1])  # another's answer, or one that comes again, harms nobody

    run(scenario())


def test_an_exception_is_an_answer(adapter: Adapter) -> None:
    """Who asks is told what was raised; the request is handled once, and is no dead letter."""

    async def scenario() -> None:
        topic, bus, calls = new_topic(), adapter.bus(), list[str]()

        @answers(bus, topic, group="prices")
        async def quote(item: Item) -> Price:
            calls.append(item.name)
            raise KeyError(item.name)

        async with both(adapter, bus) as requests:
            with pytest.raises(RequestFailed, match=r"KeyError: 'tea'"):
                await requests.ask(topic, Item("tea"), returns=Price)
            assert calls == ["tea"]
            broker: Any = bus.broker
            assert (await broker.backlog(topic, "prices")).dead == 0

    run(scenario())


def test_an_answer_of_another_kind(adapter: Adapter) -> None:
    """An answer that is not what was asked for is a failure that says so."""

    async def scenario() -> None:
        topic, bus = new_topic(), adapter.bus()

        @answers(bus, topic, group="prices")
        async def quote(item: Item) -> list[int]:
            return [1, 2]

        async with both(adapter, bus) as requests:
            with pytest.raises(RequestFailed, match="the answer is malformed"):
                await requests.ask(topic, Item("tea"), returns=Price)
            assert await requests.ask(topic, Item("tea"), returns=list[int]) == [1, 2]

    run(scenario())


def test_no_answer_in_time(adapter: Adapter) -> None:
    """The ambient deadline, or the timeout, ends the wait; the request is worth nothing from then on."""

    async def scenario() -> None:
        topic, bus, seen = new_topic(), adapter.bus(), Seen()

        @answers(bus, topic, group="prices")
        async def quote(item: Item, message: Message) -> None:
            await seen.note(item, message)
            await asyncio.Event().wait()

        async with both(adapter, bus, timeout=0.05) as requests:
            with pytest.raises(RequestTimeout, match="no answer in"):
                await requests.ask(topic, Item("tea"), returns=Price)
        async with both(adapter, adapter.bus()) as requests:
            with pytest.raises(TimeoutError):
                async with deadline(0.05):
                    await requests.ask(topic, Item("tea"), returns=Price)
        assert all(message.deadline - message.time <= 0.051 for message in seen.messages)

    async def quickly() -> None:
        async with asyncio.timeout(30):
            await scenario()

    run(quickly())


def test_nobody_answers(adapter: Adapter) -> None:
    """A topic that nobody has ever answered is told at once, where the broker knows."""

    async def scenario() -> None:
        async with both(adapter, adapter.bus(), timeout=0.5) as requests:
            with pytest.raises(Unroutable if adapter.knows_groups else RequestTimeout):
                await requests.ask(new_topic(), Item("tea"), returns=Price)

    run(scenario())


def test_a_message_that_asks_nothing(adapter: Adapter) -> None:
    """What is published without asking is handled; no header sends an answer to a topic that is not for answers."""

    async def scenario() -> None:
        topic, bus, secret, seen, misled = new_topic(), adapter.bus(), new_topic(), Seen(), list[Any]()

        @answers(bus, topic, group="prices")
        async def quote(item: Item, message: Message) -> Price:
            await seen.note(item, message)
            return Price(item.name, 1)

        @bus.subscribe(secret, group="billing")
        async def bill(payload: Any) -> None:
            misled.append(payload)

        async with both(adapter, bus):
            await bus.publish(topic, Item("tea"))
            await bus.publish(topic, Item("tea"), headers={"reply-to": secret})
            await bus.publish(topic, Item("tea"), headers={"reply-to": "replies. no topic"})
            await seen.count(3)
        assert misled == []
        if isinstance(bus.broker, MemoryBroker):
            assert (await bus.broker.backlog(secret, "billing")).waiting == 0

    run(scenario())


def test_asking_without_listening() -> None:
    """It is an error of the caller's, as is a topic that is not for answers, and a function that cannot answer."""

    async def scenario() -> None:
        bus = Bus("memory://")
        with pytest.raises(ConfigurationError, match="does not listen"):
            await Requests(bus).ask("prices.quote", 1, returns=int)
        with pytest.raises(ConfigurationError, match=r"must begin with replies\."):
            Requests(bus, replies="orders.paid")
        with pytest.raises(ConfigurationError, match="must be greater than 0"):
            Requests(bus, timeout=0.0)

        async def two(first: int, second: int) -> int:
            return first

        with pytest.raises(ConfigurationError, match="other arguments"):
            answers(bus, "prices.quote", group="prices")(two)

    run(scenario())


def test_a_function_stays_itself() -> None:
    """The function that answers can be called as before, and is named in messages."""
    bus = Bus("memory://")

    @answers(bus, "prices.double", group="prices")
    async def double(number: int) -> int:
        return 2 * number

    assert asyncio.run(double(4)) == 8  # type: ignore[arg-type]
    assert inspect.signature(double).parameters.keys() == {"number"}
