"""Runs a drill in short turns, and looks whether what it has started is gone."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import uvloop

from hasten.drill import Drill, Measure, Stage


def measured(drill: Drill, folder: Path, *, processes: int) -> Sequence[Measure]:
    """Return what a drill measures, in the loop that the command has; it starts so many processes, and ends them."""
    stage = Stage(folder=folder, quick=True)

    async def run() -> Sequence[Measure]:
        return await drill.run(stage)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        measures = runner.run(run())
    assert len(stage.pids) == processes
    assert not any(Path(f"/proc/{pid}").exists() for pid in stage.pids)
    return measures
