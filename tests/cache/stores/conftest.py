"""The stores that the contract suite runs over, each test with keys and tags of its own in them."""

import asyncio
import importlib
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from hasten.cache._store import Lease, Read, Store
from hasten.cache.stores import _redis_batch, _redis_url
from hasten.cache.stores.memory import MemoryStore
from tests.conftest import LoopFactory

Run = Callable[[Callable[[], Awaitable[None]]], None]
"""Runs a coroutine function in an event loop, and closes the stores that it has made."""


PATIENT = 20.0
"""Seconds within which a server that is well answers, on a busy machine."""


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take no server for ill that is late: tests of ill ones have times of their own."""
    monkeypatch.setattr(_redis_batch, "ANSWER_WITHIN", PATIENT)
    monkeypatch.setattr(_redis_url, "CONNECT_SECONDS", PATIENT)


class OwnKeys(Store):
    """A store whose keys and tags are a test's own: they begin with its prefix."""

    def __init__(self, store: Store, prefix: str) -> None:
        self.store = store
        self.name = store.name
        self.timeout = store.timeout
        self._prefix = prefix

    def _own(self, names: Sequence[str]) -> list[str]:
        return [self._prefix + name for name in names]

    async def read(self, key: str, tags: Sequence[str] = ()) -> Read:
        return await self.store.read(self._prefix + key, self._own(tags))

    async def lease(self, key: str, seconds: float, tags: Sequence[str] = ()) -> Lease | None:
        return await self.store.lease(self._prefix + key, seconds, self._own(tags))

    async def write(self, key: str, payload: bytes, seconds: float, token: bytes | None = None) -> bool:
        return await self.store.write(self._prefix + key, payload, seconds, token)

    async def release(self, key: str, token: bytes) -> None:
        await self.store.release(self._prefix + key, token)

    async def invalidate(self, keys: Sequence[str] = (), tags: Sequence[str] = ()) -> tuple[int, ...]:
        return await self.store.invalidate(self._own(keys), self._own(tags))

    async def aclose(self) -> None:
        await self.store.aclose()


class Stores:
    """Makes stores that share a place, as the processes of a cluster do.

    Args:
      make: Makes one that is connected, or connects when it is used.
      lose_everything: Has the place forget its data, as if it had been started anew.
    """

    def __init__(self, make: Callable[[], Store], lose_everything: Callable[[], None]) -> None:
        self._make = make
        self.lose_everything = lose_everything
        self._prefix = f"{uuid4().hex}:"
        self._made: list[Store] = []

    def __call__(self) -> Store:
        store = self._make()
        store.timeout = PATIENT
        self._made.append(store)
        return OwnKeys(store, self._prefix)

    async def aclose(self) -> None:
        while self._made:
            await self._made.pop().aclose()


@pytest.fixture(params=["memory", "redis", "redis-cluster", "memcached"])
def stores(request: pytest.FixtureRequest) -> Stores:
    """Return a function that makes stores of one kind; the test runs once per kind."""
    if request.param == "memory":
        memory = MemoryStore()
        return Stores(lambda: memory, memory.lose_everything)
    module, maker, fixture, forget = {
        "redis": ("redis", "redis_store", "redis_url", "FLUSHALL"),
        "redis-cluster": ("redis", "redis_store", "redis_cluster_url", "FLUSHALL"),
        "memcached": ("memcached", "memcached_store", "memcached_url", "flush_all"),
    }[request.param]
    url = request.getfixturevalue(fixture)
    make = getattr(importlib.import_module(f"hasten.cache.stores.{module}"), maker)
    options = {"timeout": PATIENT} if module == "memcached" else {}
    return Stores(lambda: make(url, **options), lambda: tell_all(url, forget))


def tell_all(url: str, command: str) -> None:
    """Send a command to each server of a URL, and wait until it says OK."""
    for place in urlsplit(url).netloc.split(","):
        host, port = place.split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(f"{command}\r\n".encode())
            assert b"OK" in connection.recv(64)


@pytest.fixture
def run(loop_factory: LoopFactory, stores: Stores) -> Iterator[Run]:
    """Return a function that runs a scenario; the test runs once per kind of loop."""

    async def scene(scenario: Callable[[], Awaitable[None]]) -> None:
        try:
            await scenario()
        finally:
            await stores.aclose()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        yield lambda scenario: runner.run(scene(scenario))
