"""Fixtures for the tests of the whole cache."""

from collections.abc import Iterator

import pytest

from tests.cache.backplanes.servers import RedisServer, redis_server


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """Return a redis-server of the test's own, which it may freeze."""
    with redis_server() as server:
        yield server
