"""What tests of Kafka share."""

from collections.abc import Callable, Iterator

import pytest

from hasten.events.brokers.kafka import KafkaBroker, kafka_broker
from tests.events.brokers.kafka.own import OwnKafka, certificates_in, with_second_door
from tests.own_servers import own_server

Connect = Callable[..., KafkaBroker]
"""Makes a broker with options of librdkafka's: `connect(linger_ms=5)`."""


def url_with(url: str, **options: object) -> str:
    """Return a URL with options; `_` stands for `.` in their names."""
    text = "&".join(f"{name.replace('_', '.')}={value}" for name, value in options.items())
    return f"{url}?{text}" if text else url


@pytest.fixture
def connect(kafka_url: str) -> Connect:
    """Return a function that makes a broker, not started."""
    return lambda **options: kafka_broker(url_with(kafka_url, **options))


@pytest.fixture(scope="package")
def own_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnKafka]:
    """A node that tests may end and freeze; it runs before and after each."""
    certificates = certificates_in(tmp_path_factory.mktemp("certificates"))
    folder = tmp_path_factory.mktemp("own")
    with own_server(with_second_door(certificates, folder / "identity.pem"), folder / "kafka") as running:
        yield OwnKafka(running, certificates)
