"""Who is to blame when a block is cancelled: its deadline, or somebody else."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from random import Random
from time import monotonic
from typing import Any

import pytest

from hasten._core.ambient import AMBIENT, Carried
from hasten.resilience import DeadlineExceeded, deadline, deadline_at
from hasten.resilience._expiry import expiry_of
from tests.conftest import LoopFactory

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture
def run(loop_factory: LoopFactory) -> Iterator[Run]:
    """Run a coroutine on a loop of its own."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        yield runner.run


def this_task() -> "asyncio.Task[Any]":
    task = asyncio.current_task()
    assert task is not None
    return task


async def never() -> None:
    """Wait for what does not come."""
    await asyncio.Event().wait()


def test_foreign_cancellation_passes(run: Run) -> None:
    """A task that is cancelled from elsewhere within its deadline ends as cancelled."""

    async def block(inside: asyncio.Event) -> None:
        async with deadline(60):
            inside.set()
            await never()

    async def main() -> None:
        inside = asyncio.Event()
        task = asyncio.create_task(block(inside))
        await inside.wait()
        task.cancel("by the test")
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()
        assert not expiry_of(asyncio.get_running_loop()).watched

    run(main())


def test_foreign_cancellation_wins(run: Run) -> None:
    """When both cancel the task, it is cancelled: whoever asked for it must see that."""

    async def block() -> None:
        try:
            async with deadline(0.05):
                try:
                    await never()
                except asyncio.CancelledError:
                    this_task().cancel()
                    raise
        finally:
            assert this_task().cancelling() == 1
            assert AMBIENT.get() is None

    async def main() -> None:
        task = asyncio.create_task(block())
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())


def test_earlier_cancellation_does_not_count(run: Run) -> None:
    """A cancellation that the task got over before the block began does not hide the deadline."""

    async def block() -> None:
        this_task().cancel()
        with pytest.raises(asyncio.CancelledError):
            await never()
        with pytest.raises(DeadlineExceeded):
            async with deadline(0.05):
                await never()
        assert this_task().cancelling() == 1

    async def main() -> None:
        await asyncio.create_task(block())

    run(main())


def test_own_error_passes(run: Run) -> None:
    """An error that the block makes of its cancellation passes as it is, and the task is not left half cancelled."""

    async def lookup() -> None:
        try:
            await never()
        except asyncio.CancelledError:
            raise LookupError from None

    async def main() -> None:
        with pytest.raises(LookupError):
            async with deadline(0.05):
                await lookup()
        assert not this_task().cancelling()

    run(main())


def test_ignored_expiry(run: Run) -> None:
    """A block that goes on after its cancellation ends by itself, and what follows is not cancelled."""

    async def main() -> None:
        async with deadline(0.05):
            with pytest.raises(asyncio.CancelledError):
                await never()
            with pytest.raises(DeadlineExceeded):
                async with deadline(60):
                    pytest.fail("begun after the deadline")
        assert not this_task().cancelling()
        async with deadline(60):
            await asyncio.sleep(0)

    run(main())


def test_the_narrower_block_raises(run: Run) -> None:
    """Of two blocks in a task the one whose deadline it was raises; a fallback around a longer inner one is not run."""

    async def with_fallback() -> None:
        try:
            async with deadline(60):
                await never()
        except DeadlineExceeded:
            pytest.fail("the inner deadline was not reached")

    async def main() -> None:
        with pytest.raises(DeadlineExceeded):
            async with deadline(0.05):
                await with_fallback()
        async with deadline(60):
            with pytest.raises(DeadlineExceeded):
                async with deadline(0.05):
                    await never()
            assert not this_task().cancelling()

    run(main())


def test_two_at_once(run: Run) -> None:
    """Of two blocks that expire in one sweep the outer one raises, and nothing of the cancellations is left."""

    async def both() -> None:
        outer = deadline(0.05)
        async with outer:
            with pytest.raises(asyncio.CancelledError) as caught:
                async with deadline_at(outer.deadline - 1e-9):
                    await never()
            raise caught.value

    async def main() -> None:
        with pytest.raises(DeadlineExceeded):
            await both()
        assert not this_task().cancelling()
        assert not expiry_of(asyncio.get_running_loop()).watched

    run(main())


def test_server_and_block_at_once(run: Run) -> None:
    """A handler whose server cancels it by the caller's deadline, as the block does, ends one way or the other."""

    async def handler() -> None:
        AMBIENT.set(Carried(monotonic() + 0.002, ""))
        async with deadline(60):
            await never()

    async def main() -> None:
        task = asyncio.create_task(handler())
        asyncio.get_running_loop().call_later(0.002, task.cancel)
        with pytest.raises((asyncio.CancelledError, DeadlineExceeded)):
            await task

    run(main())


def test_children_end_with_the_block(run: Run) -> None:
    """Tasks that are awaited in the block, by a group or a gather, end with it."""

    async def main() -> None:
        children: list[asyncio.Task[None]] = []
        with pytest.raises(DeadlineExceeded):
            async with deadline(0.002), asyncio.TaskGroup() as group:
                children += [group.create_task(never()) for _ in range(3)]
        children += [asyncio.create_task(never()) for _ in range(3)]
        with pytest.raises(DeadlineExceeded):
            async with deadline(0.002):
                await asyncio.gather(*children[3:])
        assert all(child.cancelled() for child in children)

    run(main())


def test_a_thousand_random_cancellations(run: Run) -> None:
    """However a thousand blocks end, each ends in one way and none is watched any longer."""
    random = Random(5)

    async def block(seconds: float, done: asyncio.Event) -> str:
        try:
            async with deadline(60), deadline(seconds):
                await done.wait()
        except DeadlineExceeded:
            return "deadline"
        return "done"

    async def main() -> None:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        tasks = []
        for _ in range(1000):
            done = asyncio.Event()
            task = asyncio.create_task(block(random.choice([0.001, 0.005, 0.01, 30.0]), done))
            loop.call_later(random.uniform(0, 0.015), task.cancel if random.random() < 0.5 else done.set)
            tasks.append(task)
        loop.call_later(0.02, ended.set)
        await ended.wait()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        kinds = {"cancelled" if isinstance(result, asyncio.CancelledError) else result for result in results}
        assert kinds == {"cancelled", "deadline", "done"}
        assert all(task.cancelling() == task.cancelled() for task in tasks)
        assert not expiry_of(loop).watched
        assert len(asyncio.all_tasks()) == 1

    run(main())
