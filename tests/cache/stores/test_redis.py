"""The Redis store, beyond the contract: what is in Redis, how it is asked, where it is, what the ledger shows."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any
from uuid import uuid4

import pytest
import redis
from blockbuster import BlockBuster
from redis.asyncio import Redis

from hasten import ConfigurationError
from hasten.cache._store import UNKNOWN, StoreError
from hasten.cache.stores.redis import LONGEST_SECONDS, TAG_SECONDS, RedisStore, redis_store
from hasten.ledger._sites import SiteTable
from tests.cache.running import passes, run
from tests.cache.stores.conftest import PATIENT
from tests.conftest import LoopFactory

LONG = 60.0


@pytest.fixture
def server(redis_url: str) -> "redis.Redis":
    """Return a client that sees what the store has done."""
    return redis.Redis.from_url(redis_url, protocol=2)


def calls(server: "redis.Redis") -> dict[str, int]:
    """Return how often each command was called, but for those of this test."""
    statistics: Any = server.info("commandstats")
    ours = ("info", "scan", "client", "config")
    return {
        name.removeprefix("cmdstat_"): entry["calls"]
        for name, entry in statistics.items()
        if not name.removeprefix("cmdstat_").startswith(ours)
    }


def commands_of(server: "redis.Redis", work: Callable[[], None]) -> dict[str, int]:
    """Return the commands that `work` has called."""
    before = calls(server)
    work()
    return {name: count - before.get(name, 0) for name, count in calls(server).items() if count > before.get(name, 0)}


def store_of(url: str, prefix: str = "") -> RedisStore:
    store = redis_store(url, prefix=prefix or f"{uuid4().hex}:")
    store.timeout = PATIENT
    return store


# ---- what is in Redis


def test_keys_in_redis(redis_url: str, server: "redis.Redis", loop_factory: LoopFactory) -> None:
    """Value and lease of a key share a slot, a tag has a key of its own, and all of them have an end."""

    async def scenario() -> None:
        async with aclosing(store_of(redis_url, "shop:")) as store:
            await store.write("product/7", b"v", LONG)
            lease = await store.lease("product/7", LONG, ["news"])
            assert lease is not None
            assert server.get("shop:{k:product/7}") == b"v"
            assert server.get("shop:{k:product/7}:lease") == lease.token
            assert server.get("shop:{t:news}") == b"%d" % lease.versions[0]
            assert 0.0 < server.ttl("shop:{k:product/7}") <= LONG
            assert 0.0 < server.ttl("shop:{k:product/7}:lease") <= LONG
            assert LONGEST_SECONDS - 1 <= server.ttl("shop:{t:news}") <= TAG_SECONDS
            await store.invalidate(["product/7"])
            assert not server.exists("shop:{k:product/7}", "shop:{k:product/7}:lease")

    run(loop_factory, scenario())


def test_prefixes_are_apart(redis_url: str, loop_factory: LoopFactory) -> None:
    """Caches with different prefixes share neither values nor leases nor tags."""

    async def scenario() -> None:
        async with aclosing(store_of(redis_url)) as one, aclosing(store_of(redis_url)) as other:
            await one.write("key", b"v", LONG)
            (version,) = await one.invalidate([], ["tag"])
            assert await one.lease("key", LONG) is not None
            read = await other.read("key", ["tag"])
            assert read.payload is None
            assert read.versions != (version,)
            assert await other.lease("key", LONG) is not None

    run(loop_factory, scenario())


def test_version_above_the_clock(redis_url: str, server: "redis.Redis", loop_factory: LoopFactory) -> None:
    """A tag whose version lies in the future, because a clock was wrong, is raised by one; nonsense is replaced."""

    async def scenario() -> None:
        async with aclosing(store_of(redis_url, prefix := f"{uuid4().hex}:")) as store:
            future = 4_000_000_000_000_000
            server.set(f"{prefix}{{t:tag}}", future)
            assert await store.invalidate([], ["tag"]) == (future + 1,)
            server.set(f"{prefix}{{t:tag}}", "nonsense")
            assert (await store.read("key", ["tag"])).versions == (UNKNOWN,)
            assert 10**15 < (await store.invalidate([], ["tag"]))[0] < future

    run(loop_factory, scenario())


# ---- how it is asked


def test_reads_of_one_pass_are_one_command(redis_url: str, server: "redis.Redis", loop_factory: LoopFactory) -> None:
    """64 reads with 3 tags at once are one MGET of 67 keys; one read is one GET."""

    async def scenario(count: int, tags: list[str]) -> None:
        async with aclosing(store_of(redis_url)) as store:
            await asyncio.gather(*(store.read(f"k{number}", tags) for number in range(count)))

    assert commands_of(server, lambda: run(loop_factory, scenario(64, ["x", "y", "z"]))) == {"mget": 1}
    assert commands_of(server, lambda: run(loop_factory, scenario(1, []))) == {"get": 1}


def test_each_change_is_one_command(redis_url: str, server: "redis.Redis", loop_factory: LoopFactory) -> None:
    """A load through the store costs a lease, the tags' versions and a write; an invalidation two commands."""

    async def load() -> None:
        async with aclosing(store_of(redis_url)) as store:
            lease = await store.lease("key", LONG, ["known"])
            assert lease is not None
            await store.write("key", b"v", LONG, lease.token)
            await store.invalidate(["a", "b"], ["x", "y"])

    called = commands_of(server, lambda: run(loop_factory, load()))
    assert called["eval"] == 4  # lease, the tag's first version, write, the tags' raise
    assert called["unlink"] == 1
    assert "keys" not in called


@pytest.mark.parametrize("limit", [None, 1])
def test_a_thousand_of_everything(
    redis_url: str, server: "redis.Redis", loop_factory: LoopFactory, guard: BlockBuster, limit: int | None
) -> None:
    """4,000 calls at once on a client as users make it take 4 connections, or as many as it may have; none fails."""

    async def scenario() -> None:
        options: dict[str, Any] = {} if limit is None else {"max_connections": limit}
        client = Redis.from_url(redis_url, client_name=f"test-{uuid4().hex}", **options)
        guard.deactivate()  # redis-py reads its version from disk for each connection, if it is not told not to
        async with aclosing(RedisStore(client, prefix=f"{uuid4().hex}:")) as store:
            store.timeout = PATIENT
            names = [f"k{number}" for number in range(1000)]
            answers = await asyncio.gather(
                *(store.write(name, name.encode(), LONG) for name in names),
                *(store.lease(f"l{name}", LONG, ["tag"]) for name in names),
                *(store.read(name) for name in names),
                *(store.invalidate([f"i{name}"]) for name in names),
            )
            assert None not in answers
            name = client.connection_pool.connection_kwargs["client_name"]
            ours = [one for one in server.client_list() if one["name"] == name]
            assert len(ours) <= (limit or 4)

    run(loop_factory, scenario())


def test_the_ledger_names_the_wait(redis_url: str, loop_factory: LoopFactory) -> None:
    """A wait for Redis is called `cache GET redis HOST:PORT` in the ledger, and told from others by its key."""

    async def scenario() -> None:
        async with aclosing(store_of(redis_url)) as store:

            async def seen(asked: Awaitable[object], name: str, about: str) -> None:
                question: Any = answer(asked)
                future = question.send(None)  # up to the wait
                assert asyncio.isfuture(future)
                sites = SiteTable()
                assert sites.identity(question.cr_await, future) == about
                request = _owner(question)
                assert request.wait_name == f"cache {name} {store.name}"
                question.close()

            await seen(store.read("key", ["tag"]), "GET", "key")
            await seen(store.lease("key", LONG), "LEASE", "key")
            await seen(store.write("key", b"v", LONG), "SET", "key")
            await seen(store.release("key", b"token"), "RELEASE", "key")
            await seen(store.invalidate(["a", "b"], ["t"]), "INVALIDATE", "a b t")
            assert store.name == f"redis {redis_url.split('/')[2]}"
            await passes()

    run(loop_factory, scenario())


async def answer(asked: Awaitable[object]) -> object:
    return await asked


def _owner(question: Any) -> Any:
    """Return the innermost object that awaits in a chain of coroutines and generators."""
    owner = None
    while (frame := getattr(question, "cr_frame", None) or getattr(question, "gi_frame", None)) is not None:
        owner = frame.f_locals.get("self", owner)
        question = getattr(question, "cr_await", None) or getattr(question, "gi_yieldfrom", None)
    return owner


def test_closed(redis_url: str, loop_factory: LoopFactory) -> None:
    """A closed store says so to whoever asks, and closes again without complaint."""

    async def scenario() -> None:
        async with aclosing(store_of(redis_url)) as store:
            await store.read("key")
            await store.aclose()
            with pytest.raises(StoreError, match="closed"):
                await store.read("key")
            with pytest.raises(StoreError, match="closed"):
                await store.lease("key", LONG, ["tag"])

    run(loop_factory, scenario())


def test_without_redis_py() -> None:
    """Without redis-py the message says what to install."""
    program = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name == "redis":
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Absent())
import hasten.cache.stores.redis
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=15)
    message = "MissingDependency: redis is not installed; run: pip install 'hasten[redis]'"
    assert done.stderr.splitlines()[-1].endswith(message)


# ---- where it is


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("redis://", "redis localhost:6379"),
        ("redis://user:secret@cache.local:6380/3?max_connections=7", "redis cache.local:6380"),
        ("rediss://cache.local", "redis cache.local:6379"),
        ("unix:///run/redis.sock?db=2", "redis /run/redis.sock"),
        ("redis+cluster://:secret@10.0.0.2:7000,10.0.0.1:7001", "redis cluster 10.0.0.1:7001,10.0.0.2:7000"),
        ("redis+cluster://[::1]:7000,10.0.0.1", "redis cluster 10.0.0.1:6379,::1:7000"),
        ("rediss+cluster://10.0.0.1", "redis cluster 10.0.0.1:6379"),
        ("redis+sentinel://a:1,b/main/2?sentinel_password=x", "redis sentinel main"),
        ("rediss+sentinel://a/main", "redis sentinel main"),
    ],
)
def test_urls(url: str, name: str, loop_factory: LoopFactory) -> None:
    """Each kind of URL makes a store, named by its place and without its password."""

    async def scenario() -> None:
        async with aclosing(redis_store(url)) as store:
            assert store.name == name

    run(loop_factory, scenario())


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://localhost", "http://: is no scheme"),
        ("redis://localhost/0?no_such_option=1", "no_such_option"),
        ("redis://localhost/0?db=many", "db"),
        ("redis+cluster://u:secret@", "names no host"),
        ("redis+cluster://u:secret@a:port", "[Pp]ort"),
        ("redis+cluster://u:secret@a,b?no_such_option=1", "no_such_option"),
        ("redis+sentinel://u:secret@a:1,b:2", "names no service"),
        ("redis+sentinel://u:secret@a/main/0?no_such_option=1", "no_such_option"),
        ("redis://u:secret@localhost?decode_responses=1", "decode_responses"),
    ],
)
def test_wrong_urls(url: str, message: str) -> None:
    """A URL that is wrong is refused with what is wrong, and never with its password."""
    with pytest.raises(ConfigurationError, match=message) as caught:
        redis_store(url)
    assert "secret" not in str(caught.value)


def test_database(redis_url: str, server: "redis.Redis", loop_factory: LoopFactory) -> None:
    """A URL's database is the one that is used."""

    async def scenario() -> None:
        async with aclosing(
            redis_store(redis_url.rpartition("/")[0] + "/5", prefix=(prefix := f"{uuid4().hex}:"))
        ) as store:
            await store.write("key", b"v", LONG)
            assert (await store.read("key")).payload == b"v"
            in_database_0 = list(server.scan_iter(match=f"*{prefix}*"))
            assert in_database_0 == []

    run(loop_factory, scenario())
