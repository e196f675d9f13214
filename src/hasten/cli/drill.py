"""`hasten drill`: break something, and see whether the promises hold."""

import asyncio
import math
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
import uvloop

from hasten._core.errors import ConfigurationError
from hasten._core.processes import termination_unwinds
from hasten.cli._console import announcing, output, print_json, print_next
from hasten.cli._options import JsonOption
from hasten.drill import Drill, DrillResult, Stage, run_drills
from hasten.drill._report import print_result, summary
from hasten.drill.drills import ALL


def drill(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[DRILL]...", help="Which; all that can be run here by default.", show_default=False),
    ] = None,
    app: Annotated[
        str,
        typer.Option(
            "--app",
            envvar="HASTEN_DRILL_APP",
            metavar="TARGET",
            help="Your own service, module:app, in the place of the drills' own, for drills that can.",
        ),
    ] = "",
    path: Annotated[str, typer.Option("--path", envvar="HASTEN_DRILL_PATH", help="What is asked of it by GET.")] = "/",
    quick: Annotated[  # noqa: FBT002 - a flag is what typer makes of a bool
        bool,
        typer.Option("--quick", envvar="HASTEN_DRILL_QUICK", help="Short turns: that drills work, not what they say."),
    ] = False,
    list_drills: Annotated[  # noqa: FBT002
        bool, typer.Option("--list", envvar="HASTEN_DRILL_LIST", help="Say which drills there are, and run none.")
    ] = False,
    json: JsonOption = False,  # noqa: FBT002
) -> None:
    """Break something on purpose, and measure what is promised for it.

    Each drill starts a service of its own, or yours (--app), with a peer beside it, and prints the promise, the number
    asked and the number measured. Everything happens on this machine alone, and is ended at the end.

    Exit codes: 0 all promises hold, 1 one does not, 2 usage, 3 nothing could be measured, 130 interrupted.
    """
    # Over 40 lines because each option is a parameter, with its help.
    if list_drills:
        for one in ALL:
            output().print(f"{one.name:<14} {one.about}", soft_wrap=True, markup=False)
        return
    chosen = _chosen(names or [], own=bool(app))
    with announcing() as say, termination_unwinds():
        stage = Stage(folder=Path(), quick=quick, target=app, path=path, say=say)

        def tell(result: DrillResult) -> None:
            say("")
            if not json:
                print_result(result, output())

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            results = runner.run(run_drills(chosen, stage, tell))
    _finish(results, json=json)


def _chosen(names: list[str], *, own: bool) -> list[Drill]:
    """Return the drills of these names; without any all, with a service of one's own those that can run it."""
    known = {one.name: one for one in ALL}
    for name in names:
        if name not in known:
            raise ConfigurationError(f"drill {name!r}", "there is none", f"there are {', '.join(known)}")
    return [known[name] for name in names] or [one for one in ALL if one.own or not own]


def _finish(results: list[DrillResult], *, json: bool) -> None:
    kept = all(result.kept for result in results)
    measured = any(result.measures for result in results)
    if json:
        print_json({"kept": kept, "drills": [_plain(result) for result in results]})
    else:
        output().print(f"\n{summary(results)}", soft_wrap=True, markup=False)
        print_next("docs/how-to/drill.md says what each promise is about, and what to do where it does not hold")
    if not measured:
        raise typer.Exit(3)
    if not kept:
        raise typer.Exit(1)


def _plain(result: DrillResult) -> dict[str, Any]:
    """Return a result for JSON, which has no infinity: null is "never"."""
    plain: dict[str, Any] = msgspec.to_builtins(result)
    for measure, row in zip(result.measures, plain["measures"], strict=True):
        row["kept"] = measure.kept
        for name in ("measured", "beside_measured"):
            if row[name] == math.inf:
                row[name] = None
    return plain
