"""`gather` and `map_concurrent`: a limit on what is under way, results in order, and nothing left when one fails."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextvars import ContextVar
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten._core.errors import ConfigurationError
from hasten.concurrency import gather, map_concurrent
from hasten.resilience import DeadlineExceeded, deadline
from tests.conftest import LoopFactory

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture
def run(loop_factory: LoopFactory) -> Iterator[Run]:
    """Run a coroutine on a loop of its own."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        yield runner.run


async def never() -> None:
    """Wait for what does not come."""
    await asyncio.Event().wait()


async def value(result: int) -> int:
    await asyncio.sleep(0)
    return result


async def failing(error: BaseException) -> int:
    await asyncio.sleep(0)
    raise error


class Crowd:
    """Counts how many calls are under way, and how many have been."""

    def __init__(self) -> None:
        self.now = self.most = self.begun = 0

    async def call(self, turns: int) -> int:
        """Be under way for some turns of the loop."""
        self.now += 1
        self.begun += 1
        self.most = max(self.most, self.now)
        try:
            for _ in range(turns):
                await asyncio.sleep(0)
        finally:
            self.now -= 1
        return turns


def test_results_are_in_order(run: Run) -> None:
    """Whatever ends first: coroutines, tasks and futures, the same one twice, and none at all."""

    async def main() -> None:
        task = asyncio.create_task(value(2))
        future = asyncio.get_running_loop().create_future()
        future.set_result(4)
        assert await gather(value(1), task, value(3), future, task) == (1, 2, 3, 4, 2)
        assert await gather() == ()
        assert await map_concurrent(value, range(5), limit=2) == [0, 1, 2, 3, 4]
        assert await map_concurrent(value, (), limit=2) == []

    run(main())


@given(st.lists(st.integers(1, 6), max_size=40), st.integers(1, 10))
def test_at_most_so_many_are_under_way(turns: list[int], limit: int) -> None:
    """For whatever calls and limit, the limit is reached where it can be, and never passed."""

    async def main() -> None:
        crowd = Crowd()
        assert await map_concurrent(crowd.call, turns, limit=limit) == turns
        assert crowd.most == min(limit, len(turns))
        crowd = Crowd()
        assert list(await gather(*map(crowd.call, turns), limit=limit)) == turns
        assert crowd.most <= limit

    asyncio.run(main())


def test_items_are_taken_as_there_is_room(run: Run) -> None:
    """An iterable without an end makes no more tasks than the limit."""

    async def main() -> None:
        taken = 0

        def numbers() -> Iterator[int]:
            nonlocal taken
            while True:
                taken += 1
                yield taken

        async def fail_at_the_hundredth(number: int) -> None:
            await asyncio.sleep(0)
            assert len(asyncio.all_tasks()) <= 5
            if number == 100:
                raise LookupError

        with pytest.raises(LookupError):
            await map_concurrent(fail_at_the_hundredth, numbers(), limit=4)
        assert 100 <= taken <= 103

    run(main())


def test_the_first_error_ends_all(run: Run) -> None:
    """It is raised itself, the others are cancelled and have ended by then, and what had not begun never does."""

    async def main() -> None:
        ended, error = [], LookupError("7")

        async def slow_to_end() -> None:
            try:
                await never()
            finally:
                for _ in range(3):
                    await asyncio.sleep(0)
                ended.append(True)

        not_begun: Any = value(9)
        with pytest.raises(LookupError) as caught:
            await gather(slow_to_end(), slow_to_end(), failing(error), not_begun, limit=3)
        assert caught.value is error
        assert ended == [True, True]
        assert not_begun.cr_frame is None  # closed
        assert len(asyncio.all_tasks()) == 1

    run(main())


def test_other_errors_stand_in_the_notes(run: Run) -> None:
    """Up to three of them, so that none is lost without a trace, and a thousand are not in every log."""

    async def main() -> None:
        async def fails_when_cancelled() -> None:
            try:
                await never()
            finally:
                raise ValueError("while ending")

        with pytest.raises(LookupError) as caught:
            await gather(*(fails_when_cancelled() for _ in range(9)), failing(LookupError()))
        assert caught.value.__notes__ == ["another of the calls has failed, too: ValueError: while ending"] * 3

    run(main())


def test_an_error_of_the_function_itself(run: Run) -> None:
    """A function that raises before it returns a coroutine, and an iterable that raises, end all, too."""

    async def main() -> None:
        crowd = Crowd()

        def broken(number: int) -> Awaitable[int]:
            if number == 3:
                raise LookupError
            return crowd.call(10)

        with pytest.raises(LookupError):
            await map_concurrent(broken, range(9), limit=5)
        with pytest.raises(ZeroDivisionError):
            await map_concurrent(crowd.call, (1 // (2 - number) for number in range(9)), limit=2)
        with pytest.raises(TypeError):
            await map_concurrent(int, range(9), limit=2)  # type: ignore[arg-type]
        assert crowd.now == 0
        assert len(asyncio.all_tasks()) == 1

    run(main())


def test_calls_do_not_share_context(run: Run) -> None:
    """What one call sets in a context variable no other one sees, nor does the caller."""
    tenant: ContextVar[str] = ContextVar("tenant", default="nobody")

    async def call(number: int) -> str:
        before = tenant.get()
        tenant.set(str(number))
        await asyncio.sleep(0)
        return before

    async def main() -> None:
        tenant.set("caller")
        assert await map_concurrent(call, range(6), limit=2) == ["caller"] * 6
        assert tenant.get() == "caller"

    run(main())


def test_a_deadline_ends_all(run: Run) -> None:
    """Its own timeout or the ambient one, whichever is earlier; nothing runs on behind it."""

    async def main() -> None:
        crowd = Crowd()
        with pytest.raises(DeadlineExceeded):
            await gather(never(), crowd.call(1), timeout=0.01)
        with pytest.raises(DeadlineExceeded):
            async with deadline(0.01):
                await map_concurrent(lambda _: never(), range(9), limit=3, timeout=60)
        assert len(asyncio.all_tasks()) == 1

    run(main())


def test_no_time_is_left(run: Run) -> None:
    """Where the deadline has passed no call begins, and none is left behind that was never awaited."""

    async def main() -> None:
        crowd, task = Crowd(), asyncio.create_task(never())
        with pytest.raises(DeadlineExceeded):
            await gather(crowd.call(1), task, crowd.call(2), timeout=0.0)
        with pytest.raises(DeadlineExceeded):
            await map_concurrent(crowd.call, range(3), limit=1, timeout=-1.0)
        await asyncio.wait((task,))
        assert crowd.begun == 0
        assert task.cancelled()

    run(main())


def test_what_is_no_limit(run: Run) -> None:
    """A limit below 1 is refused in one line, and coroutines are closed."""

    async def main() -> None:
        with pytest.raises(ConfigurationError, match=r"gather\(limit=0\): must be at least 1"):
            await gather(value(1), limit=0)
        with pytest.raises(ConfigurationError, match=r"map_concurrent\(limit=-1\)"):
            await map_concurrent(value, range(3), limit=-1)

    run(main())
