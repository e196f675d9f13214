"""Batches, messages and the patient timeout, without a server."""

import asyncio
from contextlib import suppress
from time import monotonic

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten.cache._backplane import Invalidation
from hasten.cache.backplanes._announcing import MOST_IN_A_BATCH, Announcing
from hasten.cache.backplanes._messages import (
    Acknowledgement,
    Announcement,
    UnreadableMessage,
    encode,
    message_to_all,
    message_to_one,
)
from hasten.cache.backplanes._patience import Patience
from tests.cache.backplanes.listening import keys
from tests.cache.running import passes, run
from tests.conftest import LoopFactory


def test_acknowledged_before_it_is_known_to_be_sent(loop_factory: LoopFactory) -> None:
    """An acknowledgement may overtake the server's answer to who announced."""

    async def main() -> None:
        announcing = Announcing(90.0)
        task = asyncio.create_task(announcing.add(keys("k")))
        await passes(1)
        (batch,) = announcing.take_all()
        announcing.acknowledged("a", [batch.number])
        announcing.acknowledged("b", [batch.number, 77])
        await passes()
        assert not task.done()
        announcing.sent(batch, ["a", "b"])
        assert await task
        assert announcing.open == 0

    run(loop_factory, main())


def test_departed(loop_factory: LoopFactory) -> None:
    """Nobody waits for a member that has left, whether it is known yet or not that it was one."""

    async def main() -> None:
        announcing = Announcing(90.0)
        first = asyncio.create_task(announcing.add(keys("k")))
        await passes(1)
        (batch,) = announcing.take_all()
        announcing.sent(batch, ["a", "b"])
        second = asyncio.create_task(announcing.add(keys("l")))
        await passes(1)
        (later,) = announcing.take_all()
        announcing.departed("a")
        announcing.acknowledged("b", [batch.number, later.number])
        announcing.sent(later, ["a", "b"])
        assert all(await asyncio.gather(first, second))
        assert announcing.open == 0

    run(loop_factory, main())


def test_strangers_are_waited_out(loop_factory: LoopFactory) -> None:
    """When there may be members that are not known, acknowledgements of all others are not enough."""

    async def main() -> None:
        announcing = Announcing(0.05)
        task = asyncio.create_task(announcing.add(keys("k")))
        await passes(1)
        (batch,) = announcing.take_all()
        began = monotonic()
        announcing.sent(batch, ["a"], strangers=True)
        announcing.acknowledged("a", [batch.number])
        assert await task
        assert monotonic() - began >= 0.05

    run(loop_factory, main())


def test_batches(loop_factory: LoopFactory) -> None:
    """What is announced together is one batch up to a size, each key and each version once in it."""

    async def main() -> None:
        announcing = Announcing(90.0)
        one = Invalidation(("a", "b"), (("t", 1),))
        other = Invalidation(("b", "c"), (("t", 1), ("t", 2)))
        both = [one, other]
        tasks = [asyncio.create_task(announcing.add(both[number % 2])) for number in range(MOST_IN_A_BATCH + 2)]
        await passes(1)
        batches = announcing.take_all()
        assert [batch.invalidation() for batch in batches] == [Invalidation(("a", "b", "c"), (("t", 1), ("t", 2)))] * 2
        announcing.fail(batches[1:])
        announcing.sent(batches[0], [])
        results = await asyncio.gather(*tasks)
        assert results == [True] * MOST_IN_A_BATCH + [False] * 2
        assert announcing.open == 0

    run(loop_factory, main())


_texts = st.text(max_size=20)
_names = st.lists(_texts, max_size=5).map(tuple)
_tags = st.lists(st.tuples(_texts, st.integers(0, 2**63)), max_size=5).map(tuple)


@given(_texts, st.integers(0, 2**63), _names, _tags)
def test_announcements_are_read_as_written(
    member: str, number: int, names: tuple[str, ...], tags: tuple[tuple[str, int], ...]
) -> None:
    """Any keys, tags and versions come out as they went in."""
    message = Announcement(member, number, names, tags)
    assert message_to_all(encode(message)) == message


@given(_texts, st.lists(st.integers(0, 2**63), max_size=9).map(tuple))
def test_acknowledgements_are_read_as_written(member: str, numbers: tuple[int, ...]) -> None:
    """Any numbers come out as they went in."""
    message = Acknowledgement(member, numbers)
    assert message_to_one(encode(message)) == message


@given(st.binary(max_size=60))
def test_foreign_bytes(data: bytes) -> None:
    """What is no message raises UnreadableMessage, and nothing else."""
    for read in (message_to_all, message_to_one):
        with suppress(UnreadableMessage):
            read(data)


def test_patience_ends(loop_factory: LoopFactory) -> None:
    """What does not come in time raises TimeoutError."""

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with Patience(0.01):
                await asyncio.Event().wait()

    run(loop_factory, main())


def test_patience_with_a_loop_that_is_late_all_the_time(loop_factory: LoopFactory) -> None:
    """It ends while the loop is still late."""

    async def hold() -> None:
        for _ in range(20):
            until = monotonic() + 0.3
            while monotonic() < until:
                pass
            await asyncio.sleep(0)

    async def main() -> None:
        holding = asyncio.create_task(hold())
        with pytest.raises(TimeoutError):
            async with Patience(0.01):
                await asyncio.Event().wait()
        assert not holding.done()
        holding.cancel()

    run(loop_factory, main())


def test_patience_with_our_own_loop(loop_factory: LoopFactory) -> None:
    """What has come while the loop was held up for longer than the timeout is there."""

    async def ask(server: asyncio.Server) -> None:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        async with Patience(0.05):
            reading = asyncio.create_task(reader.read(1))
            await asyncio.sleep(0)
            until = monotonic() + 0.2
            while monotonic() < until:
                pass
            assert await reading == b"!"
        writer.close()

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await passes(20)
        writer.write(b"!")
        writer.close()

    async def main() -> None:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            await ask(server)

    run(loop_factory, main())
