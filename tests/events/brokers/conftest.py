"""The brokers under the contract."""

from collections.abc import Callable

import pytest

from hasten.events.brokers.memory import MemoryBroker
from hasten.events.brokers.rabbitmq import rabbit_broker
from tests.events.brokers.adapter import Adapter


@pytest.fixture(scope="session")
def amqp_url(peer: Callable[[str], str]) -> str:
    """Return the URL of a real RabbitMQ that holds nothing anybody needs."""
    return peer("amqp-url")  # its variable is named like those of peers


@pytest.fixture(params=["memory", "rabbitmq"])
def adapter(request: pytest.FixtureRequest) -> Adapter:
    """A broker of each kind."""
    make: Adapter = request.getfixturevalue(f"{request.param}_adapter")
    return make


@pytest.fixture
def memory_adapter() -> Adapter:
    """The embedded broker; all connections of a test share one."""
    shared = MemoryBroker()
    return Adapter("memory", lambda: shared)


@pytest.fixture
def rabbitmq_adapter(amqp_url: str) -> Adapter:
    """A real RabbitMQ; tests do not see each other, for each has a topic of its own."""
    return Adapter("rabbitmq", lambda: rabbit_broker(amqp_url))
