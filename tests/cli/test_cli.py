"""What all commands share: help, version, exit codes, one line for an error, colours."""

import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from typer.main import get_command

import hasten
from hasten._core.errors import ConfigurationError, HastenError, InvalidMeasurement, TargetUnreachable
from hasten.cli import app, main

VERBS = (
    "doctor", "check", "load", "compare", "gate", "run", "dev", "top", "trace", "monitor", "profile", "profiles",
    "events", "drill", "init",
)  # fmt: skip


def run(*arguments: str) -> int:
    """Run the command line in this process and return its exit code."""
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    code = caught.value.code or 0
    assert isinstance(code, int)
    return code


@pytest.fixture
def fail_with() -> Iterator[Callable[[BaseException], None]]:
    """Return a function that gives the command line a verb `fail` which raises an error."""
    before = list(app.registered_commands)

    def register(error: BaseException) -> None:
        def fail() -> None:
            raise error

        app.command("fail")(fail)

    yield register
    app.registered_commands[:] = before


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` prints name and version on stdout."""
    assert run("--version") == 0
    assert capsys.readouterr() == (f"hasten {hasten.__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "without"),
    [(["--version"], "hasten.load hasten.ledger"), (["load", "nowhere"], "hasten.monitor hasten.compare")],
)
def test_a_command_imports_what_it_needs_alone(arguments: list[str], without: str) -> None:
    """What other verbs need is not imported, so that a command starts at once."""
    program = (
        "import sys\nfrom hasten.cli import main\n"
        "try:\n    main(sys.argv[1:])\nfinally:\n    print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    imported = done.stderr.splitlines()[-1].split()
    assert "hasten.cli" in imported
    assert not set(without.split()) & set(imported)


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_names_every_verb(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Help lists the verbs and the exit codes."""
    assert run(flag) == 0
    text = capsys.readouterr().out
    for word in (*VERBS, "Exit codes"):
        assert word in text


def test_no_verb_is_a_usage_error_with_help(capsys: pytest.CaptureFixture[str]) -> None:
    """`hasten` alone prints the help and exits 2."""
    assert run() == 2
    assert "Usage: hasten" in capsys.readouterr().out


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each verb has help of its own on stdout."""
    assert run(verb, "--help") == 0
    assert f"Usage: hasten {verb}" in capsys.readouterr().out


def options_of(verb: str) -> list[Any]:
    command: Any = get_command(app)
    return [
        parameter
        for parameter in command.commands[verb].params
        if parameter.param_type_name == "option" and parameter.name != "help"
    ]


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_has_its_variable_and_help(verb: str) -> None:
    """Every option can be set by a HASTEN_* variable, which its help shows, and says what it does."""
    for option in options_of(verb):
        assert str(option.envvar).startswith("HASTEN_"), option.opts
        assert option.show_envvar, option.opts
        assert option.help, option.opts


@pytest.mark.parametrize(
    ("arguments", "problem", "remedy"),
    [
        (["chek"], "No such command 'chek'", "? see hasten --help"),  # with a verb that resembles it
        (["xyz"], "No such command 'xyz'", "; see hasten --help"),
        (["check", "--xyz"], "No such option: --xyz", "; see hasten check --help"),
        (["--xyz"], "No such option: --xyz", "; see hasten --help"),
        (["run", "--port", "many"], "Invalid value for '--port'", "; see hasten run --help"),
        (["load", "--for", "3"], "Invalid value for '--for'", "; see hasten load --help"),
    ],
)
def test_usage_error_is_one_line(
    arguments: list[str], problem: str, remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong verb, option or value is one line on stderr that names the help, and exit 2."""
    assert run(*arguments) == 2
    output, message = capsys.readouterr()
    assert (output, message.count("\n")) == ("", 1)
    assert message.startswith(f"error: {problem}")
    assert message.endswith(f"{remedy}\n")


def test_app_that_does_not_import_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A target that does not exist is one line on stderr, and exit 2."""
    assert run("run", "no_such_module:app") == 2
    output, message = capsys.readouterr()
    assert output == ""
    assert message.splitlines() == [message.rstrip("\n")]
    assert message.startswith("error: target 'no_such_module:app': no module named 'no_such_module'; ")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigurationError("plan.toml: [load] rate", "-1 is not positive", "give more"), 2),
        (TargetUnreachable("http://127.0.0.1:1", "connection refused"), 3),
        (InvalidMeasurement("lateness", "40 ms at p99", "ask for less " * 30), 3),
    ],
)
def test_error_is_one_line_with_its_exit_code(
    error: HastenError,
    code: int,
    fail_with: Callable[[BaseException], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An error of the user's making is printed as it is, in one line however long, without a traceback."""
    fail_with(error)
    assert run("fail") == code
    assert capsys.readouterr() == ("", f"error: {error}\n")


def test_interruption_exits_130(fail_with: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C ends a command with 130 and without a traceback."""
    fail_with(KeyboardInterrupt())
    assert run("fail") == 130
    assert capsys.readouterr() == ("", "")


def test_fault_of_our_own_keeps_its_traceback(fail_with: Callable[[BaseException], None]) -> None:
    """An unexpected error is not passed off as the user's."""
    fail_with(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        main(["fail"])


def on_terminal(**changes: str) -> str:
    """Return what a failing command prints on a terminal."""
    ours, theirs = pty.openpty()
    subprocess.run(
        [sys.executable, "-m", "hasten", "no-such-verb"],
        stdout=theirs,
        stderr=theirs,
        stdin=theirs,
        env={**os.environ, "TERM": "xterm-256color", **changes},
        timeout=50,
    )
    printed = os.read(ours, 65536).decode()
    os.close(ours)
    os.close(theirs)
    return printed


def test_colours_only_where_wanted() -> None:
    """An error is red on a terminal, and not with NO_COLOR."""
    red, without = "\x1b[1;31m", on_terminal(NO_COLOR="1")
    assert red in on_terminal()
    assert "31m" not in without
    assert "No such command 'no-such-verb'" in without
