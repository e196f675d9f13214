"""The `hasten` command: one module per verb, each of which parses, calls and prints.

Exit codes: 0 ok · 1 findings or a proven regression · 2 usage or configuration · 3 target unreachable or
measurement not valid · 4 inconclusive · 130 interrupted.
"""

import sys
from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

from hasten._core.errors import HastenError
from hasten._core.version import __version__
from hasten.cli._console import print_error

__all__ = ("app", "main")

_VERBS = (
    "doctor", "check", "load", "compare", "gate", "profile", "profiles", "run", "dev", "top", "trace", "drill",
    "monitor", "events", "init",
)  # fmt: skip
"""Each is a module of this package, which has a function or a group of this name."""


class _Commands(MutableMapping[str, Any]):
    """The commands by name, each imported when it is wanted: `hasten load` starts in half the time of all of them."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = dict.fromkeys(_VERBS)

    def __getitem__(self, verb: str) -> Any:
        if self._made[verb] is None:
            made = getattr(import_module(f"hasten.cli.{verb}"), verb)
            parent = typer.Typer()
            if isinstance(made, typer.Typer):
                parent.add_typer(made, name=verb)
            else:
                parent.command(verb)(made)
            self._made[verb] = get_group(parent).commands[verb]
        return self._made[verb]

    def __setitem__(self, verb: str, command: Any) -> None:
        self._made[verb] = command

    def __delitem__(self, verb: str) -> None:
        del self._made[verb]

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)


class _Group(TyperGroup):
    def __init__(self, **settings: Any) -> None:
        commands: Any = _Commands()  # typer names dict and Sequence, and asks for no more than a mapping
        commands.update(settings.pop("commands", None) or {})
        super().__init__(commands=commands, **settings)


app = typer.Typer(
    name="hasten",
    cls=_Group,
    help="Find where every millisecond of a Python service goes, take it out, prove that it is gone.",
    epilog="Exit codes: 0 ok, 1 findings, 2 usage, 3 unreachable or not valid, 4 inconclusive, 130 interrupted.",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def options(
    context: typer.Context,
    version: Annotated[  # noqa: FBT002 - a flag is what typer makes of a bool
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)
    ] = False,
) -> None:
    if version:
        typer.echo(f"hasten {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit; an error of the user's making is one line on stderr."""
    try:
        # In this mode typer returns the exit code and raises usage errors, which it would print in a box.
        sys.exit(app(arguments, prog_name="hasten", standalone_mode=False))
    except HastenError as error:
        print_error(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if not hasattr(error, "format_message"):  # click's usage errors, from whichever copy typer uses
            raise
        print_error(_usage_error(error))
        sys.exit(2)


def _usage_error(error: Any) -> str:
    """Return click's message as one line, with the command whose help says more."""
    message = " ".join(error.format_message().split()).rstrip(".")
    command = error.ctx.command_path if getattr(error, "ctx", None) else "hasten"
    return f"{message}{' ' if message.endswith('?') else '; '}see {command} --help"
