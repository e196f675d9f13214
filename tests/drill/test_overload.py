"""The drills of overload run as they are, in short turns."""

import asyncio
import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from hasten.drill import Drill, Measure, Stage
from hasten.drill.drills._overload import OVERLOAD
from hasten.drill.drills._spike import SPIKE

pytestmark = [pytest.mark.may_block, pytest.mark.timeout(120)]


async def _measures(drill: Drill, stage: Stage) -> Sequence[Measure]:
    return await drill.run(stage)


@pytest.mark.parametrize(
    ("drill", "promises", "services"),
    [
        (OVERLOAD, ["answers", "answers", "answers", "their p99", "refused or late", "until 95 %"], 1 + 5 + 1),
        (SPIKE, ["high priority"], 1 + 1),
    ],
)
def test_quick(tmp_path: Path, drill: Drill, promises: list[str], services: int) -> None:
    """Each promise has its figure, and a peer's beside it; the services have ended."""
    stage = Stage(folder=tmp_path, quick=True)
    measures = asyncio.run(_measures(drill, stage))
    named = zip(measures, promises, strict=True)
    assert all(measure.promise.startswith(promise) for measure, promise in named)
    assert all(not math.isnan(measure.measured) and measure.measured >= 0.0 for measure in measures)
    assert len(stage.pids) == services
    assert not any(Path(f"/proc/{pid}").exists() for pid in stage.pids)
