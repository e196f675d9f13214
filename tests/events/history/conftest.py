"""The brokers whose histories are written; these tests end them, and starve them."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from hasten.events.brokers._amqp_topology import YOUNG_SECONDS
from hasten.events.brokers._kafka_commits import MOST_UNCOMMITTED
from servers import KAFKA, RABBITMQ, Running
from tests.events.history.worker import CONCURRENCY
from tests.own_servers import own_server

SESSION_SECONDS = 3.0
"""After so long Kafka gives the partitions of a member that is silent to others."""


@dataclass(frozen=True)
class Subject:
    """A broker of these tests' own.

    Attributes:
      url: For a bus.
      again_within: Seconds in which consumers must go on when it is there again.
      in_flight: Messages of a group that a process may have handled, or be handling, and the broker does not know it.
      young: Seconds until what was made in it survives its being killed.
    """

    name: str
    running: Running
    url: str
    again_within: float
    in_flight: int
    young: float = 0.0


@pytest.fixture(scope="package")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    """A RabbitMQ."""
    with own_server(RABBITMQ, tmp_path_factory.mktemp("own") / "rabbitmq") as running:
        yield Subject("rabbitmq", running, running.url, 2.0, CONCURRENCY, YOUNG_SECONDS)


@pytest.fixture(scope="package")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    """A Kafka."""
    with own_server(KAFKA, tmp_path_factory.mktemp("own") / "kafka") as running:
        url = f"kafka://{running.url}?session.timeout.ms={SESSION_SECONDS * 1000:.0f}&heartbeat.interval.ms=500"
        yield Subject("kafka", running, url, 2.0 + SESSION_SECONDS, CONCURRENCY + MOST_UNCOMMITTED)


@pytest.fixture(params=["rabbitmq", "kafka"])
def broker(request: pytest.FixtureRequest) -> Subject:
    """A broker of each kind."""
    subject: Subject = request.getfixturevalue(request.param)
    return subject
