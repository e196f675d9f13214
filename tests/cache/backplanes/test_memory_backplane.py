"""What a test can do with the backplane in memory."""

import asyncio
from time import monotonic

from hasten.cache.backplanes import memory_backplanes
from tests.cache.backplanes.listening import joined, keys
from tests.cache.running import passes, run
from tests.conftest import LoopFactory

TRUST, UNTRUSTED = 0.2, 0.1


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
    """A member that is held is waited out; its trust has ended by then, and it has been told."""

    async def main() -> None:
        ours, theirs = memory_backplanes(2, trust_seconds=TRUST, untrusted_seconds=UNTRUSTED)
        async with joined(ours, theirs) as (_, member):
            theirs.hold()
            began = monotonic()
            assert await ours.announce(keys("a"))
            assert monotonic() - began > TRUST
            assert member.heard.trusts[-1] < monotonic()
            await member.heard.until(lambda heard: not heard.trusting)
            theirs.restore()
            await member.heard.until_trusting()
            assert await ours.announce(keys("b"))
            assert member.heard.keys[-1] == "b"

    run(loop_factory, main())


def test_cut_off(loop_factory: LoopFactory) -> None:
    """Who is cut off must distrust at once, cannot announce, hears nothing, and is waited out; then it joins again."""

    async def main() -> None:
        ours, theirs = memory_backplanes(2, trust_seconds=TRUST, untrusted_seconds=UNTRUSTED)
        async with joined(ours, theirs) as (_, member):
            theirs.cut_off()
            assert not member.heard.trusting
            assert not await theirs.announce(keys("x"))
            began = monotonic()
            assert await ours.announce(keys("a"))
            assert monotonic() - began > TRUST
            assert member.heard.keys == ["x"]
            theirs.restore()
            await member.heard.until_trusting()
            assert await ours.announce(keys("b"))
            assert member.heard.keys == ["x", "b"]

    run(loop_factory, main())
