"""A bus with hooks tells how far its groups are behind, and asks no more than it needs to."""

import asyncio
import logging
import math

import pytest

from hasten._core.errors import ConfigurationError
from hasten._core.signals import EventBacklog, EventSignal
from hasten.events import Bus, Reject
from hasten.events._broker import Backlog
from hasten.events._errors import BrokerError
from hasten.events.brokers.memory import MemoryBroker
from hasten.events.brokers.rabbitmq import rabbit_broker
from tests.events.brokers.adapter import LONGEST, OrderPaid, eventually, new_topic, run

TOPIC = "orders.paid"
OFTEN = 0.005
"""Seconds between two questions."""


class Asked(MemoryBroker):
    """Answers the questions for backlogs by a script, and counts them.

    Args:
      answers: Of one question after the other; the last one stays. `None` has no answer for ever.
    """

    def __init__(self, *answers: Backlog | Exception | None) -> None:
        super().__init__()
        self.questions = 0
        self.at_once = 0
        self._answers = answers

    async def backlog(self, topic: str, group: str) -> Backlog:
        answer = self._answers[min(self.questions, len(self._answers) - 1)]
        self.questions += 1
        self.at_once += 1
        assert self.at_once == 1, "a question before the last one was answered"
        try:
            await asyncio.sleep(0)
            if answer is None:
                await asyncio.Event().wait()
        finally:
            self.at_once -= 1
        if isinstance(answer, Exception):
            raise answer
        assert answer is not None
        return answer


class Told:
    """The backlogs that a hook was told, and waiting for them."""

    def __init__(self) -> None:
        self.backlogs: list[EventBacklog] = []

    def __call__(self, signal: EventSignal) -> None:
        if isinstance(signal, EventBacklog):
            self.backlogs.append(signal)

    async def some(self, most: int) -> None:
        """Wait until there are so many."""

        async def enough() -> bool:
            return len(self.backlogs) >= most

        await eventually(enough)


def bus_at(broker: MemoryBroker, *groups: str, hooks: tuple[Told, ...], lag_every: float = OFTEN) -> Bus:
    bus = Bus(broker, hooks=hooks, lag_every=lag_every)

    async def handle(order: OrderPaid) -> None:
        raise Reject("not ours")

    for group in groups:
        bus.subscribe(TOPIC, group=group)(handle)
    return bus


def test_each_group_again_and_again() -> None:
    """Each group of the bus is asked for, one after the other, and told with its own figures as they change."""

    async def scenario() -> None:
        told = Told()
        async with bus_at(MemoryBroker(), "billing", "mail", hooks=(told,)) as bus:
            await told.some(2)
            await bus.publish(TOPIC, OrderPaid(1))
            before = len(told.backlogs)
            await told.some(before + 6)
        assert {(each.topic, each.group) for each in told.backlogs} == {(TOPIC, "billing"), (TOPIC, "mail")}
        assert told.backlogs[0] == EventBacklog(TOPIC, "billing", 0, 0)
        assert told.backlogs[-2:] in (
            [EventBacklog(TOPIC, "billing", 0, 1), EventBacklog(TOPIC, "mail", 0, 1)],
            [EventBacklog(TOPIC, "mail", 0, 1), EventBacklog(TOPIC, "billing", 0, 1)],
        )

    run(scenario())


def test_a_real_broker(amqp_url: str) -> None:
    """RabbitMQ is asked beside its deliveries, and the dead letters of a group are told."""

    async def scenario() -> None:
        topic, told = new_topic(), Told()
        bus = Bus(rabbit_broker(amqp_url), hooks=[told], lag_every=OFTEN)

        @bus.subscribe(topic, group="billing")
        async def reject(order: OrderPaid) -> None:
            raise Reject("not ours")

        async def has_died() -> bool:
            return EventBacklog(topic, "billing", 0, 3) in told.backlogs

        async with bus:
            for number in range(3):
                await bus.publish(topic, OrderPaid(number))
            await eventually(has_died)

    run(scenario())


def test_a_question_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """It is told in the log once and asked again; the next failure after an answer is told again."""

    async def scenario() -> None:
        told, ill = Told(), BrokerError("memory", "is ill")
        broker = Asked(ill, OSError("torn"), ill, Backlog(7, 1), ill, ill, Backlog(8, 2))
        async with bus_at(broker, "billing", hooks=(told,)):
            await told.some(2)
        assert told.backlogs[:2] == [EventBacklog(TOPIC, "billing", 7, 1), EventBacklog(TOPIC, "billing", 8, 2)]

    with caplog.at_level(logging.WARNING, "hasten.events"):
        run(scenario())
    lines = [each.getMessage() for each in caplog.records]
    assert lines == [f"{TOPIC} billing: no backlog: BrokerError: memory: is ill"] * 2


def test_it_ends_with_the_bus() -> None:
    """A question that is never answered does not hold up a bus that is left, and nothing of it is left running."""

    async def scenario() -> None:
        told = Told()
        async with asyncio.timeout(LONGEST):
            async with bus_at(broker := Asked(Backlog(1, 0), None), "billing", hooks=(told,)):
                await eventually(lambda: _asked(broker, 2))
            assert asyncio.all_tasks() == {asyncio.current_task()}
        assert (broker.questions, broker.at_once, len(told.backlogs)) == (2, 0, 1)

    run(scenario())


async def _asked(broker: Asked, most: int) -> bool:
    return broker.questions >= most


@pytest.mark.parametrize(("hooks", "lag_every"), [((), OFTEN), ((Told(),), math.inf)])
def test_nobody_wants_to_know(hooks: tuple[Told, ...], lag_every: float) -> None:
    """Without hooks, or with an infinite `lag_every`, the broker is not asked, and no task waits to ask it."""

    async def scenario() -> None:
        broker = Asked(Backlog(0, 0))
        async with bus_at(broker, "billing", hooks=hooks, lag_every=lag_every):
            assert asyncio.all_tasks() == {asyncio.current_task()}
        assert broker.questions == 0

    run(scenario())


@pytest.mark.parametrize("lag_every", [0.0, -1.0, math.nan])
def test_wrong_seconds(lag_every: float) -> None:
    """Seconds that are no pause are refused when the bus is made."""
    with pytest.raises(ConfigurationError, match="lag_every"):
        Bus("memory://", lag_every=lag_every)
