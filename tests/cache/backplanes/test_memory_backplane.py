"""What a test can do with the backplane in memory."""

import asyncio
from time import monotonic

from hasten.cache.backplanes import memory_backplanes
from tests.cache.backplanes.listening import joined, keys
from tests.cache.running import passes, run
from tests.conftest import LoopFactory

TRUST = 0.2


def test_held_back(loop_factory: LoopFactory) -> None:
    """What is announced to a member that is held waits until it is let through, in order."""

    async def main() -> None:
        ours, theirs = memory_backplanes(2)
        async with joined(ours, theirs) as (_, member):
            theirs.hold()
            announcing = [asyncio.create_task(ours.announce(keys(key))) for key in "ab"]
            await passes()
            assert member.heard.keys == []
            assert not any(task.done() for task in announcing)
            theirs.restore()
            assert await asyncio.gather(*announcing) == [True, True]
            assert member.heard.keys == ["a", "b"]
            assert member.heard.distrusts == 1

    run(loop_factory, main())


def test_held_for_too_long(loop_factory: LoopFactory) -> None:
    """A member that is held is waited for until its trust is over, once; then it applies all and trusts again."""

    async def main() -> None:
        ours, theirs = memory_backplanes(2, trust_seconds=TRUST)
        async with joined(ours, theirs) as (_, member):
            theirs.hold()
            for key in "ab":
                assert await ours.announce(keys(key))
                assert member.heard.trusts[-1] < monotonic()
            assert member.heard.keys == []
            trusts = len(member.heard.trusts)
            theirs.restore()
            assert member.heard.keys == ["a", "b"]
            assert len(member.heard.trusts) == trusts + 1
            assert member.heard.distrusts == 1

    run(loop_factory, main())


def test_cut_off(loop_factory: LoopFactory) -> None:
    """Who is cut off must distrust at once, cannot announce, hears nothing, and is waited out; then it joins again.

    It is not alone: the others go on announcing.
    """

    async def main() -> None:
        ours, theirs = memory_backplanes(2, trust_seconds=TRUST)
        async with joined(ours, theirs) as (_, member):
            theirs.cut_off()
            assert not member.heard.trusting
            assert not await theirs.announce(keys("x"))
            for key in "ab":
                assert await ours.announce(keys(key))
                assert member.heard.trusts[-1] < monotonic()
            assert member.heard.keys == ["x"]
            assert member.heard.alones == []
            theirs.restore()
            await member.heard.until_trusting()
            assert await ours.announce(keys("c"))
            assert member.heard.keys == ["x", "c"]

    run(loop_factory, main())


def test_not_waited_for_twice(loop_factory: LoopFactory) -> None:
    """Once the trust of a member that is held is over, others' announcements do not wait for it."""

    async def main() -> None:
        ours, theirs = memory_backplanes(2, trust_seconds=TRUST)
        async with joined(ours, theirs):
            theirs.hold()
            assert await ours.announce(keys("a"))
            for number in range(100):
                announcing = asyncio.create_task(ours.announce(keys(str(number))))
                await passes(5)
                assert announcing.done()

    run(loop_factory, main())
