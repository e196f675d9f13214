"""Memcached servers that die, stand still, start anew and are several."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path

import pytest

from hasten.cache._store import UNKNOWN, Read, StoreError, StoreTimeout
from hasten.cache.stores import _memcached_node
from hasten.cache.stores.memcached import MemcachedStore
from tests.cache.backplanes.servers import free_port
from tests.cache.running import run
from tests.conftest import LoopFactory

TIMEOUT = 0.3


def _stands(stat: Path) -> bool:
    """Tell whether a thread is stopped."""
    return stat.read_text().rpartition(")")[2].split()[0] == "T"


class Server:
    """A Memcached process on a free port, which can be ended, started again and stopped."""

    def __init__(self) -> None:
        self.port = free_port()
        self.address = "127.0.0.1", self.port
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        command = ["memcached", "-l", "127.0.0.1", "-p", str(self.port), "-U", "0", "-m", "16", "-t", "1"]
        if os.geteuid() == 0:
            command += ["-u", "root"]
        self._process = subprocess.Popen(command)
        while self._process.poll() is None and not self._listens():
            time.sleep(0.01)

    def _listens(self) -> bool:
        try:
            socket.create_connection(self.address).close()
        except ConnectionRefusedError:
            return False
        return True

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; when it is SIGSTOP, return when all of its threads stand."""
        assert self._process is not None
        self._process.send_signal(number)
        threads = Path(f"/proc/{self._process.pid}/task")
        while number == signal.SIGSTOP and not all(_stands(thread / "stat") for thread in threads.iterdir()):
            time.sleep(0.001)

    def end(self) -> None:
        """Kill it, and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def servers(count: int) -> Iterator[list[Server]]:
    """Start so many; skip the test, or fail it where every server is required, without Memcached."""
    if shutil.which("memcached") is None:
        reason = "memcached is not installed"
        if os.environ.get("HASTEN_REQUIRE_SERVICES", "") not in {"", "0"}:
            pytest.fail(reason)
        pytest.skip(reason)
    started = [Server() for _ in range(count)]
    try:
        for server in started:
            server.start()
        yield started
    finally:
        for server in started:
            server.end()


@pytest.fixture
def server() -> Iterator[Server]:
    """Return a running server that the test may do anything to."""
    with servers(1) as started:
        yield started[0]


async def until_it_works(store: MemcachedStore, key: str) -> None:
    """Write until the store does."""
    while True:
        try:
            async with asyncio.timeout(0.05):  # as a cache asks
                await store.write(key, b"again", 60)
                return
        except (StoreError, TimeoutError):
            await asyncio.sleep(0)


def test_server_is_killed(server: Server, loop_factory: LoopFactory) -> None:
    """While the server is gone everything raises StoreError within the timeout; when it is back the store works."""

    async def scenario() -> None:
        async with aclosing(MemcachedStore([server.address], timeout=TIMEOUT)) as store:
            await store.write("key", b"value", 60)
            await asyncio.to_thread(server.end)
            calls = (
                store.read("key", ["tag"]),
                store.lease("key", 1),
                store.write("key", b"", 1),
                store.write("key", b"", 1, b"token"),
                store.release("key", b"token"),
                store.invalidate(["key"]),
                store.invalidate([], ["tag"]),
            )
            async with asyncio.timeout(10):
                answers = await asyncio.gather(*calls, return_exceptions=True)
            assert all(isinstance(answer, StoreError) for answer in answers)
            await asyncio.to_thread(server.start)
            async with asyncio.timeout(10):
                await until_it_works(store, "key")
            assert (await store.read("key")).payload == b"again"

    run(loop_factory, scenario())


def test_dead_for_long(server: Server, loop_factory: LoopFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that was gone for many tries is found again at once, not after a backoff that they have made long."""
    monkeypatch.setattr(_memcached_node, "CONNECT_SECONDS", 0.01)

    async def scenario() -> None:
        async with aclosing(MemcachedStore([server.address], timeout=0.02)) as store:
            await asyncio.to_thread(server.end)
            for _ in range(30):
                with pytest.raises(StoreError):
                    await store.read("key")
            await asyncio.to_thread(server.start)
            async with asyncio.timeout(10):
                await until_it_works(store, "key")

    run(loop_factory, scenario())


def test_server_stands_still(server: Server, loop_factory: LoopFactory) -> None:
    """A server that does not answer costs the timeout, is not mistaken later, and is used again when it goes on."""

    async def scenario() -> None:
        async with aclosing(MemcachedStore([server.address], timeout=TIMEOUT)) as store:
            await asyncio.gather(*(store.write(f"key{index}", b"%d" % index, 60) for index in range(20)))
            server.signal(signal.SIGSTOP)
            async with asyncio.timeout(10):
                answers = await asyncio.gather(
                    *(store.read(f"key{index}") for index in range(20)), store.lease("key", 9), return_exceptions=True
                )
            assert {type(answer) for answer in answers} == {StoreTimeout}
            server.signal(signal.SIGCONT)
            async with asyncio.timeout(10):
                await until_it_works(store, "again")
            found = await asyncio.gather(*(store.read(f"key{index}") for index in range(20)))
            assert found == [Read(b"%d" % index) for index in range(20)]

    run(loop_factory, scenario())


def test_each_gets_an_error_of_its_own(server: Server, loop_factory: LoopFactory) -> None:
    """Readers of one batch that fails do not share an exception."""

    async def scenario() -> None:
        async with aclosing(MemcachedStore([server.address], timeout=TIMEOUT)) as store:
            await asyncio.to_thread(server.end)
            first, second = await asyncio.gather(store.read("a"), store.read("b"), return_exceptions=True)
            assert isinstance(first, StoreError)
            assert isinstance(second, StoreError)
            assert first is not second
            assert str(first) == str(second) == f"{store.name}: no answer within 0.3 s"

    run(loop_factory, scenario())


def test_restart(server: Server, loop_factory: LoopFactory) -> None:
    """After a restart tags are not known, their versions go on growing, and a lease from before writes nothing.

    The new server gives cas ids from the start again: the other's lease has the one that the old lease had.
    """

    async def scenario() -> None:
        async with aclosing(MemcachedStore([server.address], timeout=TIMEOUT)) as store:
            lease = await store.lease("key", 60, ["tag"])
            assert lease is not None
            (raised,) = await store.invalidate([], ["tag"])
            await asyncio.to_thread(server.end)
            await asyncio.to_thread(server.start)
            async with asyncio.timeout(10):
                await until_it_works(store, "other")
            assert await store.read("key", ["tag"]) == Read(None, (UNKNOWN,))
            assert not await store.write("key", b"late", 60, lease.token)
            other = await store.lease("key", 60, ["tag"])
            assert other is not None
            assert not await store.write("key", b"late", 60, lease.token)
            assert other.versions > (raised,)
            assert await store.write("key", b"new", 60, other.token)

    run(loop_factory, scenario())


def test_several_servers(loop_factory: LoopFactory) -> None:
    """Keys and tags spread over the servers, are found by every process whatever order it names them in, and one read
    has its key and tags from all of them."""

    async def scenario(started: list[Server]) -> None:
        addresses = [server.address for server in started]
        async with aclosing(MemcachedStore(addresses)) as ours, aclosing(MemcachedStore(addresses[::-1])) as theirs:
            tags = [f"tag{index}" for index in range(10)]
            lease = await ours.lease("key", 60, tags)
            assert lease is not None
            assert await ours.write("key", b"value", 60, lease.token)
            assert await theirs.read("key", tags) == Read(b"value", lease.versions)
            await asyncio.gather(*(ours.write(f"key{index}", b"%d" % index, 60) for index in range(100)))
            found = await asyncio.gather(*(theirs.read(f"key{index}") for index in range(100)))
            assert found == [Read(b"%d" % index) for index in range(100)]
            assert {ours._node(b"k:key%d" % index) for index in range(100)} == set(ours._nodes)
            raised = await theirs.invalidate([f"key{index}" for index in range(100)], tags)
            assert (await ours.read("key50", tags)) == Read(None, raised)

    with servers(3) as started:
        run(loop_factory, scenario(started))


def test_one_of_several_is_gone(loop_factory: LoopFactory) -> None:
    """The keys of a server that is gone fail, and are not looked for elsewhere; all others work as before."""

    async def scenario(started: list[Server]) -> None:
        async with aclosing(MemcachedStore([server.address for server in started], timeout=TIMEOUT)) as store:
            keys = [f"key{index}" for index in range(40)]
            await asyncio.gather(*(store.write(key, b"value", 60) for key in keys))
            await asyncio.to_thread(started[0].end)
            dead = store._nodes[0]
            answers = await asyncio.gather(*(store.read(key) for key in keys), return_exceptions=True)
            for key, answer in zip(keys, answers, strict=True):
                if store._node(store._item_key(key)) is dead:
                    assert isinstance(answer, StoreError)
                else:
                    assert answer == Read(b"value")
            with pytest.raises(StoreError):
                await store.invalidate(keys)
            alive = [key for key in keys if store._node(store._item_key(key)) is not dead]
            assert {(await store.read(key)).payload for key in alive} == {None}  # what could be done, is done

    with servers(2) as started:
        run(loop_factory, scenario(started))


def test_nobody_listens(loop_factory: LoopFactory) -> None:
    """A store whose server was never there raises StoreError, and closes."""

    async def scenario() -> None:
        async with aclosing(MemcachedStore([("127.0.0.1", free_port())], timeout=0.05)) as store:
            with pytest.raises(StoreError, match="no answer within"):
                await store.read("key")

    run(loop_factory, scenario())


def test_closed(server: Server, loop_factory: LoopFactory) -> None:
    """Closing fails what is under way, and a closed store raises StoreError; a store that was never used closes too."""

    async def scenario() -> None:
        async with aclosing(MemcachedStore([server.address], timeout=5)) as store:
            await store.write("key", b"value", 60)
            server.signal(signal.SIGSTOP)
            reads = [asyncio.create_task(store.read(f"key{index}")) for index in range(3)]
            await until(lambda: bool(store._nodes[0]._tasks))
            late = asyncio.create_task(store.read("late"))
            await asyncio.sleep(0)
            async with asyncio.timeout(10):
                await store.aclose()
                answers = await asyncio.gather(*reads, late, return_exceptions=True)
            assert {str(answer) for answer in answers} == {f"{store.name}: closed"}
            for call in (store.read("key"), store.lease("key", 1), store.invalidate(["key"])):
                with pytest.raises(StoreError, match="closed"):
                    await call
        await MemcachedStore([server.address]).aclose()

    run(loop_factory, scenario())


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until a condition holds."""
    while not condition():
        await asyncio.sleep(0)
