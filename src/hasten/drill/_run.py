"""Runs drills one after the other."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from hasten._core.processes import cores, split_cores
from hasten.drill._drill import Drill, Impossible
from hasten.drill._result import DrillResult
from hasten.drill._stage import Stage


async def run_drills(
    drills: Sequence[Drill], stage: Stage, on_result: Callable[[DrillResult], None]
) -> list[DrillResult]:
    """Run drills, each with a folder of its own, and return their results in order.

    Args:
      on_result: Called with each result as it comes.
    Cancellation: ends what the drill has started.
    """
    results = []
    for_services, for_load = split_cores()
    with cores(for_load):
        for drill in drills:
            results.append(await _run(drill, replace(stage, cores=for_services)))
            on_result(results[-1])
    return results


async def _run(drill: Drill, stage: Stage) -> DrillResult:
    began = time.monotonic()
    if stage.target and not drill.own:
        return _not_run(drill, "it has a service of its own: run it without --app")
    with TemporaryDirectory(prefix="hasten-drill-") as folder:
        try:
            measures = tuple(await drill.run(replace(stage, folder=Path(folder))))
            impossible = ""
        except Impossible as error:
            measures, impossible = (), str(error)
    seconds = time.monotonic() - began
    return DrillResult(drill=drill.name, about=drill.about, measures=measures, impossible=impossible, seconds=seconds)


def _not_run(drill: Drill, reason: str) -> DrillResult:
    return DrillResult(drill=drill.name, about=drill.about, impossible=reason)
