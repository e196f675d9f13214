"""What the tests of rules share."""

from collections.abc import Callable

import pytest


@pytest.fixture(scope="session")
def promtool(peer: Callable[[str], str]) -> str:
    """Return the path of promtool."""
    return peer("promtool")
