"""Closing a background that is cancelled, and tasks that do not end when they are told to."""

import asyncio

import pytest

from hasten.concurrency import Background
from tests.conftest import LoopFactory


def test_closing_waits_for_cancelled_tasks(loop_factory: LoopFactory) -> None:
    """What is cancelled when the time is over has ended when closing has."""

    async def main() -> None:
        ended = []

        async def slow_to_end() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                for _ in range(3):
                    await asyncio.sleep(0)
                ended.append(True)

        background = Background()
        background.keep(slow_to_end())
        await asyncio.sleep(0)
        await background.aclose(0.0)
        assert ended == [True]

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())


def test_closing_that_is_cancelled(loop_factory: LoopFactory) -> None:
    """The tasks are cancelled at once, and the cancellation passes."""

    async def main() -> None:
        background = Background()
        task = background.keep(asyncio.Event().wait())
        closing = asyncio.create_task(background.aclose())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        await asyncio.wait((task,))
        assert task.cancelled()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())


def test_the_callers_cancellation_does_not_reach_it(loop_factory: LoopFactory) -> None:
    """A request that is cancelled does not end what it has begun in the background."""

    async def main() -> None:
        gate = asyncio.Event()
        background = Background()

        async def request() -> None:
            background.keep(gate.wait())
            await asyncio.Event().wait()

        task = asyncio.create_task(request())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert background.statistics().running == 1
        gate.set()
        await background.aclose()
        assert background.statistics().done == 1

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())
