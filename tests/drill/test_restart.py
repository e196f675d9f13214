"""Rolling restarts: what the drill measures, and how it counts."""

import asyncio
from pathlib import Path

import pytest

from hasten.drill import Stage
from hasten.drill.drills._restart import RESTART, Clients
from tests.drill.measuring import measures_of


@pytest.mark.may_block
@pytest.mark.timeout(120)
def test_quick(tmp_path: Path) -> None:
    """Each kind of client has its losses, with uvicorn's beside them: ours lose none; both servers have ended."""
    stage = Stage(folder=tmp_path, quick=True)
    measures = measures_of(RESTART, stage, services=2)
    for measure, kind in zip(
        measures, ("connections in use", "connections that were idle", "gRPC channels"), strict=True
    ):
        assert measure.promise.startswith("lost of ")
        assert measure.promise.endswith(f"requests on {kind}, rolling restarts: 1")
        assert measure.measured == 0.0
        assert measure.beside_measured is not None


def test_what_is_lost() -> None:
    """A call that fails, however, is lost; the next one is made all the same."""
    failures: list[Exception | None] = [None, OSError("reset"), None, TimeoutError(), RuntimeError("any other")]
    clients = Clients(name="test", peer="", shortest=0.0, longest=0.0)

    async def call() -> str:
        failure = failures[clients.made - 1]
        if clients.made == len(failures):
            clients.stopped.set()
        if failure is not None:
            raise failure
        return "done"

    asyncio.run(clients.drive(call, 1))
    assert (clients.made, clients.lost) == (5, 3)
