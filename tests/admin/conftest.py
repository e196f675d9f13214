"""An admin port whose captures end when told."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.admin.capturing import Port, port


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Port]:
    with port(tmp_path) as found:
        yield found
