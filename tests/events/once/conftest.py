"""The adapters of `once=`, each where it remembers."""

from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from tests.events.databases import KINDS, database_for_test
from tests.events.once.places import Place, TablePlace, place_of

CLAIMING = ("memory", "redis", "redis-cluster")


@dataclass(frozen=True)
class Adapter:
    """One adapter in one test.

    Attributes:
      kind, where, name: What `place_of` makes the place from.
    """

    kind: str
    where: str
    name: str

    async def place(self) -> Place:
        """Return what a process has."""
        place = place_of(self.kind, self.where, self.name)
        if isinstance(place, TablePlace):
            await place.create()
        return place

    @property
    def notes_with_the_effect(self) -> bool:
        """Whether both are in one transaction."""
        return self.kind in KINDS


def _make(kind: str, request: pytest.FixtureRequest, folder: Path) -> Adapter:
    name = uuid4().hex[:12]
    if kind == "memory":
        return Adapter(kind, str(folder / "effects"), name)
    if kind.startswith("redis"):
        url = request.getfixturevalue("redis_url" if kind == "redis" else "redis_cluster_url")
        return Adapter(kind, f"{url} {folder / 'effects'}", name)
    return Adapter(kind, database_for_test(kind, folder).place, name)


@pytest.fixture(params=[*CLAIMING, *KINDS])
def adapter(request: pytest.FixtureRequest, tmp_path: Path) -> Adapter:
    """Each adapter."""
    return _make(request.param, request, tmp_path)


@pytest.fixture(params=[*CLAIMING[1:], *KINDS])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Adapter:
    """Each adapter that several processes may use."""
    return _make(request.param, request, tmp_path)


@pytest.fixture(params=CLAIMING)
def claiming(request: pytest.FixtureRequest, tmp_path: Path) -> Adapter:
    """Each adapter that keeps others away by claims."""
    return _make(request.param, request, tmp_path)
