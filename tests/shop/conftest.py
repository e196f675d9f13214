"""One running shop per edition for all tests of this folder."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from examples.shop.data import ensure
from tests.shop.running import Shop, launch


@pytest.fixture(scope="session")
def data_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh data set that no test changes."""
    path = tmp_path_factory.mktemp("data") / "shop.sqlite"
    ensure(path)
    return path


@pytest.fixture(scope="session", params=["slow", "fast"])
def edition(request: pytest.FixtureRequest) -> str:
    """The editions that must answer alike."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def shop(edition: str, data_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The edition, running as real processes on a copy of the data set."""
    database = tmp_path_factory.mktemp(edition) / "shop.sqlite"
    shutil.copy(data_set, database)
    launched = launch(["-m", "examples.shop", edition, "--port", "0", "--database", str(database)])
    try:
        with httpx.Client(base_url=launched.url, timeout=20) as http:
            yield Shop(http, database)
    finally:
        code = launched.stop()
    assert code == 0
