"""One running shop per edition for all tests of this folder."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from examples.shop.data import ensure
from tests.cache.backplanes.servers import RedisServer, redis_server
from tests.shop.running import Shop, launch


@pytest.fixture(scope="session")
def data_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh data set that no test changes."""
    path = tmp_path_factory.mktemp("data") / "shop.sqlite"
    ensure(path)
    return path


@pytest.fixture(scope="session", params=["slow", "fast", "fast with Redis"])
def shop(request: pytest.FixtureRequest, data_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """An edition, running as real processes on a copy of the data set; all of them must answer alike."""
    edition, _, with_redis = request.param.partition(" ")
    redis = request.getfixturevalue("redis_url") if with_redis else ""
    database = tmp_path_factory.mktemp(edition) / "shop.sqlite"
    shutil.copy(data_set, database)
    launched = launch(["-m", "examples.shop", edition, "--port", "0", "--database", str(database)], redis)
    try:
        with httpx.Client(base_url=launched.url, timeout=20) as http:
            yield Shop(http, database)
    finally:
        code = launched.stop()
    assert code == 0


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A redis-server that the test may kill and freeze."""
    with redis_server() as server:
        yield server
