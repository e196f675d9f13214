"""Whoever cancels `gather` or `map_concurrent`, or one of the calls, finds all of them ended."""

import asyncio
import gc
import random
import weakref
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any

import pytest

from hasten.concurrency import gather, map_concurrent
from tests.conftest import LoopFactory


async def never() -> None:
    """Wait for what does not come."""
    await asyncio.Event().wait()


def test_all_have_ended_when_it_comes_out(loop_factory: LoopFactory) -> None:
    """Those under way are cancelled and waited for, and those that were not begun are closed."""

    async def main() -> None:
        ended: list[int] = []

        async def call(number: int) -> None:
            try:
                await never()
            finally:
                await asyncio.sleep(0)
                ended.append(number)

        last: Any = call(3)
        task = asyncio.create_task(gather(call(1), call(2), last, limit=2))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended == [1, 2]
        assert last.cr_frame is None
        assert len(asyncio.all_tasks()) == 1

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())


def test_cancelled_again_while_it_waits(loop_factory: LoopFactory) -> None:
    """A second cancellation does not let it leave calls behind."""

    async def main() -> None:
        may_end, ended = asyncio.Event(), []

        async def stubborn() -> None:
            try:
                await never()
            finally:
                await may_end.wait()
                ended.append(True)

        task = asyncio.create_task(map_concurrent(lambda _: stubborn(), range(3), limit=3))
        for _ in range(3):
            await asyncio.sleep(0)
            task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(ended) == 3

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())


def test_closed_instead_of_cancelled(loop_factory: LoopFactory) -> None:
    """When its coroutine is closed the calls are cancelled, though nobody can wait for them."""

    async def main() -> None:
        gathering = gather(never(), never())
        gathering.send(None)
        (first, second) = asyncio.all_tasks() - {asyncio.current_task()}
        gathering.close()
        await asyncio.wait((first, second))
        assert first.cancelled()
        assert second.cancelled()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())


def test_a_call_that_is_cancelled_from_elsewhere(loop_factory: LoopFactory) -> None:
    """It has no result: as asyncio.gather does, it cancels the whole; a task that was given is cancelled with it."""

    async def main() -> None:
        given, other = asyncio.create_task(never()), asyncio.create_task(never())
        gathering = asyncio.create_task(gather(given, other, never()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        given.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gathering
        assert other.cancelled()
        assert len(asyncio.all_tasks()) == 1

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())


def test_cancellation_wins_over_errors(loop_factory: LoopFactory) -> None:
    """When a call fails and somebody cancels, it is cancelled, with the error in its notes."""

    async def main() -> None:
        may_end = asyncio.Event()

        async def stubborn() -> None:
            try:
                await never()
            finally:
                await may_end.wait()

        async def fails() -> None:
            raise LookupError("gone")

        task = asyncio.create_task(gather(stubborn(), fails()))
        for _ in range(3):
            await asyncio.sleep(0)
        task.cancel()
        may_end.set()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert caught.value.__notes__ == ["another of the calls has failed, too: LookupError: gone"]

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())


@pytest.mark.parametrize("seed", range(10))
def test_random_ends(seed: int, loop_factory: LoopFactory) -> None:
    """However calls end and whoever is cancelled, nothing runs on, and the limit has held."""
    # Over 40 lines because a random end and what it leaves are one story.

    async def main() -> None:
        source, under_way = random.Random(seed), 0

        async def call(kind: float) -> float:
            nonlocal under_way
            under_way += 1
            assert under_way <= 3
            try:
                for _ in range(source.randrange(5)):
                    await asyncio.sleep(0)
                if kind < 0.02:
                    raise LookupError
                return kind
            finally:
                try:
                    if kind < 0.3:
                        await asyncio.sleep(0)
                finally:
                    under_way -= 1

        for _ in range(200):
            kinds = [source.random() for _ in range(source.randrange(20))]
            if source.random() < 0.5:
                whole = asyncio.ensure_future(map_concurrent(call, kinds, limit=3))
            else:
                whole = asyncio.ensure_future(as_list(*map(call, kinds)))
            for _ in range(source.randrange(1, 12)):  # a task that has not begun runs nothing of it
                await asyncio.sleep(0)
            if source.random() < 0.5:
                whole.cancel()
            (outcome,) = await asyncio.gather(whole, return_exceptions=True)
            assert outcome == kinds or isinstance(outcome, LookupError | asyncio.CancelledError)
            assert under_way == 0
            assert len(asyncio.all_tasks()) == 1

    async def as_list(*calls: Awaitable[float]) -> list[float]:
        return list(await gather(*calls, limit=3))

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())


def test_nothing_of_a_failure_is_kept(loop_factory: LoopFactory) -> None:
    """When the error has been dealt with, no collection is needed to free what it held."""

    class Thing:
        pass

    async def main() -> None:
        held: list[weakref.ref[Thing]] = []

        async def fails(thing: Thing) -> None:
            await asyncio.sleep(0)
            raise LookupError

        async def one() -> None:
            thing = Thing()
            held.append(weakref.ref(thing))
            with suppress(LookupError):
                await map_concurrent(fails, [thing] * 3, limit=2)

        await one()
        for _ in range(3):
            await asyncio.sleep(0)
        assert [each() for each in held] == [None]

    gc.disable()
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(main())
    finally:
        gc.enable()
