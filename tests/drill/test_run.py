"""Drills are run one after the other, each on a stage of its own, and what they find is told as it comes."""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from hasten.drill import Drill, DrillResult, Impossible, Measure, Stage, run_drills
from hasten.drill.drills import ALL

pytestmark = pytest.mark.may_block

KEPT = Measure(promise="few are lost", asked=5.0, measured=5.0, unit="%")
BROKEN = Measure(promise="many are answered", asked=95.0, measured=94.9, at_least=True, unit="%")


def drill(name: str, *measures: Measure, impossible: str = "", own: bool = False) -> Drill:
    async def run(stage: Stage) -> Sequence[Measure]:
        assert stage.folder.is_dir()
        assert not list(stage.folder.iterdir())
        (stage.folder / "left").touch()
        if impossible:
            raise Impossible(impossible)
        return measures

    return Drill(name=name, about=f"does {name}", run=run, own=own)


def run(*drills: Drill, **settings: object) -> list[DrillResult]:
    told: list[DrillResult] = []
    stage = Stage(folder=Path("nowhere"), **settings)  # type: ignore[arg-type]
    results = asyncio.run(run_drills(drills, stage, told.append))
    assert results == told
    return results


def test_measures() -> None:
    """A bound that is met exactly holds, one way and the other."""
    assert (KEPT.kept, BROKEN.kept) == (True, False)
    assert replace_measured(BROKEN, 95.0).kept
    assert not replace_measured(KEPT, float("inf")).kept


def replace_measured(measure: Measure, measured: float) -> Measure:
    return Measure(
        promise=measure.promise, asked=measure.asked, measured=measured, at_least=measure.at_least, unit=measure.unit
    )


def test_results_come_in_order() -> None:
    """Each drill has its measures, in a folder that is empty at first; one that cannot be run keeps no other back."""
    first, second, third = run(drill("first", KEPT), drill("second", impossible="no room"), drill("third", BROKEN))
    assert (first.measures, first.kept, first.impossible) == ((KEPT,), True, "")
    assert (second.measures, second.kept, second.impossible) == ((), True, "no room")
    assert (third.drill, third.about, third.kept) == ("third", "does third", False)


def test_another_service() -> None:
    """A drill of a service of its own is not begun with the user's."""
    assert run(drill("own", KEPT, own=True), target="main:app")[0].measures == (KEPT,)
    (not_run,) = run(drill("its own", KEPT), target="main:app")
    assert not_run.impossible == "it has a service of its own: run it without --app"


def test_an_error_of_a_drill_is_one() -> None:
    """What a drill does not expect passes: it is a fault of the drill, not of what it measures."""

    async def fails(_: Stage) -> Sequence[Measure]:
        raise LookupError

    with pytest.raises(LookupError):
        run(Drill(name="fails", about="", run=fails))


def test_names() -> None:
    """Drills have names that differ, and each says what it does."""
    assert len({one.name for one in ALL}) == len(ALL)
    assert all(one.about and not one.about.endswith(".") for one in ALL)


@pytest.mark.skipif(len(getattr(os, "sched_getaffinity", lambda _: {0})(0)) < 2, reason="has one core")
def test_cores() -> None:
    """What a drill starts and what it measures with do not share a core: one would be late for the other's sake."""
    before = os.sched_getaffinity(0)

    async def look(stage: Stage) -> Sequence[Measure]:
        async with stage.started("sleeper", [sys.executable, "-c", "input()"], {}) as process:
            theirs, ours = os.sched_getaffinity(process.pid), os.sched_getaffinity(0)
        return [Measure(promise="cores in common", asked=0.0, measured=float(len(theirs & ours)))]

    (result,) = run(Drill(name="looks", about="looks", run=look))
    assert result.kept
    assert os.sched_getaffinity(0) == before
