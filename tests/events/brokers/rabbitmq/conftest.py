"""A RabbitMQ of these tests' own, which they may kill and starve."""

from collections.abc import Iterator

import pytest

from servers import RABBITMQ, Running
from tests.own_servers import own_server


@pytest.fixture(scope="package")
def own_rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A node that runs before and after each test."""
    with own_server(RABBITMQ, tmp_path_factory.mktemp("own") / "rabbitmq") as server:
        yield server
