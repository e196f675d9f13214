"""`hasten profile diff`: say what changed between two profiles, and show where."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from hasten._core.durations import format_duration
from hasten._core.errors import ConfigurationError
from hasten.cli._console import messages, output, print_json, print_next
from hasten.cli._options import JsonOption
from hasten.cli._profile_view import diff_table
from hasten.profiling._diff import Change, Difference, diff_profiles
from hasten.profiling._files import read_profile
from hasten.profiling._functions import short_place


def diff(
    before: Annotated[
        Path,
        typer.Argument(
            metavar="BEFORE",
            help="Profile to compare with: a .json of hasten profile, or a file of speedscope's or of folded stacks.",
            show_default=False,
        ),
    ],
    after: Annotated[
        Path, typer.Argument(metavar="AFTER", help="Profile of the same service, changed.", show_default=False)
    ],
    endpoint: Annotated[
        str,
        typer.Option("--endpoint", envvar="HASTEN_ENDPOINT", help="Only its requests: 'GET /products/{id}'."),
    ] = "",
    page: Annotated[
        Path | None,
        typer.Option("--output", "-o", envvar="HASTEN_OUTPUT", help="Write a flame graph coloured by change, too."),
    ] = None,
    top: Annotated[
        int, typer.Option("--top", envvar="HASTEN_TOP", min=1, max=1000, help="Rows of the table at most.")
    ] = 20,
    json: JsonOption = False,  # noqa: FBT002 - a flag is what typer makes of a bool
) -> None:
    """Compare two profiles: what each function and each wait took per request, before and after."""
    difference = diff_profiles(read_profile(before), read_profile(after), endpoint=endpoint)
    if page is not None:
        _write_page(difference, page)
    if json:
        print_json(_as_json(difference))
        return
    output().print(diff_table(difference, top))
    print_next(_next_step(difference, page))


def _write_page(difference: Difference, file: Path) -> None:
    # Imported late: the page's parts are for those who ask for one.
    from hasten.profiling.flame import difference_page

    if file.suffix.lower() not in {".html", ".htm"}:
        raise ConfigurationError("--output", f"{file} is no .html file", "for JSON take --json")
    try:
        file.write_text(difference_page(difference), encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigurationError("--output", f"cannot write {file}: {error.strerror or error}") from None
    messages().print(f"flame graph written to {file}", soft_wrap=True, markup=False)


def _as_json(difference: Difference) -> dict[str, Any]:
    """Return all but the stacks, with what can be computed of it."""
    told: dict[str, Any] = msgspec.to_builtins(difference)
    del told["stacks"]
    told["changes"] = [
        {
            "function": one.frame.function,
            "file": one.frame.file,
            "line": one.frame.line,
            "kind": one.kind,
            "before": one.before,
            "after": one.after,
            "change": one.change,
            "ratio": one.ratio,
            "total_before": one.total_before,
            "total_after": one.total_after,
            "sure": one.sure,
        }
        for one in difference.changes
    ]
    return told


def _next_step(difference: Difference, page: Path | None) -> str:
    sure = [one for one in difference.changes if one.sure and one.change]
    if not sure:
        return "nothing changed beyond chance; profile for longer to see smaller changes"
    grown = next((one for one in sure if one.change > 0), None)
    if grown is None:
        return f"{_told(sure[0], difference)}; prove it with hasten compare"
    if page is None:
        return f"{_told(grown, difference)}; -o diff.html shows who calls it"
    return f"{_told(grown, difference)}; open {page} to see who calls it"


def _told(one: Change, difference: Difference) -> str:
    what = f"{one.kind} in {one.frame.function}" if one.kind else one.frame.function
    place = f" ({short_place(one.frame)})" if one.frame.file else ""
    way = "grew" if one.change > 0 else "shrank"
    return f"{what}{place} {way} by {format_duration(abs(one.change))} a {difference.per}"
