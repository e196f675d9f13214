"""What a SIGKILL leaves: exactly one effect where the note is part of it, at least one where it is not."""

import asyncio
import signal
import sys

import pytest

from tests.events.brokers.adapter import run
from tests.events.once.conftest import Adapter


async def work(adapter: Adapter, point: str, *ids: str) -> int:
    """Have a process handle messages; return its exit code."""
    arguments = [adapter.kind, adapter.where, adapter.name, point, *ids]
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.events.once.worker", *arguments)
    return await process.wait()


@pytest.mark.parametrize("point", ["before", "happened", "noted"])
def test_killed(adapter: Adapter, point: str) -> None:
    """A consumer is killed, and the message comes again: to the effect in a transaction of its own nothing is added.

    Memory forgets with its process; Redis knows what was noted, and not what happened just before.
    """
    twice = {"memory": {"happened", "noted"}, "redis": {"happened"}, "redis-cluster": {"happened"}}

    async def scenario() -> None:
        place = await adapter.place()
        assert await work(adapter, point, "a", "b") == -signal.SIGKILL
        had = await place.effects()
        committed = point == "noted" or (point == "happened" and not adapter.notes_with_the_effect)
        assert had["b"] == int(committed)
        assert await work(adapter, "never", "b") == 0
        assert (await place.effects())["b"] == (2 if point in twice.get(adapter.kind, ()) else 1)
        await place.aclose()

    run(scenario())


def test_several_processes(shared: Adapter) -> None:
    """Processes that get the same messages at the same time, and one that is killed, have each effect once.

    The one that dies does so before its last effect, so that it has left no effect without a note.
    """

    async def scenario() -> None:
        place, ids = await shared.place(), [f"id-{number}" for number in range(20)]
        points = ["before", "never", "never"]
        codes = await asyncio.gather(*(work(shared, point, *ids) for point in points))
        assert sorted(codes) in ([-signal.SIGKILL, 0, 0], [0, 0, 0])  # another may have had its last one
        effects = await place.effects()
        lost_notes = 16 if codes[0] and not shared.notes_with_the_effect else 0  # under way beside the last one
        assert set(effects) == set(ids)
        assert sum(effects.values()) - len(ids) <= lost_notes
        await place.aclose()

    run(scenario())
