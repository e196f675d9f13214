"""A consumer against a simple model of one partition that comes and goes: no record is passed by, whatever happens.

The thread that reads is not started: the test hands in records, and answers commits, as it would.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hasten.events._broker import Delivery, Subscription
from hasten.events.brokers._kafka_client import Message
from hasten.events.brokers._kafka_commits import Key, Mark
from hasten.events.brokers._kafka_consumer import KafkaIntake
from hasten.events.brokers._kafka_offsets import Progress
from hasten.events.brokers._kafka_producer import KafkaProducer
from hasten.events.brokers._kafka_puller import Reply
from hasten.events.brokers._kafka_settings import settings_of

if TYPE_CHECKING:
    from hasten.events.brokers._kafka_records import Headers

KEY: Key = ("orders", 0)
PREFETCH = 3
NOWHERE = settings_of("kafka://127.0.0.1:1")


def done_by(committed: tuple[int, str]) -> set[int]:
    """Return what is done as far as the group knows."""
    progress = Progress(*committed)
    first = max(0, committed[0])
    return set(range(60)) - {offset for offset in range(first, 60) if progress.take(offset)}


def record(offset: int, **headers: bytes) -> Message:
    """Return a record as librdkafka gives it; `_` stands for `-` in headers."""
    named: Headers = [(name.replace("_", "-"), value) for name, value in headers.items()]
    value = b"%d" % offset
    return Message(topic=KEY[0], partition=KEY[1], offset=offset, value=value, headers=named, timestamp=(1, 1000))


class Partition(RuleBasedStateMachine):
    """One partition of 60 records.

    It is assigned, read from the committed offset on, revoked in good order or lost; what is delivered is accepted in
    any order, also when the partition is somebody else's meanwhile. Others handle some, from the committed offset on.
    """

    @initialize()
    def begin(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.accepted: set[int] = set()
        self.out: list[Delivery] = []
        self.committed: tuple[int, str] = (-1001, "")
        self.unread: list[int] | None = None
        self.known: set[int] = set()  # to be done, when the partition was assigned
        self.again = False
        self.handed = 0
        self.loop.run_until_complete(self._make())

    async def _make(self) -> None:
        self.producer = KafkaProducer(NOWHERE, self.loop, lambda _: None)
        subscription = Subscription(topic=KEY[0], group="billing", prefetch=PREFETCH)
        self.intake = KafkaIntake(NOWHERE, subscription, self.receive, self.producer, 1)

    def receive(self, delivery: Delivery) -> None:
        self.out.append(delivery)
        self.again |= int(delivery.envelope.body) in self.known

    def turn(self) -> None:
        """Let the loop do what is due."""
        self.loop.run_until_complete(asyncio.sleep(0))

    def store(self, marks: Sequence[Mark]) -> None:
        for topic, at, offset, metadata in marks:
            assert (topic, at) == KEY
            assert offset >= self.committed[0], "a commit went back"
            self.committed = offset, metadata

    def settle(self, delivery: Delivery) -> None:
        if delivery.tag.share.live:
            self.accepted.add(int(delivery.envelope.body))
        self.intake.accept(delivery)

    @precondition(lambda self: self.unread is None)
    @rule(others=st.sampled_from([0, 0, 0, 2]))
    def assign(self, others: int) -> None:
        if others and self.committed[0] < 50:
            first = max(0, self.committed[0])
            self.committed = first + others, ""
            self.accepted.update(range(first, first + others))
        self.intake.assigned([(*KEY, *self.committed)])
        self.known = done_by(self.committed)
        self.unread = list(range(max(0, self.committed[0]), 60))

    @precondition(lambda self: self.unread)
    @rule(count=st.integers(1, 12))
    def read(self, count: int) -> None:
        assert self.unread is not None
        batch, self.unread = self.unread[:count], self.unread[count:]
        self.handed += len(batch)
        self.intake.take([record(offset) for offset in batch])
        self.turn()

    @precondition(lambda self: self.unread is None)
    @rule(offset=st.integers(0, 59))
    def read_too_late(self, offset: int) -> None:
        self.handed += 1
        self.intake.take([record(offset)])
        self.turn()

    @precondition(lambda self: self.out)
    @rule(data=st.data(), count=st.integers(1, 3))
    def accept(self, data: st.DataObject, count: int) -> None:
        for _ in range(min(count, len(self.out))):
            self.settle(self.out.pop(data.draw(st.integers(0, len(self.out) - 1))))
        self.turn()

    @rule()
    def commit(self) -> None:
        self.intake._commits._commit()
        marks, self.intake._puller._asked = self.intake._puller._asked, ()
        if marks:
            self.store(marks)
            self.intake.committed(marks, True)  # noqa: FBT003  an answer, not a switch

    @precondition(lambda self: self.unread is not None)
    @rule(in_time=st.booleans())
    def revoke(self, in_time: bool) -> None:  # noqa: FBT001  a case, not a switch
        reply = Reply()
        self.intake.revoke([KEY], reply)
        while in_time and any(delivery.tag.share.live for delivery in self.out):
            self.settle(self.out.pop())
        if self.intake._leaving is not None:
            assert not reply._given.is_set()
            self.intake._give_up()
        assert reply.wait(0.0)
        self.store(reply.marks)
        self.unread = None
        self.turn()

    @precondition(lambda self: self.unread is not None)
    @rule()
    def lose(self) -> None:
        self.intake.lost([KEY])
        self.unread = None
        self.turn()

    @invariant()
    def what_is_committed_was_accepted(self) -> None:
        assert done_by(self.committed) <= self.accepted

    @invariant()
    def what_was_committed_does_not_come_again(self) -> None:
        assert not self.again

    @invariant()
    def no_more_than_prefetch(self) -> None:
        assert len(self.out) <= PREFETCH

    @invariant()
    def what_waits_is_counted(self) -> None:
        """The thread knows how many of those that it has read wait here: else it would stop to read, or never stop."""
        assert self.handed - self.intake._puller._taken == len(self.intake._waiting)

    def teardown(self) -> None:
        async def close() -> None:
            await self.intake.aclose()
            self.intake._puller._consumer.close()
            await self.producer.aclose()

        self.loop.run_until_complete(close())
        self.loop.close()


Partition.TestCase.settings = settings(max_examples=40, stateful_step_count=30)
TestPartition = Partition.TestCase


@asynccontextmanager
async def intake(out: list[Delivery]) -> AsyncIterator[KafkaIntake]:
    """Give a consumer that delivers into a list, for a block."""
    producer = KafkaProducer(NOWHERE, asyncio.get_running_loop(), lambda _: None)
    subscription = Subscription(topic=KEY[0], group="billing", prefetch=PREFETCH)
    made = KafkaIntake(NOWHERE, subscription, out.append, producer, 1)
    yield made
    await made.aclose()
    assert producer.unconfirmed == 0
    made._puller._consumer.close()
    await producer.aclose()


def go(intake: KafkaIntake, how: str) -> None:
    """Let the partition go."""
    if how == "lost":
        intake.lost([KEY])
    else:
        intake.revoke([KEY], Reply())
        intake._give_up()


@pytest.mark.parametrize("how", ["lost", "given up"])
def test_what_is_others_by_now(how: str) -> None:
    """To settle a message whose partition has gone does nothing: who has it now retries or buries it."""

    async def scenario() -> None:
        out: list[Delivery] = []
        async with intake(out) as consumer:
            consumer.assigned([(*KEY, -1001, "")])
            consumer.take([record(offset) for offset in range(3)])
            go(consumer, how)
            accepted, retried, buried = out
            consumer.accept(accepted)
            await consumer.retry(retried, 1.0, attempt=2, reason="failed")
            await consumer.bury(buried, "failed")
            consumer._commits._commit()
            assert consumer._puller._asked == ()
            assert consumer._unsettled == 0

    asyncio.run(scenario())


@pytest.mark.parametrize("how", ["lost", "given up"])
def test_it_comes_back(how: str) -> None:
    """A partition that went and comes back begins where it was committed, whatever was still waiting here."""

    async def scenario() -> None:
        out: list[Delivery] = []
        async with intake(out) as consumer:
            consumer.assigned([(*KEY, -1001, "")])
            consumer.take([record(offset) for offset in range(6)])
            go(consumer, how)
            consumer.assigned([(*KEY, -1001, "")])
            consumer.take([record(offset) for offset in range(6)])
            for at in range(9):
                consumer.accept(out[at])
                await asyncio.sleep(0)
            assert [int(delivery.envelope.body) for delivery in out] == [0, 1, 2, *range(6)]

    asyncio.run(scenario())


def test_no_commit_after_it_has_gone() -> None:
    """What was settled before a partition went is committed with it, and not once more when others have it."""

    async def scenario() -> None:
        out: list[Delivery] = []
        async with intake(out) as consumer:
            consumer.assigned([(*KEY, 7, "hasten 1 1")])
            consumer.take([record(offset) for offset in range(7, 12)])
            assert [int(delivery.envelope.body) for delivery in out] == [7, 9, 10]
            consumer.accept(out[0])
            consumer.accept(out[1])
            reply = Reply()
            consumer.revoke([KEY], reply)
            assert not reply.wait(0.0)
            reply.is_late = False
            consumer.accept(out[2])
            assert reply.wait(0.0)
            assert reply.marks == [(*KEY, 11, "")]
            consumer._commits._commit()
            assert consumer._puller._asked == ()

    asyncio.run(scenario())


@pytest.mark.parametrize("how", ["lost", "given up"])
def test_what_is_held_goes_as_well(how: str) -> None:
    """A message that is not due yet is forgotten with its partition: who has it now delivers it."""

    async def scenario() -> None:
        out: list[Delivery] = []
        async with intake(out) as consumer:
            consumer.assigned([(*KEY, -1001, "")])
            consumer.take([record(0, hasten_not_before=b"%f" % (time.time() + 30.0)), record(1)])
            assert [int(delivery.envelope.body) for delivery in out] == [1]
            assert len(consumer._hold) == 1
            go(consumer, how)
            assert len(consumer._hold) == 0

    asyncio.run(scenario())
