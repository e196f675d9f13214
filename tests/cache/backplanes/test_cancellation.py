"""Those who announce and are cancelled."""

import asyncio

import pytest

from hasten.cache.backplanes._redis_link import Names
from hasten.cache.backplanes.redis import RedisBackplane
from tests.cache.backplanes.conftest import PATIENT, Backplanes, RedisBackplanes
from tests.cache.backplanes.listening import Member, Remembering, joined, keys, timers
from tests.cache.backplanes.servers import RedisServer, Start, free_port
from tests.cache.running import passes, run
from tests.conftest import LoopFactory


def open_batches(member: Member) -> int:
    """Return how many batches a member waits for."""
    return int(member.backplane._announcing.open)  # type: ignore[attr-defined]


@pytest.mark.parametrize("passes", range(6))
def test_one_of_many(backplanes: Backplanes, loop_factory: LoopFactory, passes: int) -> None:
    """Whoever is cancelled, whenever, the others' announcements of the same batch are complete."""

    async def main() -> None:
        async with joined(*backplanes(3)) as members:
            ours = members[0]
            announcing = [asyncio.create_task(ours.backplane.announce(keys(str(number)))) for number in range(9)]
            for _ in range(passes):
                await asyncio.sleep(0)
            for task in announcing[::2]:
                task.cancel()
            results = await asyncio.gather(*announcing, return_exceptions=True)
            assert all(results[1::2])
            assert await ours.backplane.announce(keys("last"))
            for member in members[1:]:
                assert set(member.heard.keys) >= {"1", "3", "5", "7", "last"}
            assert open_batches(ours) == 0

    run(loop_factory, main())


def test_what_was_begun_is_sent(backplanes: Backplanes, loop_factory: LoopFactory) -> None:
    """What somebody announced who was cancelled then is invalid all the same: everybody applies it."""

    async def main() -> None:
        async with joined(*backplanes(2)) as (ours, theirs):
            task = asyncio.create_task(ours.backplane.announce(keys("k")))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await theirs.heard.until(lambda heard: heard.keys == ["k"])

    run(loop_factory, main())


def test_while_a_silent_member_is_waited_for(
    members_of: RedisBackplanes, server: RedisServer, namespace: str, loop_factory: LoopFactory
) -> None:
    """A batch that nobody waits for any more is not kept until a silent member has been waited out."""

    async def main() -> None:
        with server.client() as client:
            client.zadd(Names.of(namespace).members, {"silent": 1})
        before, latest = timers(), asyncio.get_running_loop().time() + 1.03 * PATIENT
        async with joined(*members_of(2, PATIENT)) as (ours, theirs):
            announcing = [asyncio.create_task(ours.backplane.announce(keys(str(number)))) for number in range(5)]
            await theirs.heard.until(lambda heard: len(heard.keys) == 5)
            for task in announcing:
                task.cancel()
            await asyncio.wait(announcing)
            while open_batches(ours):  # Redis's answer may be still to come
                await asyncio.sleep(0)
            assert all(timer in before or timer.when() < latest for timer in timers())

    run(loop_factory, main())


def test_while_it_joins(members_of: RedisBackplanes, loop_factory: LoopFactory) -> None:
    """One that waits for the first connection and is cancelled takes it from nobody."""

    async def main() -> None:
        (backplane,) = members_of(1)
        try:
            await backplane.start(Remembering())
            first, second = (asyncio.create_task(backplane.announce(keys(key))) for key in "ab")
            await asyncio.sleep(0)
            first.cancel()
            assert await second
            assert first.cancelled()
        finally:
            await backplane.aclose()

    run(loop_factory, main())


def test_of_the_close(members_of: RedisBackplanes, server: RedisServer, loop_factory: LoopFactory) -> None:
    """A close that is cancelled while Redis stands still leaves no task behind."""

    async def main() -> None:
        async with joined(*members_of(1, PATIENT)) as (ours,):
            server.freeze()
            closing = asyncio.create_task(ours.backplane.aclose())
            for _ in range(5):
                await asyncio.sleep(0)
            closing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await closing
            assert asyncio.all_tasks() == {asyncio.current_task()}

    try:
        run(loop_factory, main())
    finally:
        server.thaw()


def test_of_a_question_to_a_sentinel(start: Start, namespace: str, loop_factory: LoopFactory) -> None:
    """A close ends, whatever step of joining it comes into; some of redis-py's keep a cancellation to themselves."""
    sentinel = start("--sentinel", settings=f"sentinel monitor shop 127.0.0.1 {free_port()} 1\n")  # nobody is there

    async def main() -> None:
        for count in range(100):
            backplane = RedisBackplane(f"redis+sentinel://127.0.0.1:{sentinel.port}/shop", namespace)
            await backplane.start(Remembering())
            await passes(count % 50)
            await backplane.aclose()
            assert asyncio.all_tasks() == {asyncio.current_task()}

    run(loop_factory, main())
