"""`hasten check`: say which lines of the source may cost time, without running it."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from hasten._core.errors import ConfigurationError
from hasten.cli._console import output, print_error, print_json, print_next
from hasten.cli._options import JsonOption
from hasten.diagnose import Candidate, Selection, StaticReport, Unreadable
from hasten.diagnose import check as run_check
from hasten.diagnose.rules import RULES

Format = Literal["text", "github"]


def check(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PATH]...",
            help="Files and folders; default: this folder without tests, hidden and virtual environments'.",
            show_default=False,
        ),
    ] = None,
    select: Annotated[
        str,
        typer.Option(
            "--select",
            envvar="HASTEN_SELECT",
            metavar="CODES",
            help="Only these codes or beginnings: HS1,ASYNC.",
        ),
    ] = "",
    ignore: Annotated[
        str,
        typer.Option("--ignore", envvar="HASTEN_IGNORE", metavar="CODES", help="Not these codes or beginnings: HS306."),
    ] = "",
    output_format: Annotated[
        Format,
        typer.Option("--output-format", envvar="HASTEN_OUTPUT_FORMAT", help="Form of the findings on stdout."),
    ] = "text",
    json: JsonOption = False,  # noqa: FBT002 - a flag is what typer makes of a bool
) -> None:
    """Say which lines of the source may cost time: blocking calls, N+1, missing timeouts and the like.

    ruff's ASYNC rules are asked too when ruff is installed. `# noqa: HS101` waives a line. Exit code 1 says
    that something was found, 2 that a file could not be read.
    """
    report = run_check(paths or [Path()], Selection(_codes("--select", select), _codes("--ignore", ignore)))
    if json:
        print_json(_data(report))
    elif output_format == "github":
        sys.stdout.writelines(f"{_github(found)}\n" for found in report.findings)
    else:
        _print(report)
    for broken in report.unreadable:
        print_error(f"{_relative(broken.file)}:{broken.line}: {broken.reason}")
    if report.unreadable or report.findings:
        raise typer.Exit(2 if report.unreadable else 1)


def _codes(option: str, text: str) -> tuple[str, ...]:
    codes = tuple(code.strip().upper() for code in text.split(",") if code.strip())
    known = [*(rule.code for rule in RULES), "ASYNC"]
    for code in codes:
        if not code.startswith("ASYNC") and not any(name.startswith(code) for name in known):
            raise ConfigurationError(
                option, f"no rule has a code that begins with {code}", "see docs/reference/findings.md"
            )
    return codes


def _print(report: StaticReport) -> None:
    console = output()
    for found in report.findings:
        place = f"[bold]{_plain(_relative(found.file))}[/][cyan]:[/]{found.line}[cyan]:[/]"
        console.print(f"{place} [bold red]{found.code}[/] {_plain(found.message)}", soft_wrap=True)
    console.print(_summary(report), soft_wrap=True)
    if report.findings:
        print_next("hasten doctor TARGET --plan plan.toml shows which of these cost time, and how much")
    else:
        print_next("hasten doctor TARGET --plan plan.toml finds what only running requests show")


def _summary(report: StaticReport) -> str:
    number = len(report.findings)
    files = f"{report.files} file{'' if report.files == 1 else 's'}"
    without = " (without ruff's ASYNC rules: ruff is not installed)" if report.without_ruff else ""
    if not number:
        return f"nothing found in {files}{without}"
    places = len({found.file for found in report.findings})
    return f"{number} finding{'' if number == 1 else 's'} in {places} of {files}{without}"


def _github(found: Candidate) -> str:
    file = _relative(found.file).replace("%", "%25").replace(":", "%3A").replace(",", "%2C")
    return f"::warning file={file},line={found.line},title={found.code}::{found.message.replace('%', '%25')}"


def _data(report: StaticReport) -> dict[str, object]:
    fixes = {rule.code: rule.fix for rule in RULES}
    return {
        "files": report.files,
        "without_ruff": report.without_ruff,
        "findings": [
            {
                "code": found.code,
                "file": _relative(found.file),
                "line": found.line,
                "lines": found.lines,
                "function": found.function,
                "message": found.message,
                "fix": fixes.get(found.code, ""),
            }
            for found in report.findings
        ],
        "unreadable": [_broken(broken) for broken in report.unreadable],
    }


def _broken(broken: Unreadable) -> dict[str, object]:
    return {"file": _relative(broken.file), "line": broken.line, "reason": broken.reason}


def _relative(file: str) -> str:
    path, here = Path(file), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else file


def _plain(text: str) -> str:
    return text.replace("[", "\\[")
