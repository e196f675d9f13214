"""`hasten gate`: what a service must keep to, for CI."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer

from hasten._core.errors import ConfigurationError
from hasten._core.targets import find_target
from hasten.cli._console import announcing, output, print_json
from hasten.cli._options import JsonOption, TargetArgument, duration_option
from hasten.compare import Preparation, side_of
from hasten.compare.gate import GateRun, GateSettings, Outcome, parse_percent, print_gate, read_gate, write
from hasten.compare.gate import gate as judge
from hasten.load import Plan

Format = Literal["text", "json", "markdown", "github", "junit"]
_ANYWHERE = "http://127.0.0.1"  # an app is served on a free port that stands in no plan
_EXIT = {Outcome.HOLDS: 0, Outcome.BROKEN: 1, Outcome.UNDECIDED: 4}


def gate(
    target: TargetArgument = None,
    plan: Annotated[
        Path | None,
        typer.Option("--plan", envvar="HASTEN_PLAN", metavar="FILE", help="What to send. Default: the settings'."),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            envvar="HASTEN_AGAINST",
            metavar="REVISION",
            help="Nothing may be slower than in this revision; none for none. Default: the settings'.",
        ),
    ] = None,
    slower: Annotated[
        str | None,
        typer.Option("--slower", envvar="HASTEN_SLOWER", help="By more than this. Default: the settings', or 5%."),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            envvar="HASTEN_BASELINE",
            metavar="FILE",
            help="Compare with a file of earlier figures of this machine. Default: the settings'.",
        ),
    ] = None,
    write_baseline: Annotated[
        Path | None,
        typer.Option(
            "--write-baseline", envvar="HASTEN_WRITE_BASELINE", metavar="FILE", help="Write the figures to a file."
        ),
    ] = None,
    budget: Annotated[
        float, duration_option("--budget", "HASTEN_BUDGET", "Time for measuring beside the revision.")
    ] = "3m",  # type: ignore[assignment]
    setup: Annotated[
        str,
        typer.Option(
            "--setup", envvar="HASTEN_SETUP", metavar="COMMAND", help="Prepare the revision's worktree by this."
        ),
    ] = "",
    json: JsonOption = False,  # noqa: FBT002
    output_format: Annotated[
        Format, typer.Option("--output-format", envvar="HASTEN_OUTPUT_FORMAT", help="Form of the report on stdout.")
    ] = "text",
) -> None:
    """Measure a service, and fail if it does not keep to \\[tool.hasten.gate] of pyproject.toml.

    Absolute objectives (p50, p90, p99, errors, CPU per request) are judged by a run of the plan; that nothing is slower
    than in a revision, by measuring both beside each other; or than in a file, by what it holds.

    Exit codes: 0 all of it holds, 1 something is broken, 2 usage, 3 unreachable or not valid, 4 undecided, 130
    interrupted.
    """
    # Over 40 lines because each option is a parameter, with its help.
    settings = _settings(against, slower, baseline)
    app = target or settings.app or find_target(None, Path.cwd())
    run = GateRun(
        side=side_of(app, "TARGET"),
        plan=_plan(plan, settings),
        settings=settings,
        budget=budget,
        preparation=Preparation(setup=setup),
        write=write_baseline,
    )
    with announcing() as announce:
        result = judge(run, announce)
    form = "json" if json else output_format
    if form == "json":
        print_json(result)
    elif form == "text":
        print_gate(result, output())
    else:
        write(result, form)
    raise typer.Exit(_EXIT[result.outcome])


def _settings(against: str | None, slower: str | None, baseline: str | None) -> GateSettings:
    """Return the project's settings with what the command line has in their place."""
    settings = read_gate(Path("pyproject.toml"))
    if against and baseline:
        raise ConfigurationError("--baseline", "there is --against, too", "compare with one of them")
    if against is not None:
        settings = msgspec.structs.replace(settings, against="" if against == "none" else against, baseline="")
    if baseline is not None:
        settings = msgspec.structs.replace(settings, baseline=baseline, against="")
    if slower is not None:
        settings = msgspec.structs.replace(settings, slower=parse_percent(slower, "--slower"))
    return settings


def _plan(file: Path | None, settings: GateSettings) -> Plan:
    name = file or (Path(settings.plan) if settings.plan else None)
    if name is None:
        raise ConfigurationError("--plan", "no plan given", "name one in [tool.hasten.gate], or write --plan FILE")
    return Plan.from_file(name, target=_ANYWHERE)
