"""The contract of tags' versions, over every store."""

import asyncio
from collections.abc import Awaitable, Callable

from hasten.cache._store import UNKNOWN, Lease, Store
from tests.cache.stores.conftest import Run, Stores

LONG = 60.0  # seconds: longer than a test
PATIENCE = 10.0  # seconds in which something that ends soon has ended, on a busy machine


async def held(store: Store, key: str, seconds: float = LONG, *tags: str) -> Lease:
    """Return a lease that must be free."""
    lease = await store.lease(key, seconds, tags)
    assert lease is not None
    return lease


async def gone(look: Callable[[], Awaitable[object]]) -> None:
    """Look until there is nothing any more."""
    async with asyncio.timeout(PATIENCE):
        while await look():
            await asyncio.sleep(0.02)


def test_versions_grow(stores: Stores, run: Run) -> None:
    """Each invalidation gives a tag a larger version, which every process reads; in the order that was asked for."""

    async def scenario() -> None:
        here, there = stores(), stores()
        seen = [0, 0]
        for _ in range(20):
            low, high, again = await here.invalidate([], ["low", "high", "low"])
            assert low == again or low < again
            latest = max(low, again)
            assert (await there.read("key", ["high", "low"])).versions == (high, latest)
            assert low > seen[0]
            assert high > seen[1]
            seen = [latest, high]

    run(scenario)


def test_versions_grow_in_concurrent_invalidations(stores: Stores, run: Run) -> None:
    """50 invalidations of one tag at once give 50 different versions, and the largest one stays."""

    async def scenario() -> None:
        processes = [stores(), stores()]
        raised = await asyncio.gather(*(processes[n % 2].invalidate([], ["tag"]) for n in range(50)))
        versions = {version for (version,) in raised}
        assert len(versions) == 50
        assert (await processes[0].read("key", ["tag"])).versions == (max(versions),)

    run(scenario)


def test_lease_gives_versions(stores: Stores, run: Run) -> None:
    """A lease says the tags' versions, gives those that there are not a new one, and changes no other."""

    async def scenario() -> None:
        store = stores()
        (known,) = await store.invalidate([], ["known"])
        lease = await held(store, "key", LONG, "new", "known", "newer")
        assert lease.versions[1] == known
        assert UNKNOWN not in lease.versions
        assert (await store.read("key", ["new", "known", "newer"])).versions == lease.versions
        other = await held(stores(), "other", LONG, "newer", "new")
        assert other.versions == (lease.versions[2], lease.versions[0])
        raised = await store.invalidate([], ["new"])
        assert raised[0] > lease.versions[0]

    run(scenario)


def test_refused_lease_is_no_lease(stores: Stores, run: Run) -> None:
    """Who asks with tags while another holds the key gets nothing."""

    async def scenario() -> None:
        store = stores()
        await held(store, "key")
        assert await store.lease("key", LONG, ["tag"]) is None

    run(scenario)


def test_versions_grow_over_a_loss(stores: Stores, run: Run) -> None:
    """A store that has lost its data has no version of a tag, and gives it one that is larger than all before."""

    async def scenario() -> None:
        store = stores()
        for lost in range(3):
            before = [*await store.invalidate([], ["raised"]), *await store.invalidate([], ["raised"])]
            before += (await held(store, f"{lost}", LONG, "made")).versions
            stores.lose_everything()
            assert (await store.read("key", ["raised", "made"])).versions == (UNKNOWN, UNKNOWN)
            made = (await held(store, "key", LONG, "raised")).versions
            assert made[0] > max(before)
            assert (await store.invalidate([], ["made"]))[0] > max(before)

    run(scenario)


def test_loss_ends_leases(stores: Stores, run: Run) -> None:
    """Who holds a lease that the store has lost writes nothing: the key may have been invalidated meanwhile."""

    async def scenario() -> None:
        store = stores()
        lease = await held(store, "key")
        stores.lose_everything()
        assert await store.write("key", b"stale?", LONG, lease.token) is False
        assert (await store.read("key")).payload is None

    run(scenario)
