"""`hasten profile`: what it prints and writes, and one line for whatever is wrong."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.main import get_command

from hasten.cli import main, profile
from hasten.profiling._files import read_profile

pytestmark = [pytest.mark.may_block, pytest.mark.timeout(120)]

COMMAND = [sys.executable, "-m", "hasten", "profile"]
SPIED = Path(__file__).parents[1] / "profiling" / "spied.py"


@pytest.fixture(scope="module")
def pid() -> Iterator[str]:
    """Return the PID of a process that works: Basket.price half of the time, stock and render."""
    with subprocess.Popen(
        [sys.executable, str(SPIED), "work"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield str(process.pid)
        process.kill()


class Done(NamedTuple):
    """How a command has ended."""

    returncode: Any
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs `hasten profile` in this process and an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Done:
        with pytest.raises(SystemExit) as caught:
            main(["profile", *arguments])
        return Done(caught.value.code or 0, *capsys.readouterr())

    return run


# ---- what it prints


def test_a_pid_is_looked_at_by_pyspy(pid: str, run: Run) -> None:
    """The table has the planted functions, and one line says what comes next; nothing else is written."""
    done = run(pid, "-d", "1s")
    assert (done.returncode, done.stderr) == (0, "")
    assert "py-spy cpu" in done.stdout
    assert "spin" in done.stdout
    last = done.stdout.splitlines()[-1]
    assert last.startswith(f"next: hasten profile {pid} -o profile.html")
    assert done.stdout.count("next:") == 1


def test_json_is_a_profile_and_nothing_else(pid: str, tmp_path: Path, run: Run) -> None:
    """With --json stdout is a profile that `hasten profile diff` reads, with what was asked for in it."""
    done = run(pid, "--seconds", "500ms", "--json", "--clock", "wall", "--threads", "--rate", "50")
    assert (done.returncode, done.stderr) == (0, "")
    file = tmp_path / "a.json"
    file.write_text(done.stdout)
    found = read_profile(file)
    assert (found.engine, found.clock, found.interval) == ("py-spy", "wall", 0.02)
    assert {stack.frames[0].function for stack in found.stacks} >= {"thread MainThread"}


@pytest.mark.parametrize(
    ("name", "begins", "then"),
    [
        ("a.html", "<!doctype html>", "next: open a.html in a browser"),
        ("a.json", "{", "next: change something, profile it again into after.json, and run hasten profile diff a.json"),
        ("a.speedscope.json", "{", "next: change something"),
        ("a.folded", "", "next: change something"),
    ],
)
def test_files_are_what_their_names_say(name: str, begins: str, then: str, pid: str, tmp_path: Path, run: Run) -> None:
    """The suffix chooses the form, and the next step is what the file is for."""
    done = run(pid, "-d", "300ms", "-o", name)
    assert (done.returncode, done.stderr) == (0, f"profile written to {name}\n")
    assert tmp_path.joinpath(name).read_text()[:100].lower().startswith(begins)
    assert done.stdout.splitlines()[-1].startswith(then)


def test_two_profiles_are_compared(pid: str, run: Run) -> None:
    """`hasten profile diff` is there, under the same word."""
    for name in ("a.json", "b.json"):
        assert run(pid, "-d", "500ms", "-o", name).returncode == 0
    done = run("diff", "a.json", "b.json")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_process_that_does_nothing_has_a_next_step(run: Run) -> None:
    """An empty profile says why it is empty, and which clock shows what the process waits for."""
    script = "print('ready', flush=True); import threading; threading.Event().wait()"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        done = run(str(process.pid), "-d", "500ms")
        process.kill()
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].startswith("next: hasten profile ")


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_is_of_profiling_itself(flag: str, run: Run) -> None:
    """Help shows the options of what has no name, and names diff."""
    done = run(flag)
    assert done.returncode == 0
    for word in ("Usage: hasten profile [OPTIONS]", "--engine", "--clock", "hasten profile diff BEFORE AFTER"):
        assert word in done.stdout
    done = run("diff", "--help")
    assert "Usage: hasten profile diff" in done.stdout


def test_every_option_has_its_variable_and_help() -> None:
    """Every option can be set by a HASTEN_* variable, and says what it does."""
    group: Any = get_command(profile.profile)
    options = [one for one in group.commands["record"].params if one.param_type_name == "option" and one.name != "help"]
    assert len(options) > 10
    for option in options:
        assert str(option.envvar).startswith("HASTEN_"), option.opts
        assert option.help, option.opts


# ---- what is wrong


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "hasten profile: nothing to profile; give a PID, the URL of an admin port, or an app with --plan"),
        (["PID", "--endpoint", "GET /"], 2, "--endpoint: py-spy does not know endpoints; take ledger or yappi"),
        (["PID", "--plan", "plan.toml"], 2, "--plan: it is for an app that is served here"),
        (["PID", "-d", "301s"], 2, "--seconds: 301 is not from 0.1 to 300"),
        (["PID", "-d", "5"], 2, "Invalid value for '--seconds' / '-d'"),
        (["PID", "--rate", "0"], 2, "--rate: 0 is not from 1 to 1000 a second"),
        (["PID", "--idle", "--clock", "cpu"], 2, "--idle: threads that sleep take no CPU time"),
        (["PID", "--engine", "perf"], 2, "Invalid value for '--engine'"),
        (["PID", "-o", "nowhere/a.html"], 2, "--output: there is no folder "),
        (["PID", "-o", "."], 2, "--output: . cannot be written"),
        (["PID", "--bogus"], 2, "No such option: --bogus; see hasten profile --help"),
        (["PID", "extra"], 2, "; see hasten profile --help"),
        (["PID", "--engine", "ledger"], 3, "no admin port of hasten in this process"),
        (["999999999", "--engine", "ledger"], 3, "PID 999999999: no such process runs"),
        (["999999999"], 3, "PID 999999999: no such process runs"),
        (["0"], 3, "PID 0: no such process runs"),
        (["main:app"], 2, "--plan: no plan given; write one (see hasten load --help)"),
        (["main:app", "--plan", "nowhere.toml"], 2, "nowhere.toml"),
        (["main.py:app", "--plan", "plan.toml"], 2, "names a file, not a module; write main:app"),
        (["main:app", "--plan", "empty.toml"], 2, "empty.toml: "),
        (["main:app", "--plan", "rare.toml"], 2, "rare.toml: rate: 0.01 requests a second are none in 2 s"),
        (["main:app", "--plan", "plan.toml", "--native"], 2, "--native: ledger does not know it; it is py-spy's"),
        (["http://127.0.0.1:1"], 3, "Connection refused; is a service with hasten.install running there?"),
        (["127.0.0.1:1", "--engine", "yappi", "-o", "a.folded"], 2, "yappi knows functions and no stacks"),
        (["127.0.0.1:1", "--engine", "yappi", "--rate", "9"], 2, "--rate: yappi sees every call"),
        (["ftp://127.0.0.1"], 2, "is no address of an admin port"),
        (["diff", "nowhere.json", "nowhere.json"], 2, "nowhere.json"),
        (["diff"], 2, "; see hasten profile diff --help"),
    ],
)
def test_what_is_wrong_is_one_line(
    arguments: list[str], code: int, words: str, pid: str, tmp_path: Path, run: Run
) -> None:
    """Every wrong word, target and plan is one line with what to do, and the exit code that scripts know."""
    request = '[[request]]\npath = "/"\n'
    tmp_path.joinpath("plan.toml").write_text(f'rate = 9\nduration = "2s"\n{request}')
    tmp_path.joinpath("rare.toml").write_text(f'rate = 0.01\nduration = "2s"\n{request}')
    tmp_path.joinpath("empty.toml").write_text('rate = 9\nduration = "2s"\n')
    done = run(*(pid if word == "PID" else word for word in arguments))
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_pyspy_that_is_missing_is_one_line(pid: str, tmp_path: Path) -> None:
    """Without py-spy the line names the extra that has it."""
    # A Python that runs from a folder without py-spy, as one does whose wheels are elsewhere.
    lone = tmp_path / "python"
    lone.symlink_to(sys.executable)
    script = f"import sys; sys.executable = {str(lone)!r}; from hasten.cli import main; main(['profile', '{pid}'])"
    environment = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, timeout=60)
    message = "error: py-spy is not installed; run: pip install 'hasten[profile]'\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)


def test_another_users_process_is_one_line() -> None:
    """A process that may not be traced is told with what must be granted, and with the engine that needs no leave."""
    if os.geteuid():
        command = [*COMMAND, "1"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    else:
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            pytest.skip("root may trace everybody, and setpriv, which takes that away, is not here")
        with subprocess.Popen(["/bin/sleep", "60"], user=65534) as process:
            command = [setpriv, "--bounding-set", "-sys_ptrace", "--", *COMMAND, str(process.pid)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            process.kill()
    assert (done.returncode, done.stdout) == (3, "")
    assert "CAP_SYS_PTRACE" in done.stderr
    assert done.stderr.endswith("; or profile it from within: hasten profile URL --engine ledger\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_leave_nothing_behind(number: signal.Signals, code: int, pid: str) -> None:
    """Ctrl-C and SIGTERM end py-spy with the command, without a word; the process that was looked at goes on."""
    with subprocess.Popen([*COMMAND, pid, "-d", "60s"], stderr=subprocess.PIPE, text=True) as process:
        spy = ""
        while not spy and process.poll() is None:
            spy = child_of(process.pid)
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (code, "")
    assert spy
    assert not Path("/proc", spy).exists()
    assert "State:\tT" not in Path("/proc", pid, "status").read_text()


def child_of(pid: int) -> str:
    """Return the id of py-spy once it is one of a process's children."""
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            for child in task.read_text().split():
                if b"py-spy" in Path("/proc", child, "cmdline").read_bytes():
                    return child
        except OSError:  # it has just ended
            continue
    return ""


def test_a_profile_is_one_process_and_json_is_json(pid: str, run: Run) -> None:
    """What is printed as JSON says which process it is of."""
    done = run(pid, "-d", "300ms", "--json")
    assert json.loads(done.stdout)["labels"]["pid"] == pid
