"""What every backplane does."""

import asyncio
from time import monotonic

from hasten.cache._backplane import Invalidation
from tests.cache.backplanes.conftest import PATIENT, QUICK, Backplanes
from tests.cache.backplanes.listening import Remembering, joined, keys, timers
from tests.cache.running import run
from tests.conftest import LoopFactory


def test_joining(backplanes: Backplanes, loop_factory: LoopFactory) -> None:
    """Who joins is told to forget what it may have missed, then to trust its memory, no longer than the period."""

    async def main() -> None:
        began = monotonic()
        async with joined(*backplanes(1)) as (member,):
            assert [event.told is None for event in member.heard.events] == [True, False]
            (until,) = member.heard.trusts
            assert began < until <= monotonic() + PATIENT

    run(loop_factory, main())


def test_trust_goes_on(backplanes: Backplanes, loop_factory: LoopFactory) -> None:
    """While the backplane stands trust is given again, each time for longer, before it ends."""

    async def main() -> None:
        async with joined(*backplanes(1, QUICK)) as (member,):
            await member.heard.until(lambda heard: len(heard.trusts) > 4)
            trusts = member.heard.trusts
            assert trusts == sorted(set(trusts))
            assert member.heard.distrusts == 1

    run(loop_factory, main())


def test_everybody_has_applied_it(backplanes: Backplanes, loop_factory: LoopFactory) -> None:
    """When an announcement is complete every member has applied it, the announcer too, keys and tags."""

    async def main() -> None:
        async with joined(*backplanes(4)) as members:
            for number, announcer in enumerate(members):
                invalidation = Invalidation((f"a{number}", f"b{number}"), (("news", number + 1), ("café", 7)))
                assert await announcer.backplane.announce(invalidation)
                for member in members:
                    assert member.heard.keys[-2:] == [f"a{number}", f"b{number}"]
                    assert member.heard.tags[-2:] == [("news", number + 1), ("café", 7)]

    run(loop_factory, main())


def test_once_each(backplanes: Backplanes, loop_factory: LoopFactory) -> None:
    """Nobody is told twice: what the announcer has loaded since would be dropped with it."""

    async def main() -> None:
        async with joined(*backplanes(3)) as members:
            for number in range(20):
                assert await members[number % 3].backplane.announce(keys(str(number)))
            for member in members:
                assert member.heard.keys == [str(number) for number in range(20)]

    run(loop_factory, main())


def test_announcer_applies_at_once(backplanes: Backplanes, loop_factory: LoopFactory) -> None:
    """The announcer's own memory has dropped the value before anything is sent."""

    async def main() -> None:
        async with joined(*backplanes(2)) as (ours, theirs):
            announcing = asyncio.create_task(ours.backplane.announce(keys("k")))
            await asyncio.sleep(0)
            assert (ours.heard.keys, theirs.heard.keys) == (["k"], [])
            assert await announcing

    run(loop_factory, main())


def test_order(backplanes: Backplanes, loop_factory: LoopFactory) -> None:
    """What one member announces reaches each other one in that order, also when it does not wait in between."""

    async def main() -> None:
        async with joined(*backplanes(2)) as (ours, theirs):
            announcing = []
            for number in range(50):
                announcing.append(asyncio.create_task(ours.backplane.announce(keys(str(number)))))
                for _ in range(number % 4):
                    await asyncio.sleep(0)
            assert all(await asyncio.gather(*announcing))
            assert theirs.heard.keys == [str(number) for number in range(50)]

    run(loop_factory, main())


def test_many_at_once(backplanes: Backplanes, loop_factory: LoopFactory) -> None:
    """A thousand announcements at once from each of three members are all complete, everywhere."""

    async def main() -> None:
        async with joined(*backplanes(3)) as members:
            announcements = [
                member.backplane.announce(Invalidation((f"{place}-{number}",), (("all", number),)))
                for number in range(1000)
                for place, member in enumerate(members)
            ]
            assert all(await asyncio.gather(*announcements))
            expected = {f"{place}-{number}" for place in range(3) for number in range(1000)}
            for member in members:
                assert set(member.heard.keys) == expected
                assert len(member.heard.keys) == 3000

    run(loop_factory, main())


def test_who_has_left_is_not_waited_for(backplanes: Backplanes, loop_factory: LoopFactory) -> None:
    """A member that has left is told to distrust, hears nothing any more, and nobody waits for it."""

    async def main() -> None:
        async with joined(*backplanes(3)) as (ours, theirs, another):
            await theirs.backplane.aclose()
            assert not theirs.heard.trusting
            assert await ours.backplane.announce(keys("k"))
            assert another.heard.keys == ["k"]
            assert theirs.heard.keys == []

    run(loop_factory, main())


def test_announcing_outside(backplanes: Backplanes, loop_factory: LoopFactory) -> None:
    """Before it is started and after it is closed a backplane says that it could not tell the others."""

    async def main() -> None:
        (backplane,) = backplanes(1)
        assert not await backplane.announce(keys("k"))
        async with joined(backplane):
            assert await backplane.announce(keys("k"))
        assert not await backplane.announce(keys("k"))

    run(loop_factory, main())


def test_announcing_while_it_joins(backplanes: Backplanes, loop_factory: LoopFactory) -> None:
    """What is announced right after the start waits until we have joined, and is complete."""

    async def main() -> None:
        ours, theirs = backplanes(2)
        async with joined(theirs) as (member,):
            try:
                await ours.start(Remembering())
                assert await ours.announce(keys("k"))
                assert member.heard.keys == ["k"]
            finally:
                await ours.aclose()

    run(loop_factory, main())


def test_closing_twice(backplanes: Backplanes, loop_factory: LoopFactory) -> None:
    """Closing again, or what was never started, does nothing."""

    async def main() -> None:
        first, second = backplanes(2)
        async with joined(first):
            await first.aclose()
        await second.aclose()

    run(loop_factory, main())


def test_starting_again(backplanes: Backplanes, loop_factory: LoopFactory) -> None:
    """What was closed can be started again, with another listener, and is a member like any other."""

    async def main() -> None:
        ours, theirs = backplanes(2)
        async with joined(theirs) as (member,):
            for key in "ab":
                async with joined(ours) as (again,):
                    assert await ours.announce(keys(key))
                    assert await theirs.announce(keys(key))
                    assert again.heard.keys == [key, key]
            assert member.heard.keys == ["a", "a", "b", "b"]

    run(loop_factory, main())


def test_nothing_is_left(backplanes: Backplanes, loop_factory: LoopFactory) -> None:
    """After the close no task and no timer of it are left."""

    async def main() -> None:
        before = timers()
        async with joined(*backplanes(2)) as members:
            await asyncio.gather(*(members[0].backplane.announce(keys(str(number))) for number in range(10)))
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert timers() == before

    run(loop_factory, main())
