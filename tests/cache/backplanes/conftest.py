"""Backplanes in memory and on a real Redis."""

import os
import shutil
from collections.abc import Callable, Iterator
from itertools import count

import pytest

from hasten.cache._backplane import Backplane
from hasten.cache.backplanes import memory_backplanes
from hasten.cache.backplanes._redis_session import Periods
from hasten.cache.backplanes.redis import RedisBackplane
from tests.cache.backplanes.servers import RedisServer

PATIENT = Periods(trust=90.0, untrusted=90.0)
"""With these a test that waits for a member to be waited out fails by its time limit."""

QUICK = Periods(trust=0.5, untrusted=0.4, settle=1.0)

_namespaces = count(1)
Backplanes = Callable[..., list[Backplane]]
RedisBackplanes = Callable[..., list[RedisBackplane]]


@pytest.fixture
def namespace() -> str:
    """Return a namespace that nobody else uses."""
    return f"test-{os.getpid()}-{next(_namespaces)}"


def _in_memory(number: int, periods: Periods = PATIENT) -> list[Backplane]:
    return [*memory_backplanes(number, trust_seconds=periods.trust, untrusted_seconds=periods.untrusted)]


@pytest.fixture(params=["memory", "redis"])
def backplanes(request: pytest.FixtureRequest, namespace: str) -> Backplanes:
    """Return a function that makes so many backplanes of one cache, of each kind in turn."""
    if request.param == "memory":
        return _in_memory
    url = request.getfixturevalue("redis_url")
    return lambda number, periods=PATIENT: [RedisBackplane(url, namespace, periods=periods) for _ in range(number)]


@pytest.fixture(scope="module")
def own_server() -> Iterator[RedisServer]:
    """A redis-server of this module's own."""
    if shutil.which("redis-server") is None:
        if os.environ.get("HASTEN_REQUIRE_SERVICES", "") not in {"", "0"}:
            pytest.fail("no redis-server")
        pytest.skip("no redis-server")
    server = RedisServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def server(own_server: RedisServer) -> Iterator[RedisServer]:
    """The module's redis-server, running, with a way to freeze or kill it."""
    yield own_server
    own_server.kill()
    own_server.start()


@pytest.fixture
def members_of(server: RedisServer, namespace: str) -> RedisBackplanes:
    """Return a function that makes so many backplanes on the module's server, with short periods."""
    return lambda number, periods=QUICK: [RedisBackplane(server.url, namespace, periods=periods) for _ in range(number)]
