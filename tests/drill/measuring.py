"""Runs one drill, and sees that nothing of it is left."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from hasten.drill import Drill, Measure, Stage


def measures_of(drill: Drill, stage: Stage, *, services: int) -> Sequence[Measure]:
    """Return what a drill finds; it has started so many services, and all of them have ended."""

    async def run() -> Sequence[Measure]:
        return await drill.run(stage)

    try:
        return asyncio.run(run())
    finally:
        assert len(stage.pids) == services
        assert not list(_left_of(stage.pids))


def _left_of(groups: Sequence[int]) -> Iterator[str]:
    """Return what still runs in these process groups: each service has one of its own, its workers among it."""
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            line = entry.read_text()
            state, _, group = line.rpartition(")")[2].split()[:3]
            if state != "Z" and int(group) in groups:
                yield line
