"""`hasten init`: adds hasten to a FastAPI project, or writes a starter of two services."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from hasten._core.errors import ConfigurationError
from hasten.cli._console import output, print_json, print_next
from hasten.cli._options import JsonOption, duration_option
from hasten.init import GROUPS, FileChange, Group, Options, Proposal, Timing, propose, propose_example, write

_OF_PROJECTS = ("app", "service", "only", "grace", "grpc_port")
_COLOURS = {"+": "green", "-": "red", "@": "cyan"}
_LONGEST_GRACE = 3600.0


def init(
    context: typer.Context,
    directory: Annotated[
        Path, typer.Argument(metavar="[DIRECTORY]", help="The project's folder.", show_default="this one")
    ] = Path(),
    app: Annotated[
        str,
        typer.Option(
            "--app",
            envvar="HASTEN_APP",
            metavar="MODULE:APP",
            help="The FastAPI app; default: what pyproject.toml names, or the only one.",
            show_default=False,
        ),
    ] = "",
    service: Annotated[
        str,
        typer.Option(
            "--service",
            envvar="HASTEN_SERVICE",
            help="Name of the service; default: the project's.",
            show_default=False,
        ),
    ] = "",
    only: Annotated[
        str,
        typer.Option("--only", envvar="HASTEN_ONLY", metavar="GROUPS", help="What is written, of these."),
    ] = ",".join(GROUPS),
    grace: Annotated[
        float,
        duration_option("--grace", "HASTEN_GRACE", "Of hasten run; what stops it waits for this twice, and more."),
    ] = "10s",  # type: ignore[assignment]
    grpc_port: Annotated[
        int,
        typer.Option(
            "--grpc-port", envvar="HASTEN_GRPC_PORT", min=0, max=65535, help="That the app serves, too; 0 for none."
        ),
    ] = 0,
    example: Annotated[  # noqa: FBT002 - a flag is what typer makes of a bool
        bool, typer.Option("--example", envvar="HASTEN_EXAMPLE", help="Write a starter of two services instead.")
    ] = False,
    dry_run: Annotated[  # noqa: FBT002
        bool, typer.Option("--dry-run", envvar="HASTEN_DRY_RUN", help="Write nothing; show all that would be written.")
    ] = False,
    yes: Annotated[  # noqa: FBT002
        bool, typer.Option("--yes", "-y", envvar="HASTEN_YES", help="Write without asking.")
    ] = False,
    force: Annotated[  # noqa: FBT002
        bool, typer.Option("--force", envvar="HASTEN_FORCE", help="Write over files that hasten init has not written.")
    ] = False,
    json: JsonOption = False,  # noqa: FBT002
) -> None:
    """Add hasten to a FastAPI project: dependency, install line, objectives, image, Compose, Kubernetes, workflow.

    Shows what it would write, changed files as a diff, and asks once. A file of yours is never written over, and either
    all is written or nothing. The app is imported in a process of its own, to see its routes. What it needs:
    pip install 'hasten\\[monitor]'.
    """
    # Over 40 lines because each option is a parameter, with its help.
    if example:
        _refuse_options_of_projects(context)
        proposal = propose_example(directory, force=force)
    else:
        if not 0 < grace <= _LONGEST_GRACE:
            raise ConfigurationError("--grace", f"{grace:g} s is no time to wait", "give up to 1h")
        options = Options(
            app=app, service=service, groups=_groups(only), force=force, timing=Timing(grace=grace), grpc_port=grpc_port
        )
        proposal = propose(directory, options)
    if not json:
        _print(proposal, whole=dry_run)
    written = bool(proposal.written) and not dry_run and _agreed(proposal, yes=yes, json=json)
    if written:
        write(proposal.root, proposal.written)
    if json:
        print_json(_data(proposal, written=written))
    else:
        _print_end(proposal, written=written, dry_run=dry_run)


def _refuse_options_of_projects(context: typer.Context) -> None:
    for option in _OF_PROJECTS:
        source = context.get_parameter_source(option)
        if source is not None and source.name == "COMMANDLINE":  # a variable may be there for other commands
            flag = f"--{option.replace('_', '-')}"
            raise ConfigurationError(flag, "the example is a project of its own", "leave it out, or --example")


def _groups(text: str) -> tuple[Group, ...]:
    wanted = tuple(word.strip() for word in text.split(",") if word.strip())
    unknown = next((word for word in wanted if word not in GROUPS), None)
    if unknown is not None or not wanted:
        problem = f"{unknown!r} is nothing that it writes" if unknown is not None else "names nothing"
        raise ConfigurationError("--only", problem, f"choose from {', '.join(GROUPS)}")
    return tuple(group for group in GROUPS if group in wanted)


def _agreed(proposal: Proposal, *, yes: bool, json: bool) -> bool:
    """Ask once, unless that has been answered.

    Raises:
      ConfigurationError: nobody can be asked.
    """
    if yes:
        return True
    if json or not sys.stdin.isatty():
        raise ConfigurationError("hasten init", "nothing written: nobody can be asked here", "give --yes or --dry-run")
    count = len(proposal.written)
    try:
        return typer.confirm(f"write {count} {_files(count)} in {proposal.root}?", err=True)
    except typer.Abort:  # what click makes of Ctrl-C and Ctrl-D
        raise KeyboardInterrupt from None


# ---- report


def _print(proposal: Proposal, *, whole: bool) -> None:
    console = output()
    if proposal.app:
        places = [change.path for change in proposal.changes if change.group == "app"]
        console.print(f"app: {proposal.app}{f' ({places[0]})' if places else ''}", soft_wrap=True, markup=False)
    for change in proposal.changes:
        console.print(f"  {change.path}: {_said(change)}", soft_wrap=True, markup=False)
    for change in proposal.written:
        if whole or change.state == "changed":
            console.print()
            _print_diff(change.diff())
    console.print()
    for note in proposal.notes:
        console.print(f"note: {note}", soft_wrap=True, markup=False)


def _print_diff(lines: Iterable[str]) -> None:
    console = output()
    for line in lines:
        style = "bold" if line.startswith(("+++", "---")) else _COLOURS.get(line[:1], "")
        console.print(Text(line, style=style), soft_wrap=True)


def _said(change: FileChange) -> str:
    match change.state:
        case "new":
            count = change.after.count(b"\n")
            return f"new, {count} line{'' if count == 1 else 's'}"
        case "kept":
            return "kept, since it is another one; --force writes over it"
        case "same":
            return "as it is"
    return change.state


def _print_end(proposal: Proposal, *, written: bool, dry_run: bool) -> None:
    console = output()
    count = len(proposal.written)
    if not count:
        console.print("nothing to write: everything is there")
    elif written:
        console.print(f"{count} {_files(count)} written", markup=False)
    else:
        console.print(f"nothing written; {count} {_files(count)} would be" if dry_run else "nothing written")
    print_next(_next(proposal, written=written or not count))


def _next(proposal: Proposal, *, written: bool) -> str:
    if not written:
        return "the same with --yes writes them"
    if not proposal.app:
        return f"{proposal.root / 'README.md'} says how to start them"
    return f"hasten run {proposal.app} serves it, and http://127.0.0.1:9464 shows it live"


def _files(count: int) -> str:
    return "file" if count == 1 else "files"


def _data(proposal: Proposal, *, written: bool) -> dict[str, object]:
    files = [
        {"path": change.path, "group": change.group, "state": change.state, "diff": "\n".join(change.diff())}
        for change in proposal.changes
    ]
    return {
        "folder": str(proposal.root),
        "app": proposal.app,
        "written": written,
        "files": files,
        "notes": list(proposal.notes),
    }
