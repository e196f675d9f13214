"""Cancelling what waits for Memcached."""

import asyncio
import signal
from contextlib import aclosing

import pytest

from hasten.cache._store import Read
from hasten.cache.stores.memcached import MemcachedStore
from tests.cache.running import passes, run
from tests.cache.stores.test_memcached_servers import Server, servers, until_it_works
from tests.conftest import LoopFactory


def test_cancelled_reader(loop_factory: LoopFactory) -> None:
    """Cancelling one reader of a batch, before it is sent or after, leaves the others their answers."""

    async def scenario(server: Server, wait: int) -> None:
        async with aclosing(MemcachedStore([server.address])) as store:
            for index in range(10):
                await store.write(f"key{index}", b"%d" % index, 60)
            reads = [asyncio.create_task(store.read(f"key{index}", ["tag"])) for index in range(10)]
            await passes(wait)
            reads[3].cancel()
            answers = await asyncio.gather(*reads, return_exceptions=True)
            assert isinstance(answers.pop(3), asyncio.CancelledError)
            assert [answer.payload for answer in answers if isinstance(answer, Read)] == [
                b"%d" % index for index in range(10) if index != 3
            ]

    with servers(1) as (server,):
        for wait in range(4):
            run(loop_factory, scenario(server, wait))


@pytest.mark.parametrize("count", [1, 2])
def test_nobody_gets_anothers_reply(count: int, loop_factory: LoopFactory) -> None:
    """Calls that were cancelled while the servers stood still leave no reply for those who come after."""

    async def scenario(started: list[Server]) -> None:
        async with aclosing(MemcachedStore([server.address for server in started])) as store:
            keys = [f"key{index}" for index in range(50)]
            await asyncio.gather(*(store.write(key, key.encode(), 60) for key in keys))
            for server in started:
                server.signal(signal.SIGSTOP)
            calls = [asyncio.create_task(store.read(key, ["one", "two"])) for key in keys]
            calls += [asyncio.create_task(store.lease(f"new{key}", 60)) for key in keys]  # type: ignore[arg-type]
            calls += [asyncio.create_task(store.invalidate([f"no{key}"], ["one"])) for key in keys]  # type: ignore[arg-type]
            await passes(20)
            for call in calls:
                call.cancel()
            answers = await asyncio.gather(*calls, return_exceptions=True)
            assert {type(answer) for answer in answers} == {asyncio.CancelledError}
            for server in started:
                server.signal(signal.SIGCONT)
            for index in range(10):
                await until_it_works(store, f"again{index}")
            for _ in range(3):
                found = await asyncio.gather(*(store.read(key) for key in keys))
                assert [read.payload for read in found] == [key.encode() for key in keys]

    with servers(count) as started:
        run(loop_factory, scenario(started))


def test_cancelled_write(loop_factory: LoopFactory) -> None:
    """A write under a lease that was cancelled, and arrives when the key was invalidated, writes nothing."""

    async def scenario(server: Server) -> None:
        async with aclosing(MemcachedStore([server.address])) as store:
            lease = await store.lease("key", 60)
            assert lease is not None
            for _ in range(20):
                write = asyncio.create_task(store.write("key", b"late", 60, lease.token))
                await passes(1)
                write.cancel()
                await asyncio.gather(write, return_exceptions=True)
            await store.invalidate(["key"])
            assert await store.read("key") == Read(None)
            assert not await store.write("key", b"late", 60, lease.token)

    with servers(1) as (server,):
        run(loop_factory, scenario(server))
