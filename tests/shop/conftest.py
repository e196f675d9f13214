"""One running shop per edition for all tests of this folder."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

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


BROKERS = {"RabbitMQ": "amqp_url", "Kafka": "kafka_url"}


@pytest.fixture(scope="session", params=["slow", "fast", "fast with Redis"])
def shop(request: pytest.FixtureRequest, data_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """An edition, running as real processes on a copy of the data set; all of them must answer alike.

    All but the slow one have two storefronts, so that one of them shows what the other one has sold. A test may order,
    and make Redis ill, but not leave it so. "peers" and those with a broker, as "fast with Kafka", are for those tests
    that ask for them.
    """
    edition, _, server = request.param.partition(" with ")
    database = Path(shutil.copy(data_set, tmp_path_factory.mktemp(edition) / "shop.sqlite"))
    count = "1" if edition == "slow" else "2"
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server()) if server == "Redis" else None
        broker = request.getfixturevalue(BROKERS[server]) if server in BROKERS else ""
        command = ["-m", "examples.shop", edition, "--port", "0", "--storefronts", count, "--database", str(database)]
        launched = launch(command, redis.url if redis else "", broker, f"orders.{uuid4().hex[:12]}")
        try:
            with httpx.Client(base_url=launched.url, timeout=20) as http:
                yield Shop(http, database, launched.urls, redis)
        finally:
            code = launched.stop()
        assert code == 0


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A redis-server that the test may kill and freeze."""
    with redis_server() as server:
        yield server
