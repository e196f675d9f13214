"""The brokers under the contract."""

from pathlib import Path

import pytest
import uvloop

from hasten.events.brokers.memory import MemoryBroker
from hasten.events.brokers.rabbitmq import rabbit_broker
from tests.events.brokers import adapter as adapter_module
from tests.events.brokers.adapter import Adapter


@pytest.fixture(params=["memory", "file", "rabbitmq", "rabbitmq uvloop", "kafka", "kafka uvloop"])
def adapter(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Adapter:
    """A broker of each kind, those with connections on both loops."""
    name, _, loop = request.param.partition(" ")
    if loop:
        monkeypatch.setattr(adapter_module, "loop_factory", uvloop.new_event_loop)
    made: Adapter = request.getfixturevalue(f"{name}_adapter")
    return made


@pytest.fixture
def memory_adapter() -> Adapter:
    """The embedded broker; all connections of a test share one."""
    shared = MemoryBroker()
    return Adapter("memory", lambda: shared)


@pytest.fixture
def file_adapter(tmp_path: Path) -> Adapter:
    """The embedded broker with a file; the file is closed with the last bus, and opened again with the next."""
    shared = MemoryBroker(tmp_path / "events.db")
    return Adapter("file", lambda: shared)


@pytest.fixture
def rabbitmq_adapter(amqp_url: str) -> Adapter:
    """A real RabbitMQ; tests do not see each other, for each has a topic of its own."""
    return Adapter("rabbitmq", lambda: rabbit_broker(amqp_url))


@pytest.fixture
def kafka_adapter(kafka_url: str) -> Adapter:
    """A real Kafka; a topic keeps its messages for groups to come, so that nothing is unroutable."""
    from hasten.events.brokers.kafka import kafka_broker

    return Adapter("kafka", lambda: kafka_broker(kafka_url), knows_groups=False)
