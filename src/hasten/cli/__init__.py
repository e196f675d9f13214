"""The `hasten` command: one module per verb, each of which parses, calls and prints.

Exit codes: 0 ok · 1 findings or a proven regression · 2 usage or configuration · 3 target unreachable or
measurement not valid · 4 inconclusive · 130 interrupted.
"""

import sys
from typing import Annotated, Any

import typer

import hasten
from hasten._core.errors import HastenError
from hasten.cli import check, doctor, events, load, run
from hasten.cli._console import print_error

__all__ = ("app", "main")

app = typer.Typer(
    name="hasten",
    help="Find where every millisecond of a Python service goes, take it out, prove that it is gone.",
    epilog="Exit codes: 0 ok, 1 findings, 2 usage, 3 unreachable or not valid, 4 inconclusive, 130 interrupted.",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("doctor")(doctor.doctor)
app.command("check")(check.check)
app.command("load")(load.load)
app.command("run")(run.run)
app.add_typer(events.events, name="events")


@app.callback()
def options(
    context: typer.Context,
    version: Annotated[  # noqa: FBT002 - a flag is what typer makes of a bool
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)
    ] = False,
) -> None:
    if version:
        typer.echo(f"hasten {hasten.__version__}")
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
