"""Fixtures for the tests of the whole cache."""

from collections.abc import Iterator

import pytest

from tests.cache.backplanes.servers import RedisServer


@pytest.fixture
def own_redis(redis_url: str) -> Iterator[RedisServer]:
    """Return a redis-server of the test's own, which it may freeze; skip where there are no servers."""
    assert redis_url
    server = RedisServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()
