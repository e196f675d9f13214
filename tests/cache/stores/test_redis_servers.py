"""Redis that dies, stands still and comes back: alone, behind Sentinel, as a Cluster, and over a unix socket."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import aclosing, suppress
from typing import Any
from uuid import uuid4

import pytest
import redis

from hasten.cache._store import StoreError
from hasten.cache.stores import _redis_batch
from hasten.cache.stores.redis import RedisStore, redis_store
from tests.cache.backplanes.servers import RedisServer, Start, free_port, redis_servers
from tests.cache.running import run
from tests.conftest import LoopFactory

LONG = 60.0
PATIENCE = 10.0  # seconds within which a server that came back is used again


@pytest.fixture
def start() -> Iterator[Start]:
    """Return a function that starts a redis-server with options of its own; all of them end after the test."""
    with redis_servers() as start:
        yield start


@pytest.fixture
def server(start: Start) -> RedisServer:
    return start()


async def usable(store: RedisStore) -> None:
    """Return when the store writes and reads again, within PATIENCE."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(StoreError):
                if await store.write("probe", b"v", LONG) and (await store.read("probe")).payload == b"v":
                    return
            await asyncio.sleep(0.02)


# ---- one server


def test_killed_and_started_again(server: RedisServer, loop_factory: LoopFactory) -> None:
    """While Redis is gone every call is a StoreError at once; when it is back the next one works."""

    async def scenario() -> None:
        async with aclosing(redis_store(server.url)) as store:
            await asyncio.gather(*(store.write(f"k{number}", b"v" * 1000, LONG) for number in range(1000)))
            server.kill()
            for question in (
                store.read("k1", ["tag"]),
                store.lease("k1", LONG, ["tag"]),
                store.write("k1", b"v", LONG),
                store.write("k1", b"v", LONG, b"token"),
                store.release("k1", b"token"),
                store.invalidate(["k1"], ["tag"]),
            ):
                with pytest.raises(StoreError, match=store.name):
                    await question
            server.start()
            assert (await store.read("k1")).payload is None
            assert await store.write("k1", b"v", LONG)

    run(loop_factory, scenario())


def test_killed_under_many(server: RedisServer, loop_factory: LoopFactory) -> None:
    """When Redis dies under 1,000 calls, each of them has an answer or a StoreError."""

    async def scenario() -> None:
        async with aclosing(redis_store(server.url)) as store:
            await store.write("k", b"v" * 5000, LONG)
            reading = [asyncio.ensure_future(store.read("k")) for _ in range(1000)]
            await reading[0]
            server.kill()
            for answer in await asyncio.gather(*reading, return_exceptions=True):
                assert isinstance(answer, StoreError) or (
                    not isinstance(answer, BaseException) and answer.payload == b"v" * 5000
                )

    run(loop_factory, scenario())


def test_never_there(server: RedisServer, loop_factory: LoopFactory) -> None:
    """A Redis that is not there from the beginning is a StoreError, and used when it comes up."""

    async def scenario() -> None:
        server.kill()
        async with aclosing(redis_store(server.url)) as store:
            with pytest.raises(StoreError):
                await store.read("k")
            server.start()
            await usable(store)

    run(loop_factory, scenario())


def test_frozen(server: RedisServer, loop_factory: LoopFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis that stands still is a StoreError after ANSWER_WITHIN, for connections of before and new ones alike."""
    monkeypatch.setattr(_redis_batch, "ANSWER_WITHIN", 0.2)

    async def scenario() -> None:
        async with aclosing(redis_store(server.url)) as store:
            await store.write("k", b"v", LONG)
            server.freeze()
            try:
                for _ in range(2):
                    answers = await asyncio.gather(*(store.read(f"k{n}") for n in range(1000)), return_exceptions=True)
                    assert {str(answer) for answer in answers} == {f"{store.name}: no answer within 0.2 s"}
            finally:
                server.thaw()
            await usable(store)
            assert (await store.read("k")).payload == b"v"

    run(loop_factory, scenario())


def test_impatient_callers_of_a_frozen_redis(server: RedisServer, loop_factory: LoopFactory) -> None:
    """Callers that wait no longer leave nothing behind: after it wakes each one gets its own key's value."""

    async def scenario() -> None:
        async with aclosing(redis_store(server.url)) as store:
            await asyncio.gather(*(store.write(f"k{n}", b"%d" % n * 100, LONG) for n in range(100)))
            server.freeze()
            try:
                reading = [asyncio.ensure_future(store.read(f"k{n}")) for n in range(100)]
                await asyncio.sleep(0.05)
                for waiting in reading:
                    waiting.cancel()
                await asyncio.gather(*reading, return_exceptions=True)
            finally:
                server.thaw()
            reads = await asyncio.gather(*(store.read(f"k{n}") for n in range(100)))
            assert [read.payload for read in reads] == [b"%d" % n * 100 for n in range(100)]

    run(loop_factory, scenario())


@pytest.mark.parametrize("patient", [True, False])
def test_lease_of_a_frozen_redis(
    server: RedisServer, loop_factory: LoopFactory, monkeypatch: pytest.MonkeyPatch, *, patient: bool
) -> None:
    """A lease that Redis gives when it wakes, to a caller that has given up, is given back: the key is not locked."""
    monkeypatch.setattr(_redis_batch, "ANSWER_WITHIN", 0.1 if patient else 5.0)

    async def scenario() -> None:
        async with aclosing(redis_store(server.url)) as store, aclosing(redis_store(server.url)) as other:
            await store.read("key")
            server.freeze()
            try:
                leasing = asyncio.ensure_future(store.lease("key", LONG))
                if not patient:
                    await asyncio.sleep(0.05)
                    leasing.cancel()
                with pytest.raises(StoreError if patient else asyncio.CancelledError):
                    await leasing
            finally:
                server.thaw()
            async with asyncio.timeout(PATIENCE):
                while await other.lease("key", LONG) is None:
                    await usable(store)

    run(loop_factory, scenario())


def test_late_writer_of_a_frozen_redis(server: RedisServer, loop_factory: LoopFactory) -> None:
    """A write that Redis takes after an invalidation, because it stood still meanwhile, writes nothing."""

    async def scenario() -> None:
        async with aclosing(redis_store(server.url)) as store, aclosing(redis_store(server.url)) as other:
            await other.read("key")
            lease = await store.lease("key", LONG)
            assert lease is not None
            server.freeze()
            try:
                writing = asyncio.ensure_future(store.write("key", b"stale", LONG, lease.token))
                invalidating = asyncio.ensure_future(other.invalidate(["key"]))
                await asyncio.sleep(0.05)
                writing.cancel()
            finally:
                server.thaw()
            await invalidating
            for _ in range(10):
                assert (await other.read("key")).payload is None

    run(loop_factory, scenario())


def test_idle_connections_that_were_closed(server: RedisServer, loop_factory: LoopFactory) -> None:
    """Connections that Redis has closed for being idle are replaced without a failure."""

    async def scenario() -> None:
        async with aclosing(redis_store(server.url)) as store:
            await asyncio.gather(*(store.write(f"k{n}", b"v" * 5000, LONG) for n in range(1000)))
            with server.client() as client:
                client.client_kill_filter(_type="normal", skipme=True)
                while len(client.client_list()) > 1:
                    await asyncio.sleep(0)
            for _ in range(8):
                await asyncio.sleep(0)  # the loop hears of it
            reads = await asyncio.gather(*(store.read(f"k{n}") for n in range(1000)))
            assert {read.payload for read in reads} == {b"v" * 5000}

    run(loop_factory, scenario())


def test_full_memory(server: RedisServer, loop_factory: LoopFactory) -> None:
    """A Redis that refuses writes for want of memory is a StoreError for who writes; reads go on."""

    async def scenario() -> None:
        async with aclosing(redis_store(server.url)) as store:
            await store.write("k", b"v", LONG)
            with server.client() as client:
                client.config_set("maxmemory", "1")
            answers = await asyncio.gather(store.read("k"), store.write("k", b"w", LONG), return_exceptions=True)
            assert not isinstance(answers[0], BaseException)
            assert answers[0].payload == b"v"
            assert isinstance(answers[1], StoreError)
            assert "memory" in answers[1].reason

    run(loop_factory, scenario())


def test_unix_socket(server: RedisServer, loop_factory: LoopFactory) -> None:
    """A unix socket is a place like another."""

    async def scenario() -> None:
        async with aclosing(redis_store(f"unix://{server.socket}?db=1")) as store:
            assert store.name == f"redis {server.socket}"
            await usable(store)
            server.kill()
            with pytest.raises(StoreError):
                await store.read("k")
            server.start()
            await usable(store)

    run(loop_factory, scenario())


# ---- Sentinel


@pytest.fixture
def replica(start: Start, server: RedisServer) -> RedisServer:
    """Return a server that has what `server` has."""
    with server.client() as client:
        client.config_set("repl-diskless-sync-delay", "0")
    return start("--replicaof", "127.0.0.1", str(server.port))


@pytest.fixture
def sentinel(start: Start, server: RedisServer, replica: RedisServer) -> RedisServer:
    """Return a sentinel that watches `server` as `main`, and knows its replica."""
    with replica.client() as client:
        while client.info("replication")["master_link_status"] != "up":
            time.sleep(0.01)
    monitor = f"sentinel monitor main 127.0.0.1 {server.port} 1\n"
    times = "sentinel down-after-milliseconds main 300\nsentinel failover-timeout main 2000\n"
    sentinel = start("--sentinel", settings=monitor + times)
    with sentinel.client() as client:
        while not client.sentinel_slaves("main"):
            time.sleep(0.01)
    return sentinel


def test_sentinel(sentinel: RedisServer, server: RedisServer, replica: RedisServer, loop_factory: LoopFactory) -> None:
    """The store finds the master through Sentinel, and the new one when it has died."""

    async def scenario() -> None:
        url = f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{sentinel.port}/main/0"
        async with aclosing(redis_store(url)) as store:
            assert store.name == "redis sentinel main"
            await usable(store)
            with replica.client() as client:
                async with asyncio.timeout(PATIENCE):
                    while client.get("hasten:{k:probe}") is None:
                        await asyncio.sleep(0.01)
                server.kill()
                with pytest.raises(StoreError):
                    await store.write("probe", b"lost", LONG)
                await usable(store)
                assert client.get("hasten:{k:probe}") == b"v"

    run(loop_factory, scenario())


# ---- Cluster


def keys_by_node(store: RedisStore) -> dict[str, list[str]]:
    """Return 30 keys by the node that has them."""
    nodes: dict[str, list[str]] = {}
    for number in range(30):
        node = store._servers.of(store._value_of(f"k{number}"))._server.name
        nodes.setdefault(node, []).append(f"k{number}")
    return nodes


@pytest.fixture
def cluster_store(redis_cluster_url: str) -> RedisStore:
    return redis_store(redis_cluster_url, prefix=f"{uuid4().hex}:")


def test_frozen_node_holds_up_nobody_else(
    cluster_store: RedisStore, loop_factory: LoopFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one node of a cluster stands still, the keys of the others are read; then its own are read again."""
    monkeypatch.setattr(_redis_batch, "ANSWER_WITHIN", 0.3)

    async def scenario() -> None:
        async with aclosing(cluster_store) as store:
            await store.read("k")  # finds the nodes
            nodes = keys_by_node(store)
            assert len(nodes) == 3
            keys = [key for keys in nodes.values() for key in keys]
            await asyncio.gather(*(store.write(key, key.encode(), LONG) for key in keys))
            frozen = next(iter(nodes))
            with redis.Redis.from_url(f"redis://{frozen.removeprefix('redis ')}", protocol=2) as client:
                client.client_pause(1000)
                answers = await asyncio.gather(*(store.read(key) for key in keys), return_exceptions=True)
            for key, answer in zip(keys, answers, strict=True):
                if key in nodes[frozen]:
                    assert isinstance(answer, StoreError)
                else:
                    assert not isinstance(answer, BaseException)
                    assert answer.payload == key.encode()
            async with asyncio.timeout(PATIENCE):
                while True:
                    with suppress(StoreError):
                        reads = await asyncio.gather(*(store.read(key) for key in keys))
                        break
            assert [read.payload for read in reads] == [key.encode() for key in keys]

    run(loop_factory, scenario())


def test_idle_connections_of_a_cluster(cluster_store: RedisStore, loop_factory: LoopFactory) -> None:
    """Connections that a node has closed for being idle are replaced without a failure."""

    async def scenario() -> None:
        async with aclosing(cluster_store) as store:
            await store.read("k")
            nodes = keys_by_node(store)
            await asyncio.gather(*(store.write(key, b"v", LONG) for keys in nodes.values() for key in keys))
            for node in nodes:
                with redis.Redis.from_url(f"redis://{node.removeprefix('redis ')}", protocol=2) as client:
                    client.client_kill_filter(_type="normal", skipme=True)
            for keys in nodes.values():
                for key in keys:
                    assert (await store.read(key, ["x", "y"])).payload == b"v"
                    assert await store.lease(key, LONG) is not None

    run(loop_factory, scenario())


def test_cluster_that_is_gone(server: RedisServer, loop_factory: LoopFactory) -> None:
    """A cluster that cannot be reached, or is none, is a StoreError for every call, and none of them hangs."""

    async def scenario() -> None:
        # The second one is there, but no cluster.
        async with aclosing(redis_store(f"redis+cluster://127.0.0.1:{free_port()},127.0.0.1:{server.port}")) as store:
            for question in (
                store.read("k", ["tag"]),
                store.lease("k", LONG, ["tag"]),
                store.write("k", b"v", LONG),
                store.invalidate(["k"], ["tag"]),
            ):
                with pytest.raises(StoreError, match="redis cluster"):
                    await question

    run(loop_factory, scenario())


def test_slot_that_moves(start: Start, loop_factory: LoopFactory) -> None:
    """When a slot has moved to another node, the store follows."""

    async def scenario() -> None:
        first, second = (start("--cluster-enabled", "yes", "--cluster-node-timeout", "1000") for _ in range(2))
        await form(first, second)
        async with aclosing(redis_store(f"redis+cluster://127.0.0.1:{first.port}")) as store:
            assert await store.write("key", b"v", LONG)
            with first.client() as one, second.client() as two:
                slot, name = ask(one, "KEYSLOT", "k:key"), ask(two, "MYID")
                one.flushall()
                for client in (two, one):
                    ask(client, "SETSLOT", slot, "NODE", name)
            lease = await store.lease("key", LONG, ["tag"])
            assert lease is not None
            assert await store.write("key", b"moved", LONG, lease.token)
            assert (await store.read("key", ["tag"])).payload == b"moved"
            with second.client() as two:
                assert two.get("hasten:{k:key}") == b"moved"

    run(loop_factory, scenario())


def test_node_that_dies_and_comes_back_elsewhere(start: Start, loop_factory: LoopFactory) -> None:
    """When a node is gone its keys are StoreErrors; when another one has its slots, the store finds it by itself."""

    async def scenario() -> None:
        first, second = (start("--cluster-enabled", "yes", "--cluster-node-timeout", "1000") for _ in range(2))
        await form(first, second)
        async with aclosing(redis_store(f"redis+cluster://127.0.0.1:{first.port},127.0.0.1:{second.port}")) as store:
            assert await store.write("probe", b"v", LONG)
            first.kill()
            with pytest.raises(StoreError):
                await store.read("probe")
            with second.client() as two:
                ask(two, "DELSLOTS", *range(16384))
                ask(two, "ADDSLOTS", *range(16384))
            await usable(store)
            assert (await store.read("probe")).payload == b"v"

    run(loop_factory, scenario())


async def form(first: RedisServer, second: RedisServer) -> None:
    """Make a cluster of two nodes in which the first one has all slots but the last."""
    with first.client() as one, second.client() as two:
        ask(one, "ADDSLOTS", *range(16383))
        ask(two, "ADDSLOTS", 16383)
        ask(two, "SET-CONFIG-EPOCH", 2)
        ask(one, "MEET", "127.0.0.1", second.port)
        async with asyncio.timeout(PATIENCE):
            while not all(ask(client, "INFO")["cluster_state"] == "ok" for client in (one, two)):
                await asyncio.sleep(0.05)


def ask(client: Any, *words: object) -> Any:
    return client.execute_command(f"CLUSTER {words[0]}", *words[1:])
