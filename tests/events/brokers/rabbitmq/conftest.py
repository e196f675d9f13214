"""A RabbitMQ of these tests' own, which they may kill and starve."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from servers import RABBITMQ, Running
from tests.own_servers import own_server

_HERE = Path(__file__).parent


@pytest.fixture(scope="package")
def own_rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A node that runs before and after each test."""
    with own_server(RABBITMQ, tmp_path_factory.mktemp("own") / "rabbitmq") as server:
        yield server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave these to `make soak`: they end servers and wait for them to be back."""
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.soak)
