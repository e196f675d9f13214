"""The brokers under the contract."""

import pytest

from hasten.events.brokers.memory import MemoryBroker
from tests.events.brokers.adapter import Adapter


@pytest.fixture
def adapter() -> Adapter:
    """A broker of each kind."""
    shared = MemoryBroker()
    return Adapter("memory", lambda: shared)
