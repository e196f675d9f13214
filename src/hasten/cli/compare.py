"""`hasten compare`: measure two versions of a service beside each other until it is decided which is faster."""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from hasten._core.errors import ConfigurationError, InvalidMeasurement
from hasten._core.targets import find_target
from hasten.cli._console import announcing, messages, output, print_json
from hasten.cli._options import JsonOption, duration_option
from hasten.compare import (
    Comparison,
    ComparisonOptions,
    Preparation,
    Verdict,
    compare_revisions,
    side_of,
)
from hasten.compare import compare as compare_sides
from hasten.compare.gate import parse_percent
from hasten.compare.report import github_lines, html_page, junit_xml, markdown, print_comparison
from hasten.load import Plan

Format = Literal["text", "json", "markdown", "github", "junit"]

_ANYWHERE = "http://127.0.0.1"  # an app is served on a free port that stands in no plan
_LEAST_THRESHOLD, _LARGEST_THRESHOLD = 0.002, 1.0
_INCONCLUSIVE = 4
_INTERRUPTED = 130


def compare(
    before: Annotated[
        str | None,
        typer.Argument(
            metavar="BEFORE",
            help="module:app, which is started, or the URL of a service that runs; with --git the app in both.",
            show_default=False,
        ),
    ] = None,
    after: Annotated[
        str | None,
        typer.Argument(metavar="AFTER", help="Like BEFORE; not with --git.", show_default=False),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option("--plan", envvar="HASTEN_PLAN", metavar="FILE", help="TOML file of what to send (see load)."),
    ] = None,
    path: Annotated[
        str,
        typer.Option("--path", envvar="HASTEN_PATH", help="Without --plan: send GET requests for this path."),
    ] = "",
    git: Annotated[
        str,
        typer.Option(
            "--git",
            envvar="HASTEN_GIT",
            metavar="A..B",
            help="Compare two revisions of this repository, main..fix, each in a worktree of its own; an empty one is "
            "the working tree.",
        ),
    ] = "",
    setup: Annotated[
        str,
        typer.Option(
            "--setup",
            envvar="HASTEN_SETUP",
            metavar="COMMAND",
            help="Prepare each worktree by this, not by installing the project where it needs something else; a .venv "
            "that it makes is used. HASTEN_WORKING_TREE names the working tree, for what git does not keep.",
        ),
    ] = "",
    rate: Annotated[
        float | None, typer.Option("--rate", envvar="HASTEN_RATE", help="Requests per second, not the plan's own.")
    ] = None,
    budget: Annotated[
        float, duration_option("--budget", "HASTEN_BUDGET", "Time for measuring; it ends as soon as it is decided.")
    ] = "3m",  # type: ignore[assignment]
    threshold: Annotated[
        str,
        typer.Option("--threshold", envvar="HASTEN_THRESHOLD", help="Changes smaller than this do not matter."),
    ] = "5%",
    round_seconds: Annotated[
        float | None,
        duration_option("--round", "HASTEN_ROUND", "Measured time of a round. Default: what the plan needs."),
    ] = None,
    warmup: Annotated[
        float | None,
        duration_option("--warmup", "HASTEN_WARMUP", "Time each side is driven before, not the plan's own."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", envvar="HASTEN_SEED", help="Of times, values and order. Default: the plan's, or 1."),
    ] = None,
    insecure: Annotated[  # noqa: FBT002 - a flag is what typer makes of a bool
        bool, typer.Option("--insecure", envvar="HASTEN_INSECURE", help="Accept any certificate.")
    ] = False,
    admin_before: Annotated[
        str,
        typer.Option(
            "--admin-before",
            envvar="HASTEN_ADMIN_BEFORE",
            metavar="URL",
            help="Admin port of the service at BEFORE, which tells its CPU where its process cannot be seen from here.",
        ),
    ] = "",
    admin_after: Annotated[
        str,
        typer.Option("--admin-after", envvar="HASTEN_ADMIN_AFTER", metavar="URL", help="The same of AFTER."),
    ] = "",
    admin_token: Annotated[
        str, typer.Option("--admin-token", envvar="HASTEN_ADMIN_TOKEN", help="What these ports ask for.")
    ] = "",
    let_run: Annotated[  # noqa: FBT002
        bool,
        typer.Option(
            "--let-run",
            envvar="HASTEN_LET_RUN",
            help="Do not suspend the side that is not measured: for services whose peers would miss it within seconds.",
        ),
    ] = False,
    start_timeout: Annotated[
        float, duration_option("--start-timeout", "HASTEN_START_TIMEOUT", "Time until a side must listen.")
    ] = "60s",  # type: ignore[assignment]
    setup_timeout: Annotated[
        float, duration_option("--setup-timeout", "HASTEN_SETUP_TIMEOUT", "Time for preparing a revision.")
    ] = "10m",  # type: ignore[assignment]
    json: JsonOption = False,  # noqa: FBT002
    html: Annotated[
        Path | None,
        typer.Option("--html", envvar="HASTEN_HTML", help="Write the report, with every pair, as one HTML page, too."),
    ] = None,
    output_format: Annotated[
        Format,
        typer.Option("--output-format", envvar="HASTEN_OUTPUT_FORMAT", help="Form of the report on stdout."),
    ] = "text",
) -> None:
    """Run two versions of a service beside each other, send both the same, and say what has changed.

    Short rounds of both alternate in random order until p50 and CPU per request of each kind are decided, or the
    budget is spent. p90 and p99 are shown, and need far more rounds to be judged.

    Exit codes: 0 better or the same, 1 worse, 2 usage, 3 unreachable or not valid, 4 undecided, 130 interrupted.
    """
    # Over 40 lines because each option is a parameter, with its help.
    if html is not None and not html.parent.is_dir():
        raise ConfigurationError("--html", f"no folder {html.parent}")
    options = ComparisonOptions(
        budget=_positive(budget, "--budget"),
        threshold=_threshold(threshold),
        round_seconds=_positive(round_seconds, "--round"),
        suspend=not let_run,
    )
    settings = {"rate": rate, "warmup": warmup, "seed": seed, "verify": False if insecure else None}
    chosen = _plan(plan, path, settings)
    with announcing() as announce:
        if git:
            app = _app_of_revisions(before, after)
            preparation = Preparation(setup=setup, timeout=setup_timeout)
            result = compare_revisions(git, app, chosen, options, preparation, announce, start_timeout=start_timeout)
        else:
            names = _both(before, after, setup)
            admins = {"BEFORE": admin_before, "AFTER": admin_after}
            sides = [
                side_of(names[where], where, admin=admins[where], token=admin_token, start_timeout=start_timeout)
                for where in names
            ]
            result = compare_sides(sides[0], sides[1], chosen, options, announce)
    if html is not None:
        _write_page(result, html)
    _print(result, "json" if json else output_format)
    _leave(result)


def _positive(seconds: Any, option: str) -> Any:
    if seconds is not None and seconds <= 0:
        raise ConfigurationError(option, "0 s is no time", "for example 30s")
    return seconds


def _threshold(text: str) -> float:
    share = parse_percent(text, "--threshold")
    if not _LEAST_THRESHOLD <= share <= _LARGEST_THRESHOLD:
        raise ConfigurationError("--threshold", f"{text} is not from 0.2% to 100%")
    return share


def _plan(file: Path | None, path: str, settings: dict[str, Any]) -> Plan:
    if file is not None and path:
        raise ConfigurationError("--path", "the plan says what to send", "leave it out")
    if file is not None:
        chosen = Plan.from_file(file, target=_ANYWHERE)
    elif not path:
        raise ConfigurationError("--plan", "no plan given", "write one (see hasten load --help), or give --path /")
    elif settings["rate"] is None:
        raise ConfigurationError("--rate", "no rate given", "for example --rate 200")
    else:
        absolute = path if path.startswith("/") else f"/{path}"
        chosen = Plan.for_url(f"{_ANYWHERE}{absolute}", rate=settings["rate"])
    return chosen.with_settings(**{name: value for name, value in settings.items() if value is not None})


def _app_of_revisions(target: str | None, second: str | None) -> str:
    if second is not None:
        remedy = "name one app, or none for the project's own"
        raise ConfigurationError("--git", f"one app in two revisions, not {target!r} and {second!r}", remedy)
    app = find_target(target, Path.cwd())
    if "://" in app:
        raise ConfigurationError("--git", f"{app} is a URL, and revisions have to be started", "name the app")
    return app


def _both(before: str | None, after: str | None, setup: str) -> dict[str, str]:
    if setup:
        raise ConfigurationError("--setup", "it prepares revisions", "give them by --git main..fix")
    if before is None or after is None:
        remedy = "give two, module:app or URLs, or two revisions by --git main..fix"
        raise ConfigurationError("compare", "two sides are needed", remedy)
    return {"BEFORE": before, "AFTER": after}


def _write_page(result: Comparison, file: Path) -> None:
    try:
        file.write_text(html_page(result), encoding="utf-8")
    except OSError as error:
        raise ConfigurationError("--html", f"cannot write {file}: {error.strerror or error}") from error
    messages().print(f"report written to {file}", soft_wrap=True, markup=False)


def _print(result: Comparison, form: Format) -> None:
    if form == "json":
        print_json(result)
    elif form == "markdown":
        sys.stdout.write(markdown(result))
    elif form == "github":
        sys.stdout.writelines(f"{line}\n" for line in github_lines(result))
    elif form == "junit":
        sys.stdout.write(junit_xml(result))
    else:
        print_comparison(result, output())


def _leave(result: Comparison) -> None:
    """End with the exit code that the result deserves."""
    if result.partial:
        raise typer.Exit(_INTERRUPTED)
    for problem in result.problems:
        raise InvalidMeasurement(problem.check, problem.measured, problem.remedy)
    if result.verdict is Verdict.WORSE:
        raise typer.Exit(1)
    if result.verdict is Verdict.UNDECIDED:
        raise typer.Exit(_INCONCLUSIVE)
