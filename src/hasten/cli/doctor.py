"""`hasten doctor`: say where the milliseconds of a service go, and what costs them."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from hasten._core.errors import ConfigurationError
from hasten._core.targets import find_target
from hasten.cli._console import announcing, messages, output, print_json
from hasten.cli._options import JsonOption, TargetArgument, duration_option
from hasten.diagnose import Subject, examine, examine_recordings
from hasten.diagnose.report import Report, explanations, github_lines, html_page, print_report
from hasten.load import Plan

Format = Literal["text", "json", "github"]


def doctor(
    target: TargetArgument = None,
    plan: Annotated[
        Path | None,
        typer.Option("--plan", envvar="HASTEN_PLAN", help="TOML file that says what to send (see load)."),
    ] = None,
    start: Annotated[
        str,
        typer.Option(
            "--start",
            envvar="HASTEN_START",
            metavar="COMMAND",
            help="Run this instead of TARGET; each `hasten run` below it records.",
        ),
    ] = "",
    url: Annotated[
        str,
        typer.Option("--target", envvar="HASTEN_TARGET", metavar="URL", help="Drive this URL, not the plan's own."),
    ] = "",
    service: Annotated[
        str,
        typer.Option("--service", envvar="HASTEN_SERVICE", help="Name of the service; default: the module's."),
    ] = "",
    source: Annotated[
        list[Path] | None,
        typer.Option(
            "--source",
            envvar="HASTEN_SOURCE",
            help="File or folder with the services' code; may be given more than once; default: this folder.",
        ),
    ] = None,
    json: JsonOption = False,  # noqa: FBT002 - a flag is what typer makes of a bool
    html: Annotated[
        Path | None,
        typer.Option("--html", envvar="HASTEN_HTML", help="Write the report as one HTML page, too."),
    ] = None,
    output_format: Annotated[
        Format,
        typer.Option("--output-format", envvar="HASTEN_OUTPUT_FORMAT", help="Form of the report on stdout."),
    ] = "text",
    keep: Annotated[
        Path | None,
        typer.Option("--keep", envvar="HASTEN_KEEP", metavar="DIR", help="Keep the recordings in this empty folder."),
    ] = None,
    recordings: Annotated[
        Path | None,
        typer.Option(
            "--from",
            envvar="HASTEN_FROM",
            metavar="DIR",
            help="Diagnose recordings made earlier; start nothing.",
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option("--rate", envvar="HASTEN_RATE", help="Requests per second, not the plan's own."),
    ] = None,
    duration: Annotated[
        float | None, duration_option("--for", "HASTEN_FOR", "Time that is measured, not the plan's own.")
    ] = None,
    warmup: Annotated[
        float | None,
        duration_option("--warmup", "HASTEN_WARMUP", "Time that is driven before, not the plan's own."),
    ] = None,
    start_timeout: Annotated[
        float,
        duration_option("--start-timeout", "HASTEN_START_TIMEOUT", "Time until the service must answer."),
    ] = "60s",  # type: ignore[assignment]
) -> None:
    """Serve an app with every request recorded, drive it, and say what costs its users time: worst first.

    Exit code 1 says that something was found.
    """
    sources = _sources(source)
    with announcing() as announce:
        if recordings is not None:
            report = examine_recordings(recordings, sources, announce=announce)
        else:
            subject = _subject(target, start, service, start_timeout)
            settings = {"rate": rate, "duration": duration, "warmup": warmup}
            chosen = _plan(plan, url, settings, needs_target=bool(start))
            report = examine(subject, chosen, sources, keep=keep, announce=announce)
    if html is not None:
        _write_page(report, html)
    _print(report, "json" if json else output_format)
    if report.diagnosis.findings:
        raise typer.Exit(1)


def _sources(given: list[Path] | None) -> list[Path]:
    sources = given or [Path.cwd()]
    for source in sources:
        if not source.exists():
            raise ConfigurationError("--source", f"{source} does not exist")
    return sources


def _subject(target: str | None, start: str, service: str, start_timeout: float) -> Subject:
    if start and target:
        raise ConfigurationError("--start", f"either a command or the app {target!r}, not both")
    if start:
        return Subject(command=start, start_timeout=start_timeout)
    app = find_target(target, Path.cwd())
    if "://" in app:
        remedy = "name the app (main:app) or the command that starts it (--start)"
        raise ConfigurationError(f"target {app!r}", "the doctor has to start what it examines", remedy)
    return Subject(app=app, service=service, start_timeout=start_timeout)


def _plan(file: Path | None, url: str, settings: dict[str, float | None], *, needs_target: bool) -> Plan:
    if file is None:
        raise ConfigurationError("--plan", "no plan given", "write one: see hasten load --help")
    # An app is served on a free port that stands in no plan: the address here is replaced by it.
    plan = Plan.from_file(file, target=url if needs_target else "http://127.0.0.1")
    if plan.grpc:
        raise ConfigurationError("--plan", "the doctor drives HTTP, this plan calls gRPC", "name an HTTP route in it")
    return plan.with_settings(**{name: value for name, value in settings.items() if value is not None})


def _write_page(report: Report, file: Path) -> None:
    try:
        file.write_text(html_page(report, Path.cwd(), explanations()), encoding="utf-8")
    except OSError as error:
        raise ConfigurationError("--html", f"cannot write {file}: {error.strerror or error}") from error
    messages().print(f"report written to {file}", soft_wrap=True, markup=False)


def _print(report: Report, form: Format) -> None:
    if form == "json":
        print_json(report.to_json())
    elif form == "github":
        sys.stdout.writelines(f"{line}\n" for line in github_lines(report, Path.cwd()))
    else:
        print_report(report, output(), Path.cwd())
