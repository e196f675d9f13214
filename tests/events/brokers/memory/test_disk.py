"""What is promised of the disk, and what happens when it is full or slow."""

import asyncio
import threading
import time
from pathlib import Path

import pytest

from hasten.events import PublishTimeout
from hasten.events._errors import BrokerError
from hasten.events.brokers._memory_file import Failures, MessageFile, Work, packed
from hasten.events.brokers._memory_group import State
from hasten.events.brokers._memory_journal import MOST_BYTES, Journal
from tests.events.brokers.adapter import LONGEST, run
from tests.events.brokers.memory.consumer import GROUP, TOPIC, Reader, message, opened, publish


class WatchedFile(MessageFile):
    """Notes for each transaction what it had, and whether its commit waited for the disk (2 is FULL)."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.written: list[tuple[int, int]] = []

    def write(self, work: Work) -> Failures:
        failures = super().write(work)
        assert self._connection is not None
        (synced,) = self._connection.execute("PRAGMA synchronous").fetchone()
        self.written.append((len(work.added), synced))
        return failures


def test_what_is_confirmed_is_synced(tmp_path: Path) -> None:
    """A commit with new messages waits for the disk; one with settlements alone does not, and they follow."""

    async def scenario() -> None:
        file = WatchedFile(tmp_path / "events.db")
        journal = Journal(file)
        await journal.open()
        group = await journal.join(TOPIC, GROUP)
        for _ in range(2):
            await journal.add(message("a"), [group], 0.0, time.monotonic() + LONGEST)
            journal.remove(group.waiting.popleft())
            await asyncio.sleep(0)
        await journal.aclose(0)
        assert [synced == 2 for added, synced in file.written if added] == [True, True]
        assert [synced == 2 for added, synced in file.written if not added][-1:] == [False]

    run(scenario())


# ---- a disk that is full, or slow, messages that are too large


def test_new_messages_have_no_room(tmp_path: Path) -> None:
    """Messages that do not fit keep nobody from noting what was handled, which makes room for them."""
    file = MessageFile(tmp_path / "events.db")
    file.open()
    group = file.add_group(TOPIC, GROUP)
    assert file._connection is not None
    file._connection.execute("PRAGMA max_page_count = 40")
    large = message("large")
    large.body = bytes(5000)
    work, number = Work(), 0
    while not file.write(work).added:
        number += 1
        work = Work()
        work.added.append((number, group, State.IN_LINE, None, 1, "", packed(large)))
    work.removed = list(range(1, number))
    assert file.write(work) == Failures(added="database or disk is full")
    work.removed = []
    assert file.write(work) == Failures()
    file.close()
    (kept,) = file.open()
    assert [row for row, *_ in kept.messages] == [number]
    file.close()


class SlowFile(MessageFile):
    """A file on a disk that answers when it is let."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.may_write = threading.Event()

    def write(self, work: Work) -> Failures:
        self.may_write.wait(LONGEST)
        return super().write(work)


def test_a_disk_that_does_not_answer(tmp_path: Path) -> None:
    """Publishing ends at its deadline, each message at its own; what was taken all the same is there afterwards."""

    async def scenario() -> None:
        file = SlowFile(tmp_path / "events.db")
        journal = Journal(file)
        await journal.open()
        group = await journal.join(TOPIC, GROUP)
        now = time.monotonic()
        first = journal.add(message("a"), [group], 0.0, now + 0.05)
        await asyncio.sleep(0)  # so that it is at the writer's
        second = journal.add(message("b"), [group], 0.0, now + 0.02)
        third = journal.add(message("c"), [group], 0.0, now + LONGEST)
        for late in (second, first):
            with pytest.raises(PublishTimeout, match="not on disk yet"):
                await late
        assert not third.done()
        with pytest.raises(PublishTimeout, match="deadline is over"):
            journal.add(message("d"), [group], 0.0, now)
        file.may_write.set()
        await third
        assert [each.envelope.id for each in group.waiting] == ["a", "b", "c"]
        await journal.aclose(3)

    run(scenario())


def test_cancelled(tmp_path: Path) -> None:
    """Who publishes may be cancelled: the others, and the file, go on."""

    async def scenario() -> None:
        broker = await opened(tmp_path / "events.db")
        reader = await Reader().subscribe(broker)
        cancelled = asyncio.create_task(publish(broker, "a"))
        await asyncio.sleep(0)
        other = asyncio.create_task(publish(broker, "b"))
        await asyncio.sleep(0)
        cancelled.cancel()
        await other
        await reader.has(2)
        assert sorted(reader.ids) == ["a", "b"]
        await broker.aclose()

    run(scenario())


def test_what_cannot_be_kept(tmp_path: Path) -> None:
    """A message that is too large, or no text, is refused alone."""

    async def scenario() -> None:
        broker = await opened(tmp_path / "events.db")
        reader = await Reader().subscribe(broker)
        deadline = time.monotonic() + LONGEST
        wrong = message("wrong")
        wrong.body = bytes(MOST_BYTES)
        with pytest.raises(BrokerError, match=f"{MOST_BYTES} at most"):
            await broker.publish(wrong, deadline=deadline)
        wrong.body, wrong.key = b"", "\ud800"
        with pytest.raises(BrokerError, match="wrong cannot be kept"):
            await broker.publish(wrong, deadline=deadline)
        await publish(broker, "right")
        await reader.has(1)
        await broker.aclose()

    run(scenario())
