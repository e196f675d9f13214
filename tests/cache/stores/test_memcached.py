"""The Memcached store, beyond the contract: the orders in which writers meet, sizes, names, round trips."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hasten import ConfigurationError
from hasten.cache._store import UNKNOWN, Lease, Read, StoreError
from hasten.cache.stores._memcached_node import Node
from hasten.cache.stores.memcached import MemcachedStore, memcached_store
from hasten.cache.stores.memory import MemoryStore
from tests.cache.running import run
from tests.cache.stores.conftest import PATIENT
from tests.conftest import LoopFactory

Change = Callable[[MemcachedStore, str], Awaitable[object]]


class Meeting(Node):
    """A server before whose next `cas` something else is done."""

    before: Callable[[], Awaitable[object]] | None = None

    async def cas(self, key: bytes, value: bytes, cas: int, exptime: int) -> bool:
        before, self.before = self.before, None
        if before is not None:
            await before()
        return await super().cas(key, value, cas, exptime)


@asynccontextmanager
async def meeting(url: str) -> AsyncIterator[tuple[MemcachedStore, Meeting, str]]:
    """Open a store; give it, its one server, and a key that nobody else has."""
    async with aclosing(memcached_store(url)) as store:
        host, _, port = url.removeprefix("memcached://").partition(":")
        node = Meeting(store.name, host, int(port), PATIENT)
        store._nodes[:] = [node]
        yield store, node, secrets.token_hex(8)


async def invalidate(store: MemcachedStore, key: str) -> None:
    await store.invalidate([key])


async def write(store: MemcachedStore, key: str) -> None:
    await store.write(key, b"theirs", 60)


async def invalidate_and_lease(store: MemcachedStore, key: str) -> None:
    await store.invalidate([key])
    assert await store.lease(key, 60) is not None


async def invalidate_lease_and_write(store: MemcachedStore, key: str) -> None:
    await store.invalidate([key])
    lease = await store.lease(key, 60)
    assert lease is not None
    assert await store.write(key, b"theirs", 60, lease.token)


CHANGES: list[tuple[Change, bytes | None]] = [
    (invalidate, None),
    (write, b"theirs"),
    (invalidate_and_lease, None),
    (invalidate_lease_and_write, b"theirs"),
]


@pytest.mark.parametrize("stale", [False, True])
@pytest.mark.parametrize(("change", "left"), CHANGES)
def test_between_reading_and_cas(
    change: Change, left: bytes | None, *, stale: bool, memcached_url: str, loop_factory: LoopFactory
) -> None:
    """A writer that another comes before at the last moment, when it has found its lease whole, writes nothing."""

    async def scenario() -> None:
        async with meeting(memcached_url) as (store, node, key):
            if stale:
                await store.write(key, b"stale", 60)
            lease = await store.lease(key, 60)
            assert lease is not None
            node.before = lambda: change(store, key)
            assert not await store.write(key, b"late", 60, lease.token)
            assert await store.read(key) == Read(left)

    run(loop_factory, scenario())


@pytest.mark.parametrize(("change", "left"), CHANGES)
def test_between_reading_and_release(
    change: Change, left: bytes | None, memcached_url: str, loop_factory: LoopFactory
) -> None:
    """A release that another comes before at the last moment changes nothing of what that one has made."""

    async def scenario() -> None:
        async with meeting(memcached_url) as (store, node, key):
            lease = await store.lease(key, 60)
            assert lease is not None
            node.before = lambda: change(store, key)
            await store.release(key, lease.token)
            assert await store.read(key) == Read(left)
            if change is invalidate_and_lease:
                assert await store.lease(key, 60) is None

    run(loop_factory, scenario())


@pytest.mark.parametrize(("change", "left"), CHANGES)
def test_between_reading_and_lease(
    change: Change, left: bytes | None, memcached_url: str, loop_factory: LoopFactory
) -> None:
    """Taking a lease on a stale value, which writes that value again, never brings it back over another's change."""

    async def scenario() -> None:
        async with meeting(memcached_url) as (store, node, key):
            await store.write(key, b"stale", 60)
            node.before = lambda: change(store, key)
            lease = await store.lease(key, 60)
            assert (lease is None) == (change is invalidate_and_lease)
            assert await store.read(key) == Read(left)

    run(loop_factory, scenario())


def test_stale_while_leased(memcached_url: str, loop_factory: LoopFactory) -> None:
    """A value stays readable while its refresher has the lease, and after a release without a value."""

    async def scenario() -> None:
        async with meeting(memcached_url) as (store, _, key):
            await store.write(key, b"stale", 60)
            lease = await store.lease(key, 60)
            assert lease is not None
            assert await store.lease(key, 60) is None
            assert await store.read(key) == Read(b"stale")
            await store.release(key, lease.token)
            assert await store.read(key) == Read(b"stale")
            again = await store.lease(key, 60)
            assert again is not None
            assert not await store.write(key, b"late", 60, lease.token)
            assert await store.write(key, b"fresh", 60, again.token)
            assert await store.read(key) == Read(b"fresh")

    run(loop_factory, scenario())


def test_release_leaves_nothing(memcached_url: str, loop_factory: LoopFactory) -> None:
    """After a release without a value the server has nothing under the key: the next lease takes one round trip."""

    async def scenario() -> None:
        async with meeting(memcached_url) as (store, node, key):
            lease = await store.lease(key, 60)
            assert lease is not None
            await store.release(key, lease.token)
            assert await node.gets(store._item_key(key)) is None
            assert await store.lease(key, 60) is not None

    run(loop_factory, scenario())


@pytest.mark.parametrize("stale", [False, True])
def test_lease_ends_by_itself(*, stale: bool, memcached_url: str, loop_factory: LoopFactory) -> None:
    """A lease that is over writes nothing, even if nobody else has taken it, and the next one may load."""

    async def scenario() -> None:
        async with meeting(memcached_url) as (store, _, key):
            if stale:
                await store.write(key, b"stale", 60)
            lease = await store.lease(key, 0.02)
            assert lease is not None
            over = time.time() + 0.02
            while time.time() < over:
                await asyncio.sleep(0)
            assert not await store.write(key, b"late", 60, lease.token)
            assert await store.lease(key, 60) is not None
            assert not await store.write(key, b"late", 60, lease.token)
            assert await store.read(key) == Read(b"stale" if stale else None)

    run(loop_factory, scenario())


@pytest.mark.parametrize("stale", [False, True])
def test_one_lease(*, stale: bool, memcached_url: str, loop_factory: LoopFactory) -> None:
    """Of 50 who ask at once, from two processes' stores, one gets the lease."""

    async def scenario() -> None:
        async with (
            meeting(memcached_url) as (first, _, key),
            aclosing(memcached_store(memcached_url, timeout=PATIENT)) as second,
        ):
            if stale:
                await first.write(key, b"stale", 60)
            asked = (store.lease(key, 60) for store in (first, second) for _ in range(25))
            assert len([lease for lease in await asyncio.gather(*asked) if lease is not None]) == 1

    run(loop_factory, scenario())


def test_value_ends_exactly(memcached_url: str, loop_factory: LoopFactory) -> None:
    """A value is over when its time is, though Memcached keeps it for whole seconds."""

    async def scenario() -> None:
        async with meeting(memcached_url) as (store, node, key):
            await store.write(key, b"short", 0.05)
            over = time.time() + 0.05
            while time.time() < over:
                await asyncio.sleep(0)
            assert await store.read(key) == Read(None)
            assert await node.gets(store._item_key(key)) is not None

    run(loop_factory, scenario())


@pytest.mark.parametrize("seconds", [60.0, 40 * 24 * 3600.0, float("inf")])
def test_long_lives(seconds: float, memcached_url: str, loop_factory: LoopFactory) -> None:
    """A value that lives beyond Memcached's 30 days, or for ever, is there."""

    async def scenario() -> None:
        async with meeting(memcached_url) as (store, _, key):
            await store.write(key, b"value", seconds)
            lease = await store.lease(key, 60)
            assert lease is not None
            assert await store.read(key) == Read(b"value")

    run(loop_factory, scenario())


@pytest.mark.parametrize("leased", [False, True])
def test_too_large(*, leased: bool, memcached_url: str, loop_factory: LoopFactory) -> None:
    """A value over Memcached's limit raises StoreError with its words, ends its lease and leaves the connection fit."""

    async def scenario() -> None:
        async with meeting(memcached_url) as (store, _, key):
            lease = await store.lease(key, 60) if leased else None
            with pytest.raises(StoreError, match="object too large for cache"):
                await store.write(key, bytes(2**20), 60, lease.token if lease else None)
            assert await store.read(key) == Read(None)
            assert await store.lease(key, 60) is not None

    run(loop_factory, scenario())


def test_key_and_tag_of_one_name(memcached_url: str, loop_factory: LoopFactory) -> None:
    """A key and a tag of the same name have nothing to do with each other."""

    async def scenario() -> None:
        async with meeting(memcached_url) as (store, _, key):
            (version,) = await store.invalidate([], [key])
            await store.write(key, b"value", 60)
            assert await store.read(key, [key]) == Read(b"value", (version,))
            await store.invalidate([key])
            assert await store.read(key, [key]) == Read(None, (version,))

    run(loop_factory, scenario())


def test_longest_key(memcached_url: str, loop_factory: LoopFactory) -> None:
    """Keys and tags of 200 characters, the contract's limit, fit."""

    async def scenario() -> None:
        async with meeting(memcached_url) as (store, _, key):
            long = key.ljust(200, "~")
            lease = await store.lease(long, 60, [long])
            assert lease is not None
            assert await store.write(long, b"value", 60, lease.token)
            assert await store.read(long, [long]) == Read(b"value", lease.versions)

    run(loop_factory, scenario())


def test_foreign_items(memcached_url: str, loop_factory: LoopFactory) -> None:
    """What somebody else has put under our names is no value, no lease and no version."""

    async def scenario() -> None:
        async with meeting(memcached_url) as (store, node, key):
            await node.set(store._item_key(key), b"foreign", 60)
            await node.set(store._tag_key(key), b"foreign", 60)
            assert await store.read(key, [key]) == Read(None, (UNKNOWN,))
            assert await store.lease(key, 60) is not None
            with pytest.raises(StoreError):
                await store.invalidate([], [key])

    run(loop_factory, scenario())


def test_versions_run_ahead_of_the_clock(memcached_url: str, loop_factory: LoopFactory) -> None:
    """A tag that is lost gets a larger version than before, also when another's clock had made that one."""

    async def scenario() -> None:
        async with meeting(memcached_url) as (store, node, key):
            ahead = time.time_ns() // 1000 + 3600 * 10**6
            await node.set(store._tag_key(key), b"%d" % ahead, 60)
            (raised,) = await store.invalidate([], [key])
            await node.delete(store._tag_key(key))
            lease = await store.lease(key, 60, [key])
            assert lease is not None
            assert lease.versions > (raised,) > (ahead,)

    run(loop_factory, scenario())


def test_tag_of_two_who_raise(memcached_url: str, loop_factory: LoopFactory) -> None:
    """Whoever raises a tag at the same time, known or not, gets a version of his own."""

    async def scenario() -> None:
        async with meeting(memcached_url) as (store, _, key):
            raised = await asyncio.gather(*(store.invalidate([], [key]) for _ in range(20)))
            assert len(set(raised)) == 20
            assert (await store.read(key, [key])).versions == max(raised)

    run(loop_factory, scenario())


def test_writers_wait_in_order(memcached_url: str, loop_factory: LoopFactory) -> None:
    """Of many who never stop to write, each has its turn: as many writes as all the others, but for a few."""

    async def scenario() -> None:
        async with meeting(memcached_url) as (store, _, key):
            turns = [0] * 64

            async def writer(number: int) -> None:
                while min(turns) < 10:
                    await store.write(f"{key}{number}", b"value", 60)
                    turns[number] += 1

            await asyncio.gather(*map(writer, range(64)))
            assert max(turns) < 20

    run(loop_factory, scenario())


def test_reads_share_round_trips(loop_factory: LoopFactory) -> None:
    """Reads of one pass of the loop, with their tags, are one command; what is asked for twice is in it once."""

    async def scenario() -> None:
        lines: list[bytes] = []

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            async for line in reader:
                lines.append(line)
                writer.write(b"END\r\n")
            writer.close()

        async with (
            await asyncio.start_server(answer, "127.0.0.1") as server,
            aclosing(MemcachedStore([server.sockets[0].getsockname()])) as store,
        ):
            await asyncio.gather(*(store.read(f"key{index % 10}", ["one", "two"]) for index in range(1000)))
            assert len(lines) == 1
            assert len(lines[0].split()) == 1 + 10 + 2
            await asyncio.gather(*(store.read(f"key{index}") for index in range(1000)))
            assert len(lines) == 1 + 10

    run(loop_factory, scenario())


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["lease", "write", "write anyway", "release", "invalidate", "raise", "lose tag"]),
        st.integers(0, 1),
        st.integers(0, 3),
    ),
    max_size=25,
)


@given(steps=STEPS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_like_the_model(steps: list[tuple[str, int, int]], memcached_url: str) -> None:
    """Whatever is leased, written, released and invalidated in whatever order, all answers are those of the model."""

    async def scenario() -> None:
        model = MemoryStore()
        async with meeting(memcached_url) as (store, node, name):
            leases: list[tuple[Lease, Lease]] = []
            tag = f"{name}tag"
            for number, (step, which, lease_number) in enumerate(steps):
                key, value = f"{name}{which}", b"%d" % number
                ours, theirs = leases[-1 - lease_number % len(leases)] if leases else (Lease(b"?"), Lease(b"?"))
                if step == "lease":
                    pair = await store.lease(key, 60, [tag]), await model.lease(key, 60, [tag])
                    assert (pair[0] is None) == (pair[1] is None)
                    if pair[0] is not None and pair[1] is not None:
                        leases.append((pair[0], pair[1]))
                elif step == "write":
                    assert await store.write(key, value, 60, ours.token) == await model.write(
                        key, value, 60, theirs.token
                    )
                elif step == "write anyway":
                    assert await store.write(key, value, 60) == await model.write(key, value, 60)
                elif step == "release":
                    await store.release(key, ours.token)
                    await model.release(key, theirs.token)
                elif step == "invalidate":
                    assert await store.invalidate([key]) == await model.invalidate([key])
                elif step == "raise":
                    before = (await store.read(key, [tag])).versions
                    assert await store.invalidate([], [tag]) > before
                else:
                    await node.delete(store._tag_key(tag))
                for other in (f"{name}0", f"{name}1"):
                    assert (await store.read(other)).payload == (await model.read(other)).payload

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "memcached://",
        "memcached:///path",
        "memcached://a,",
        "memcached://a:port",
        "memcached://a:70000",
        "memcached://user:word@a",
        "memcached://a?pool=3",
        "memcached://a:1,a:1",
    ],
)
def test_wrong_url(url: str) -> None:
    """A URL that does not name Memcached servers is refused when the store is made, and no password is shown."""
    with pytest.raises(ConfigurationError) as caught:
        memcached_store(url)
    assert "word" not in str(caught.value)


def test_names() -> None:
    """A store has its servers in its name, connects to nothing until it is used, and carries no backplane."""
    store = memcached_store("memcached://one,two:11212,[::1]:3")
    assert store.name == "memcached one:11211,two:11212,::1:3"
    assert store.wait_name == "cache memcached one:11211,two:11212,::1:3"
    assert not store.carries_backplane
