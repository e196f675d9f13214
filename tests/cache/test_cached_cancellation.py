"""Cancelling callers of cached functions."""

import asyncio
from typing import Any

import pytest

from hasten.cache._cache import Cache
from hasten.cache._cached import CachedFunction, cached
from hasten.cache._policy import Policy
from tests.cache.running import passes, run
from tests.conftest import LoopFactory


class Source:
    """Has a cached function; each of its loads waits until the test lets it end."""

    def __init__(self) -> None:
        self.loads: list[asyncio.Future[int]] = []
        self.cancelled = 0

        async def load(number: int) -> list[int]:
            future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            self.loads.append(future)
            try:
                return [number, await future]
            except asyncio.CancelledError:
                self.cancelled += 1
                raise

        self.load: CachedFunction[[int], list[int]] = cached(Cache(), Policy(ttl=60.0))(load)


async def cancel(task: "asyncio.Task[Any]") -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_cancelled_leader_makes_a_follower_lead(loop_factory: LoopFactory) -> None:
    """When the caller who loads is cancelled, one of those who wait loads anew, and all others get its value."""

    async def scenario() -> None:
        source = Source()
        leader, *followers = [asyncio.create_task(source.load(7)) for _ in range(4)]
        await passes()
        assert len(source.loads) == 1
        await cancel(leader)
        await passes()
        assert (len(source.loads), source.cancelled) == (2, 1)
        source.loads[1].set_result(1)
        assert await asyncio.gather(*followers) == [[7, 1]] * 3
        assert source.load.peek(7) == [7, 1]

    run(loop_factory, scenario())


def test_a_cancelled_follower_harms_nobody(loop_factory: LoopFactory) -> None:
    """When one who waits is cancelled, the load goes on, and the others get its value."""

    async def scenario() -> None:
        source = Source()
        leader, follower, other = [asyncio.create_task(source.load(7)) for _ in range(3)]
        await passes()
        await cancel(follower)
        source.loads[0].set_result(1)
        assert await leader == await other == [7, 1]
        assert (len(source.loads), source.cancelled) == (1, 0)

    run(loop_factory, scenario())


def test_a_cancelled_caller_leaves_nothing(loop_factory: LoopFactory) -> None:
    """When the only caller is cancelled, nothing is kept, and the next call loads."""

    async def scenario() -> None:
        source = Source()
        caller = asyncio.create_task(source.load(7))
        await passes()
        await cancel(caller)
        assert source.load.peek(7) is None
        again = asyncio.create_task(source.load(7))
        await passes()
        source.loads[1].set_result(2)
        assert await again == [7, 2]

    run(loop_factory, scenario())


def test_a_caller_cancelled_before_it_began(loop_factory: LoopFactory) -> None:
    """A call that is cancelled before it runs loads nothing."""

    async def scenario() -> None:
        source = Source()
        await cancel(asyncio.create_task(source.load(7)))
        assert source.loads == []

    run(loop_factory, scenario())


def test_a_cancelled_refresh_leaves_the_old_value(loop_factory: LoopFactory) -> None:
    """When a refresh is cancelled, what was there before is served on."""

    async def scenario() -> None:
        source = Source()
        first = asyncio.create_task(source.load(7))
        await passes()
        source.loads[0].set_result(1)
        value = await first
        refreshing = asyncio.create_task(source.load.refresh(7))
        await passes()
        assert source.load.peek(7) is value
        await cancel(refreshing)
        assert await source.load(7) is value
        assert len(source.loads) == 2

    run(loop_factory, scenario())


def test_a_timeout_of_one_caller_is_its_own(loop_factory: LoopFactory) -> None:
    """A caller whose time is over gets TimeoutError; the one who waited behind it loads and gets its value."""

    async def scenario() -> None:
        source = Source()

        async def hurried() -> list[int]:
            async with asyncio.timeout(0):
                return await source.load(7)

        first = asyncio.create_task(hurried())
        second = asyncio.create_task(source.load(7))
        with pytest.raises(TimeoutError):
            await first
        await passes()
        source.loads[-1].set_result(5)
        assert await second == [7, 5]

    run(loop_factory, scenario())
