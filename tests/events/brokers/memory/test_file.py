"""What a file keeps when its broker is closed and opened again."""

import asyncio
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from hasten.events import Bus, Envelope, PublishTimeout, RetryPolicy, Subscription
from hasten.events._broker import Backlog
from hasten.events.brokers._memory_file import packed, unpacked
from hasten.events.brokers.memory import MemoryBroker
from tests.events.brokers.adapter import LONGEST, OrderPaid, run
from tests.events.brokers.memory.consumer import GROUP, TOPIC, Reader, message, opened, publish


def test_all_is_kept(tmp_path: Path) -> None:
    """Groups, messages, retries, delays, dead letters and counts are there again, in their order."""

    async def scenario() -> None:
        first = await opened(tmp_path / "events.db")
        reader = await Reader().subscribe(first, prefetch=6)
        await publish(first, *"abcdefgh")
        await publish(first, "later", delay=3600.0)
        await reader.has(6)
        a, b, c, d, *_ = reader.got
        reader.intake.accept(a)
        await reader.intake.bury(b, "no good")
        await reader.intake.retry(c, 3600.0, attempt=2, reason="try later")
        await reader.intake.retry(d, 0.0, attempt=3, reason="try now")
        await reader.has(9)  # d twice, and none that is due in an hour
        await reader.intake.aclose()
        await first.aclose()

        second = await opened(tmp_path / "events.db")
        assert await second.backlog(TOPIC, GROUP) == Backlog(7, 1)
        (dead,) = await second.dead_letters(TOPIC, GROUP, 10)
        assert (dead.id, dead.reason) == ("b", "no good")
        again = await Reader().subscribe(second)
        assert await second.replay(TOPIC, GROUP, lambda _: True, 10) == 1
        await again.has(6)
        # d was tried again behind the others, and stands in its old place
        assert [(each.envelope.id, each.returned, each.envelope.attempt) for each in again.got] == [
            ("d", 1, 3),
            ("e", 1, 1),
            ("f", 1, 1),
            ("g", 1, 1),
            ("h", 1, 1),
            ("b", 0, 1),
        ]
        await again.intake.aclose()
        await second.aclose()
        third = await opened(tmp_path / "events.db")
        assert await third.backlog(TOPIC, GROUP) == Backlog(8, 0)
        await third.aclose()

    run(scenario())


def test_an_operator_needs_no_consumer(tmp_path: Path) -> None:
    """Dead letters are looked at and replayed by who has the file and consumes nothing; the next consumer gets them."""

    async def scenario() -> None:
        first = await opened(tmp_path / "events.db")
        reader = await Reader().subscribe(first)
        await publish(first, *"abc")
        await reader.has(3)
        for each in reader.got:
            await reader.intake.bury(each, f"no good: {each.envelope.id}")
        await reader.intake.aclose()
        await first.aclose()
        second = await opened(tmp_path / "events.db")
        assert [dead.reason[-1] for dead in await second.dead_letters(TOPIC, GROUP, 2)] == ["a", "b"]
        assert await second.replay(TOPIC, GROUP, lambda each: each.id != "b", 10) == 2
        await second.aclose()
        third = await opened(tmp_path / "events.db")
        assert await third.backlog(TOPIC, GROUP) == Backlog(2, 1)
        again = await Reader().subscribe(third)
        await again.has(2)
        assert [(each.envelope.id, each.envelope.attempt, each.envelope.reason) for each in again.got] == [
            ("a", 1, ""),
            ("c", 1, ""),
        ]
        await third.aclose()

    run(scenario())


def test_what_is_due_meanwhile(tmp_path: Path) -> None:
    """A delay and a pause go on while nobody has the file, and what is due by then comes."""

    async def scenario() -> None:
        first = await opened(tmp_path / "events.db")
        reader = await Reader().subscribe(first)
        began = time.time()
        await publish(first, "delayed", delay=0.2)
        await publish(first, "tried")
        await reader.has(1)
        await reader.intake.retry(reader.got[0], 0.2, attempt=2, reason="later")
        await reader.intake.aclose()
        await first.aclose()
        second = await opened(tmp_path / "events.db")
        again = await Reader().subscribe(second)
        await again.has(2)
        assert time.time() - began >= 0.2
        assert {(each.envelope.id, each.envelope.attempt) for each in again.got} == {("delayed", 1), ("tried", 2)}
        assert [each.returned for each in again.got] == [0, 0]
        await second.aclose()

    run(scenario())


def test_counts_as_without_a_file(tmp_path: Path) -> None:
    """A consumer that leaves gives back what it has in its place, counted, with a file as without."""

    async def returned(broker: MemoryBroker) -> list[tuple[str, int]]:
        await broker.start()
        reader = await Reader().subscribe(broker, prefetch=2, ordered=True)
        await publish(broker, *"abcd")
        for _ in range(2):
            await reader.has(2)
            await reader.intake.aclose()
            reader = await Reader().subscribe(broker, prefetch=2, ordered=True)
        await reader.has(2)
        reader.intake.accept(reader.got[0])
        reader.intake.accept(reader.got[1])
        await reader.has(4)
        await reader.intake.aclose()
        await broker.aclose()
        return [(each.envelope.id, each.returned) for each in reader.got]

    async def scenario() -> None:
        assert await returned(MemoryBroker()) == [("a", 2), ("b", 2), ("c", 0), ("d", 0)]
        assert await returned(MemoryBroker(tmp_path / "events.db")) == [("a", 2), ("b", 2), ("c", 0), ("d", 0)]

    run(scenario())


def test_more_than_may_wait(tmp_path: Path) -> None:
    """What waits in a file comes, however much it is; who publishes more waits until there is room."""

    async def scenario() -> None:
        names = [f"m{number}" for number in range(50)]
        first = await opened(tmp_path / "events.db")
        await (await Reader().subscribe(first)).intake.aclose()
        await publish(first, *names)
        await first.aclose()
        second = await opened(tmp_path / "events.db", most_waiting=10)
        with pytest.raises(PublishTimeout, match="50 messages wait in orders billing"):
            await second.publish(message("more"), deadline=time.monotonic() + 0.01)
        waits = asyncio.create_task(publish(second, "more"))
        reader = await Reader().subscribe(second)
        await waits  # until enough of them are delivered
        await reader.has(51)
        assert reader.ids == [*names, "more"]
        await reader.intake.aclose()
        await second.aclose()

    run(scenario())


def test_those_on_their_way_count(tmp_path: Path) -> None:
    """Messages that are being written take room, too: as many publishers as there are fill no group."""

    async def scenario() -> None:
        broker = await opened(tmp_path / "events.db", most_waiting=10)
        await (await Reader().subscribe(broker)).intake.aclose()
        deadline = time.monotonic() + 0.5
        answers = await asyncio.gather(
            *(broker.publish(message(f"m{number}"), deadline=deadline) for number in range(25)), return_exceptions=True
        )
        assert sum(isinstance(each, PublishTimeout) for each in answers) == 15
        assert (await broker.backlog(TOPIC, GROUP)).waiting == 10
        await broker.aclose()

    run(scenario())


TEXT = some.text(some.characters(codec="utf-8"), max_size=20)


@given(
    some.builds(
        Envelope,
        topic=some.just(TOPIC),
        body=some.binary(max_size=200),
        content_type=TEXT,
        id=TEXT,
        key=TEXT,
        origin=TEXT,
        time=some.floats(allow_nan=False),
        deadline=some.floats(allow_nan=False),
        traceparent=TEXT,
        attempt=some.integers(1, 1000),
        headers=some.dictionaries(TEXT, TEXT, max_size=4),
        reason=TEXT,
    )
)
def test_envelopes_are_kept(envelope: Envelope) -> None:
    """All of an envelope comes back."""
    assert unpacked(TOPIC, packed(envelope), envelope.attempt, envelope.reason) == envelope


def test_the_file_stays_small(tmp_path: Path) -> None:
    """Its size is that of the backlog, not of all that went through; after a long backlog it shrinks when opened."""

    async def scenario() -> None:
        file, body = tmp_path / "events.db", b"x" * 2000
        broker = await opened(file)
        reader = await Reader().subscribe(broker)
        for _ in range(40):
            await put(broker, body, 100)
            await reader.has(100)
            for each in reader.got:
                reader.intake.accept(each)
            reader.got.clear()
        await reader.intake.aclose()
        await broker.aclose()
        assert file.stat().st_size < 1_000_000  # 8 MB went through
        broker = await opened(file)
        await put(broker, body, 4000)
        reader = await Reader().subscribe(broker, prefetch=4000)
        await reader.has(4000)
        for each in reader.got:
            reader.intake.accept(each)
        await reader.intake.aclose()
        await broker.aclose()
        assert file.stat().st_size > 8_000_000
        await (await opened(file)).aclose()
        broker = await opened(file)
        await broker.aclose()
        assert file.stat().st_size < 100_000

    async def put(broker: MemoryBroker, body: bytes, many: int) -> None:
        envelope = Envelope(topic=TOPIC, body=body, content_type="application/octet-stream", id="same")
        deadline = time.monotonic() + LONGEST
        await asyncio.gather(*(broker.publish(envelope, deadline=deadline) for _ in range(many)))

    run(scenario())


def test_many_groups(tmp_path: Path) -> None:
    """A message for several groups is one answer, and each group keeps its own copy."""

    async def scenario() -> None:
        broker = await opened(tmp_path / "events.db")
        for name in ("billing", "mail", "stock"):
            intake = await broker.subscribe(Subscription(topic=TOPIC, group=name, prefetch=1), lambda _: None)
            await intake.aclose()
        await publish(broker, *(f"m{number}" for number in range(300)))
        await broker.aclose()
        broker = await opened(tmp_path / "events.db")
        for name in ("billing", "mail", "stock"):
            assert (await broker.backlog(TOPIC, name)).waiting == 300
        await broker.aclose()

    run(scenario())


def test_retries_over_a_restart(tmp_path: Path) -> None:
    """Attempts are counted over restarts: a poison message is a dead letter after 1 + 2 of them."""

    async def scenario() -> None:
        attempts, url = list[int](), f"memory:///{tmp_path}/events.db"
        for _ in range(3):
            bus = Bus(url)
            failed = asyncio.Event()

            @bus.subscribe(TOPIC, group=GROUP, retry=RetryPolicy(2, first=0.05, jitter=0.0))
            async def fail(order: OrderPaid, failed: asyncio.Event = failed) -> None:
                failed.set()
                raise ValueError("poison")

            async with bus:
                if not attempts:
                    await bus.publish(TOPIC, OrderPaid(1))
                await failed.wait()
            attempts.append(1)
        broker = await opened(tmp_path / "events.db")
        assert await broker.backlog(TOPIC, GROUP) == Backlog(0, 1)
        await broker.aclose()

    run(scenario())
