"""Backplanes in memory and on a real Redis."""

import os
from collections.abc import Callable, Iterator
from itertools import count

import pytest
import redis

from hasten.cache._backplane import Backplane
from hasten.cache.backplanes import memory_backplanes
from hasten.cache.backplanes._redis_link import MARK, Names
from hasten.cache.backplanes.redis import RedisBackplane
from tests.cache.backplanes.servers import RedisServer, redis_server

PATIENT = 90.0
"""Seconds of trust with which a test that waits for it to be over fails by its time limit."""

QUICK = 0.5
"""Seconds of trust for tests that wait for it to be over."""

_namespaces = count(1)
Backplanes = Callable[..., list[Backplane]]
RedisBackplanes = Callable[..., list[RedisBackplane]]


@pytest.fixture
def namespace() -> str:
    """Return a namespace that nobody else uses."""
    return f"test-{os.getpid()}-{next(_namespaces)}"


def mark(client: "redis.Redis | redis.RedisCluster", namespace: str) -> None:
    """Let a namespace's set be as if somebody had been in it for long: nobody who has trust is missing."""
    client.zadd(Names.of(namespace).members, {MARK: 1})


def _in_memory(number: int, trust: float = PATIENT) -> list[Backplane]:
    return [*memory_backplanes(number, trust_seconds=trust)]


@pytest.fixture(params=["memory", "redis"])
def backplanes(request: pytest.FixtureRequest, namespace: str) -> Backplanes:
    """Return a function that makes so many backplanes of one cache, of each kind in turn."""
    if request.param == "memory":
        return _in_memory
    url = request.getfixturevalue("redis_url")
    with redis.Redis.from_url(url, protocol=2) as client:
        mark(client, namespace)
    return lambda number, trust=PATIENT: [RedisBackplane(url, namespace, trust_seconds=trust) for _ in range(number)]


@pytest.fixture(scope="module")
def own_server() -> Iterator[RedisServer]:
    """A redis-server of this module's own."""
    with redis_server() as server:
        yield server


@pytest.fixture
def server(own_server: RedisServer) -> Iterator[RedisServer]:
    """The module's redis-server, running, with a way to freeze or kill it."""
    yield own_server
    own_server.kill()
    own_server.start()


@pytest.fixture
def members_of(server: RedisServer, namespace: str) -> RedisBackplanes:
    """Return a function that makes so many backplanes on the module's server, in a set with a mark."""
    with server.client() as client:
        mark(client, namespace)
    url = server.url
    return lambda number, trust=QUICK: [RedisBackplane(url, namespace, trust_seconds=trust) for _ in range(number)]
