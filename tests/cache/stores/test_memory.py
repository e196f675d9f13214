"""The store in this process, beyond the contract: its clock, and what sharing it means."""

import asyncio

from hasten.cache.stores.memory import MemoryStore


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def test_time_is_the_clocks() -> None:
    """Values and leases end at their moment by the clock that was given, not before."""

    async def scenario() -> None:
        clock = Clock()
        store = MemoryStore(clock)
        await store.write("key", b"v", 5.0)
        assert await store.lease("key", 5.0) is not None
        clock.now += 4.999
        assert (await store.read("key")).payload == b"v"
        assert await store.lease("key", 5.0) is None
        clock.now += 0.001
        assert (await store.read("key")).payload is None
        assert await store.lease("key", 5.0) is not None

    asyncio.run(scenario())


def test_versions_are_the_clocks_microseconds() -> None:
    """A tag's version is the time, or one more than before when the clock stands still or goes back."""

    async def scenario() -> None:
        clock = Clock()
        store = MemoryStore(clock)
        (first,) = await store.invalidate([], ["tag"])
        assert first == int(clock.now * 1e6)
        clock.now -= 100.0
        assert await store.invalidate([], ["tag"]) == (first + 1,)
        clock.now += 200.0
        assert await store.invalidate([], ["tag"]) == (int(clock.now * 1e6),)

    asyncio.run(scenario())


def test_closing_leaves_it_to_the_others() -> None:
    """Two caches share the object: when one closes it, the other one still has its values."""

    async def scenario() -> None:
        store = MemoryStore()
        await store.write("key", b"v", 60.0)
        await store.aclose()
        assert (await store.read("key")).payload == b"v"

    asyncio.run(scenario())
