"""The collector of a test."""

from collections.abc import Iterator

import pytest

from tests.monitor.otel.collector import Collector, collecting


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Return a collector that runs."""
    with collecting() as running:
        yield running
