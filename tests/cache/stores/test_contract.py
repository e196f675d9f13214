"""What every second tier does: values, leases, versions of tags, and that nobody late writes."""

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Sequence

import pytest

from hasten.cache._store import UNKNOWN, Lease, Store
from tests.cache.stores.conftest import Run, Stores

LONG = 60.0  # seconds: longer than a test
SHORT = 0.1
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


# ---- values


def test_nothing_is_there(stores: Stores, run: Run) -> None:
    """A key that was never written has no value, and a tag that was never raised no version."""

    async def scenario() -> None:
        read = await stores().read("key", ["tag", "other"])
        assert read.payload is None
        assert read.versions == (UNKNOWN, UNKNOWN)

    run(scenario)


@pytest.mark.parametrize("payload", [b"", b"v", b"\r\n$-1\r\nEND\r\n", bytes(range(256)) * 4, b"x" * 200_000])
def test_value_comes_back(stores: Stores, run: Run, payload: bytes) -> None:
    """What was written is read byte for byte, by every process: empty, binary, like the protocol's own words, large."""

    async def scenario() -> None:
        assert await stores().write("key", payload, LONG) is True
        assert (await stores().read("key")).payload == payload

    run(scenario)


def test_value_is_replaced(stores: Stores, run: Run) -> None:
    """The later value counts."""

    async def scenario() -> None:
        store = stores()
        assert await store.write("key", b"first", LONG)
        assert await store.write("key", b"second", LONG)
        assert (await store.read("key")).payload == b"second"

    run(scenario)


def test_value_ends(stores: Stores, run: Run) -> None:
    """A value is gone after its time."""

    async def scenario() -> None:
        store = stores()
        assert await store.write("key", b"v", SHORT)
        assert await store.write("other", b"v", LONG)

        async def value() -> bytes | None:
            return (await store.read("key")).payload

        await gone(value)
        assert (await store.read("other")).payload == b"v"

    run(scenario)


@pytest.mark.parametrize("seconds", [1e-6, 1e12, float("inf")])
def test_extreme_times(stores: Stores, run: Run, seconds: float) -> None:
    """A value whose time is over at once, or never, is no failure."""

    async def scenario() -> None:
        store = stores()
        assert await store.write("key", b"v", seconds)
        if seconds > LONG:
            assert (await store.read("key")).payload == b"v"

    run(scenario)


def test_keys_of_every_printable_character(stores: Stores, run: Run) -> None:
    """Keys and tags are told apart in every character that they may have, up to their full length."""

    async def scenario() -> None:
        store = stores()
        keys = [f"{chr(code)}{'{}'[code % 2]}k" for code in range(33, 127)] + ["k" * 160, "k" * 159 + "l"]
        await asyncio.gather(*(store.write(key, key.encode(), LONG) for key in keys))
        reads = await asyncio.gather(*(store.read(key) for key in keys))
        assert [read.payload for read in reads] == [key.encode() for key in keys]
        versions = await store.invalidate([], keys[:10])
        assert (await store.read("key", keys[:10])).versions == versions

    run(scenario)


def test_a_tag_is_no_key(stores: Stores, run: Run) -> None:
    """A tag and a key of the same name have nothing to do with each other."""

    async def scenario() -> None:
        store = stores()
        await store.write("name", b"v", LONG)
        (version,) = await store.invalidate([], ["name"])
        lease = await held(store, "name")
        read = await store.read("name", ["name"])
        assert (read.payload, read.versions) == (b"v", (version,))
        await store.release("name", lease.token)

    run(scenario)


# ---- leases


def test_one_lease_per_key(stores: Stores, run: Run) -> None:
    """While a key is leased nobody else gets it, in any process; another key is free."""

    async def scenario() -> None:
        here, there = stores(), stores()
        await held(here, "key")
        assert await here.lease("key", LONG) is None
        assert await there.lease("key", LONG) is None
        await held(there, "other")

    run(scenario)


def test_one_of_many_gets_the_lease(stores: Stores, run: Run) -> None:
    """Of 100 who ask at once, in two processes, exactly one gets the lease."""

    async def scenario() -> None:
        processes = itertools.cycle([stores(), stores()])
        leases = await asyncio.gather(*(next(processes).lease("key", LONG) for _ in range(100)))
        assert sum(lease is not None for lease in leases) == 1

    run(scenario)


def test_lease_leaves_the_value(stores: Stores, run: Run) -> None:
    """The old value is read while a lease is held: stale is better than nothing."""

    async def scenario() -> None:
        store = stores()
        await store.write("key", b"old", LONG)
        lease = await held(store, "key")
        assert (await store.read("key")).payload == b"old"
        await store.release("key", lease.token)
        assert (await store.read("key")).payload == b"old"

    run(scenario)


def test_writing_ends_the_lease(stores: Stores, run: Run) -> None:
    """Who holds the lease writes, once; then the key is free for the next one, with another token."""

    async def scenario() -> None:
        store = stores()
        lease = await held(store, "key")
        assert await store.write("key", b"new", LONG, lease.token) is True
        assert (await store.read("key")).payload == b"new"
        assert await store.write("key", b"late", LONG, lease.token) is False
        following = await held(store, "key")
        assert following.token != lease.token
        assert (await store.read("key")).payload == b"new"

    run(scenario)


def test_release_frees_the_key(stores: Stores, run: Run) -> None:
    """After a release the next one may load, and the one that released writes no more; twice is once."""

    async def scenario() -> None:
        store = stores()
        lease = await held(store, "key")
        await store.release("key", lease.token)
        await store.release("key", lease.token)
        assert await store.write("key", b"late", LONG, lease.token) is False
        following = await held(store, "key")
        await store.release("key", lease.token)  # not its lease any more
        assert await store.lease("key", LONG) is None
        assert await store.write("key", b"v", LONG, following.token)

    run(scenario)


def test_foreign_token(stores: Stores, run: Run) -> None:
    """A token that was never given, or belongs to another key, neither writes nor releases."""

    async def scenario() -> None:
        store = stores()
        lease, other = await held(store, "key"), await held(store, "other")
        for token in (b"", b"guess", other.token):
            assert await store.write("key", b"foreign", LONG, token) is False
            await store.release("key", token)
        assert await store.lease("key", LONG) is None
        assert (await store.read("key")).payload is None
        assert await store.write("nobody's", b"v", LONG, other.token) is False
        assert await store.write("key", b"v", LONG, lease.token) is True

    run(scenario)


def test_lease_ends(stores: Stores, run: Run) -> None:
    """A lease whose holder says nothing ends, the next one gets it, and the first one's write is refused."""

    async def scenario() -> None:
        store = stores()
        first = await held(store, "key", SHORT)
        following: list[Lease] = []

        async def still_held() -> bool:
            lease = await store.lease("key", LONG)
            following.extend([lease] if lease else [])
            return lease is None

        await gone(still_held)
        assert await store.write("key", b"late", LONG, first.token) is False
        await store.release("key", first.token)
        assert await store.write("key", b"v", LONG, following[0].token) is True
        assert (await store.read("key")).payload == b"v"

    run(scenario)


def test_write_after_the_lease_has_ended(stores: Stores, run: Run) -> None:
    """A lease that has ended writes nothing, although nobody has taken the next one."""

    async def scenario() -> None:
        store = stores()
        lease, mirror = await held(store, "key", SHORT), await held(store, "mirror", SHORT)

        async def mirror_held() -> bool:
            return await store.lease("mirror", LONG) is None

        await gone(mirror_held)  # taken after the key's, for as long
        assert mirror.token != lease.token
        assert await store.write("key", b"late", LONG, lease.token) is False
        assert (await store.read("key")).payload is None

    run(scenario)


def test_write_without_a_token(stores: Stores, run: Run) -> None:
    """It stores whatever was before, and ends the lease that another holds."""

    async def scenario() -> None:
        store = stores()
        lease = await held(store, "key")
        assert await store.write("key", b"set", LONG) is True
        assert await store.write("key", b"late", LONG, lease.token) is False
        assert (await store.read("key")).payload == b"set"
        await held(store, "key")

    run(scenario)


# ---- invalidation


def test_invalidation_deletes(stores: Stores, run: Run) -> None:
    """Values are gone for all processes when it returns; those of other keys stay; what is not there is no failure."""

    async def scenario() -> None:
        here, there = stores(), stores()
        for key in ("a", "b", "c"):
            await here.write(key, b"v", LONG)
        assert await there.invalidate(["a", "b", "never", "a"]) == ()
        assert [(await here.read(key)).payload for key in ("a", "b", "c")] == [None, None, b"v"]

    run(scenario)


def test_invalidation_ends_leases(stores: Stores, run: Run) -> None:
    """Who loads while the key is invalidated writes nothing, and the next one may load at once."""

    async def scenario() -> None:
        store = stores()
        lease = await held(store, "key")
        await store.invalidate(["key"])
        assert await store.write("key", b"stale", LONG, lease.token) is False
        assert (await store.read("key")).payload is None
        following = await held(store, "key")
        assert await store.write("key", b"stale", LONG, lease.token) is False
        assert await store.write("key", b"fresh", LONG, following.token) is True

    run(scenario)


def test_nothing_to_invalidate(stores: Stores, run: Run) -> None:
    """Without keys and tags nothing happens."""

    async def scenario() -> None:
        assert await stores().invalidate() == ()

    run(scenario)


def test_many_at_once(stores: Stores, run: Run) -> None:
    """300 keys and 300 tags are invalidated in one call."""

    async def scenario() -> None:
        store, names = stores(), [f"n{number}" for number in range(300)]
        await asyncio.gather(*(store.write(name, b"v", LONG) for name in names))
        versions = await store.invalidate(names, names)
        assert len(versions) == 300
        reads = await asyncio.gather(*(store.read(name, [name]) for name in names))
        assert [read.payload for read in reads] == [None] * 300
        assert tuple(read.versions[0] for read in reads) == versions

    run(scenario)


STEPS = ("first writes", "first releases", "second leases", "second writes", "invalidated", "set")


def test_fencing(stores: Stores, run: Run) -> None:
    """In every order of two loaders, an invalidation and a set, only who holds the lease writes."""

    async def scenario() -> None:
        here, there = stores(), stores()
        orders = itertools.permutations(STEPS, 4)
        await asyncio.gather(*(play(here, there, " - ".join(order), order) for order in orders))

    run(scenario)


async def play(first_process: Store, second_process: Store, key: str, order: Sequence[str]) -> None:
    """Take the steps with a key, and compare what happens with what must."""
    key = key.replace(" ", "_")
    tokens = {"first": (await held(first_process, key)).token, "second": b"none yet"}
    holder, value = "first", None
    for step in order:
        who, _, what = step.partition(" ")
        if what == "writes":
            written = await first_process.write(key, step.encode(), LONG, tokens[who])
            assert written == (holder == who), (order, step)
            holder, value = ("", step.encode()) if written else (holder, value)
        elif what == "releases":
            await first_process.release(key, tokens[who])
            holder = "" if holder == who else holder
        elif what == "leases":
            lease = await second_process.lease(key, LONG)
            assert (lease is not None) == (not holder), (order, step)
            if lease is not None:
                holder, tokens[who] = who, lease.token
        elif step == "invalidated":
            await second_process.invalidate([key])
            holder, value = "", None
        else:
            await second_process.write(key, step.encode(), LONG)
            holder, value = "", step.encode()
        assert (await second_process.read(key)).payload == value, (order, step)


# ---- many at once


def test_a_thousand_reads_at_once(stores: Stores, run: Run) -> None:
    """1,000 reads in one pass of the loop get each their own value, of 3 bytes to 50 KB, and their own version."""

    async def scenario() -> None:
        store, chance = stores(), random.Random(6)
        values = {f"k{n}": b"%d|" % n + b"x" * int(50_000 ** chance.random()) for n in range(250)}
        await asyncio.gather(*(store.write(key, value, LONG) for key, value in values.items()))
        versions = dict(zip("abcdefg", await store.invalidate([], list("abcdefg")), strict=True))
        asked = [(chance.choice(list(values)), chance.choice("abcdefg")) for _ in range(1000)]
        reads = await asyncio.gather(*(store.read(key, [tag]) for key, tag in asked))
        assert [read.payload for read in reads] == [values[key] for key, _ in asked]
        assert [read.versions for read in reads] == [(versions[tag],) for _, tag in asked]

    run(scenario)


def test_everything_at_once(stores: Stores, run: Run) -> None:
    """500 loaders of 100 keys in two processes, side by side: one lease at a time, and reads see whole values only."""

    async def scenario() -> None:
        processes = [stores(), stores()]
        holding: set[str] = set()

        async def loader(number: int) -> None:
            store, key = processes[number % 2], f"k{number % 100}"
            lease = await store.lease(key, LONG, ["tag"])
            if lease is not None:
                assert key not in holding
                holding.add(key)
                read = await store.read(key)
                assert read.payload in {None, key.encode() * 100}
                holding.discard(key)
                assert await store.write(key, key.encode() * 100, LONG, lease.token)
            assert (await store.read(key)).payload in {None, key.encode() * 100}

        async with asyncio.TaskGroup() as tasks:
            for number in range(500):
                tasks.create_task(loader(number))
        reads = await asyncio.gather(*(processes[0].read(f"k{n}") for n in range(100)))
        assert [read.payload for read in reads] == [f"k{n}".encode() * 100 for n in range(100)]

    run(scenario)
