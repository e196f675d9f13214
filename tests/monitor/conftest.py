"""The Prometheus and the Alertmanager that all tests of a session share; see tests/monitor/prometheus.py."""

from collections.abc import Callable, Iterator

import pytest

from tests.monitor.prometheus import Alertmanager, Prometheus, alertmanager_at, prometheus_at


@pytest.fixture(scope="session")
def alertmanager(peer: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alertmanager]:
    """Return a real Alertmanager; it sends alerts to nobody until a test opens a `webhook`."""
    place = peer("prometheus-alertmanager")
    with alertmanager_at(place, tmp_path_factory.mktemp("alertmanager")) as running:
        yield running


@pytest.fixture(scope="session")
def prometheus(
    peer: Callable[[str], str], alertmanager: Alertmanager, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """Return a real Prometheus with exemplar storage; it scrapes what tests tell it to."""
    address = alertmanager.url.removeprefix("http://")
    with prometheus_at(peer("prometheus"), tmp_path_factory.mktemp("prometheus"), address) as running:
        yield running
