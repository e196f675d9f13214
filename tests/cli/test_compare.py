"""The `hasten compare` command: real services, its verdicts, forms of output and exit codes."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hasten.cli import main
from tests.compare.busy_apps import runs, write_app
from tests.compare.repositories import commit, make_repository, worktrees

PLAN = """
rate = 250
duration = "30s"
warmup = "300ms"
[[request]]
path = "/work"
"""
# Few short rounds, for what does not depend on the verdict; a generator that is late by 100 ms spoils none.
BRIEF = ("--path", "/wait", "--rate", "100", "--round", "100ms", "--warmup", "0ms", "--budget", "1500ms")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with two apps, one of which computes for three times as long, and a plan."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    folder.joinpath("plan.toml").write_text(PLAN)
    write_app(folder, "fast")
    write_app(folder, "slow", rounds=12_000)
    return folder


def run(*arguments: str) -> int:
    """Run the command in this process; return its exit code."""
    with pytest.raises(SystemExit) as caught:
        main(["compare", *arguments])
    code = caught.value.code
    assert code is None or isinstance(code, int)
    return code or 0


def nothing_is_left(folder: Path) -> bool:
    """Tell whether no process serves from the folder, and no temporary folder is there."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return not any(_works_in(pid, folder) for pid in pids) and not list(folder.parent.glob("hasten-*"))


def _works_in(pid: int, folder: Path) -> bool:
    try:
        within = Path(f"/proc/{pid}/cwd").resolve().is_relative_to(folder.parent)
    except OSError:
        return False
    return within and pid != os.getpid() and runs(pid)


def test_a_slower_version_is_found(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A version that computes longer is worse, in p50 and CPU, with exit code 1."""
    code = run("fast:app", "slow:app", "--plan", "plan.toml", "--round", "100ms", "--budget", "12s", "--json")
    found = json.loads(capfd.readouterr().out)
    assert (code, found["verdict"]) == (1, "worse")
    changes = {(change["kind"], change["metric"]): change for change in found["changes"]}
    cpu = changes["", "cpu"]
    assert cpu["verdict"] == "worse"
    assert cpu["after"] > 1.3 * cpu["before"]
    assert cpu["low"] > 0
    assert changes["GET /work", "errors"]["after"] == 0
    assert (found["before"], found["after"]) == ("fast:app", "slow:app")
    assert len(found["pairs"]) == found["rounds"] >= 5
    assert nothing_is_left(folder)


def test_a_version_that_fails_is_worse(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Requests that are not answered as expected any more are a change like any other."""
    folder.joinpath("fails.py").write_text(
        folder.joinpath("fast.py").read_text()
        + "app.router.routes = [r for r in app.router.routes if r.path != '/work']\n"
    )
    code = run("fast:app", "fails:app", "--plan", "plan.toml", "--round", "100ms", "--budget", "12s", "--json")
    found = json.loads(capfd.readouterr().out)
    assert (code, found["verdict"]) == (1, "worse")
    (errors,) = [change for change in found["changes"] if change["metric"] == "errors"]
    assert (errors["verdict"], errors["before"], errors["after"]) == ("worse", 0.0, 1.0)


def test_too_few_rounds_are_undecided(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The same app twice in hardly any time: exit code 4, with what it could have seen, in 100 columns."""
    code = run("fast:app", "fast:app", *BRIEF)
    text = capfd.readouterr().out
    assert code == 4
    assert "undecided: " in text
    assert re.search(r"^  CPU/req +[0-9.]+ [mµ]s +[0-9.]+ [mµ]s ", text, re.MULTILINE)
    assert re.search(r"^next: .*--budget", text, re.MULTILINE)
    table = text[text.index("          before") : text.index("\n\n", text.index("CPU/req"))]
    assert max(map(len, table.splitlines())) <= 100


def test_markdown_has_a_table(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """As Markdown the report is a heading and a table with a row for each metric of each kind; a page is made, too."""
    run("fast:app", "fast:app", *BRIEF, "--output-format", "markdown", "--html", "page.html")
    text, said = capfd.readouterr()
    assert said == "report written to page.html\n"
    assert "<svg" in folder.joinpath("page.html").read_text()
    assert text.startswith("### hasten compare: undecided: ")
    assert "| GET /wait | p50 | " in text
    assert "| all requests | CPU/req | " in text


def test_two_urls_are_compared(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Services that run already are sent the same, and go on running."""
    command = [sys.executable, "-m", "hasten", "run", "fast:app", "--port", "0", "--admin", "off"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as service:
        assert service.stderr is not None
        url = service.stderr.readline().split()[-1]
        code = run(url, url, *BRIEF, "--json")
        assert service.poll() is None
        service.terminate()
    found = json.loads(capfd.readouterr().out)
    assert (code, found["before"]) == (4, url)
    (cpu,) = [change for change in found["changes"] if change["metric"] == "cpu"]
    assert cpu["before"] > 0


def test_revisions_are_compared(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Two revisions are served from worktrees, which are removed; the one that answers 404 is found to."""
    repository = make_repository(folder)
    write_app(folder, "main")
    commit(repository, {".gitignore": "__pycache__\n"}, "good")
    commit(repository, {"main.py": folder.joinpath("main.py").read_text().replace("/work", "/gone")}, "bad")
    folder.joinpath("main.py").write_text("this is not even Python")
    code = run("--git", "good..bad", "--plan", "plan.toml", "--round", "100ms", "--budget", "12s", "--json")
    found = json.loads(capfd.readouterr().out)
    assert (code, found["verdict"]) == (1, "worse")
    assert found["before"].startswith("good (")
    assert worktrees(repository) == [str(folder)]
    assert nothing_is_left(folder)


def test_a_plan_that_suits_neither_is_not_valid(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A path that both answer with 404: exit code 3, naming the check and what failed."""
    code = run("fast:app", "fast:app", "--path", "/nowhere", "--rate", "100", "--budget", "20s")
    captured = capfd.readouterr()
    assert code == 3
    assert "error: measurement not valid: errors: GET /nowhere: 100% of before's and 100%" in captured.err
    assert "mostly by status 404; mend the plan" in captured.err


def test_a_generator_that_is_late_is_not_valid(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A rate beyond what the generator can send in time: exit code 3, naming the check."""
    folder.joinpath("plan.toml").write_text(PLAN.replace("rate = 250", 'rate = 200_000\ntimeout = "30ms"'))
    code = run("fast:app", "fast:app", "--plan", "plan.toml", "--round", "100ms", "--budget", "1500ms")
    captured = capfd.readouterr()
    assert code == 3, captured.out
    assert "error: measurement not valid: sent requests: " in captured.err
    assert "pairs were spoilt" in captured.err


def test_a_side_that_dies_meanwhile_is_named(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Exit code 3 with its last words, and nothing left running."""
    code = run("fast:app", "fast:app", "--path", "/crash", "--rate", "50")
    captured = capfd.readouterr()
    assert code == 3
    assert captured.err.startswith("error: before: fast:app: ended with exit code 3 ")
    assert "the disk is full" in captured.err
    assert captured.err.count("\n") == 1
    assert nothing_is_left(folder)


@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        (("fast:app",), 2, "--plan: no plan given; write one"),
        (("--plan", "plan.toml"), 2, "compare: two sides are needed; give two"),
        (("fast:app", "--plan", "plan.toml"), 2, "compare: two sides are needed"),
        (("fast:app", "slow:app", "--plan", "gone.toml"), 2, "gone.toml: cannot be read: No such file"),
        (("fast:app", "slow:app", "--path", "/"), 2, "--rate: no rate given; for example"),
        (("fast:app", "slow:app", "--plan", "plan.toml", "--path", "/"), 2, "--path: the plan says what to send"),
        (("fast:app", "nosuch:app", "--plan", "plan.toml"), 2, "target 'nosuch:app': no module named 'nosuch'"),
        (("fast:app", "slow", "--plan", "plan.toml"), 2, "AFTER 'slow': neither module:app nor a URL"),
        (("fast:app", "http://127.0.0.1:1", *BRIEF), 3, "http://127.0.0.1:1: connection refused"),
        (("fast:app", "slow:app", "--plan", "plan.toml", "--threshold", "5"), 2, "--threshold: '5' is no percentage"),
        (("fast:app", "slow:app", "--plan", "plan.toml", "--threshold", "0%"), 2, "--threshold: 0% is not from 0.2%"),
        (("fast:app", "slow:app", "--plan", "plan.toml", "--budget", "0s"), 2, "--budget: 0 s is no time"),
        (
            ("fast:app", "slow:app", "--plan", "plan.toml", "--rate", "0.1"),
            2,
            "plan.toml: rate: 0.1 requests/s give 1 in a round",
        ),
        (("fast:app", "slow:app", "--plan", "plan.toml", "--setup", "make"), 2, "--setup: it prepares revisions"),
        (("fast:app", "slow:app", *BRIEF, "--html", "no/page.html"), 2, "--html: no folder no"),
        (("fast:app", "--plan", "plan.toml", "--git", "a..b"), 2, "--git: {folder} is in no repository"),
        (("a:app", "b:app", "--plan", "plan.toml", "--git", "a..b"), 2, "--git: one app in two revisions"),
        (("http://127.0.0.1", "--plan", "plan.toml", "--git", "a..b"), 2, "--git: http://127.0.0.1 is a URL"),
    ],
)
def test_what_is_wrong_is_one_line(
    folder: Path, capfd: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, problem: str
) -> None:
    """Every mistake of the user's is one line that names it, and starts nothing that stays."""
    assert run(*arguments) == code
    captured = capfd.readouterr()
    assert captured.err.startswith(f"error: {problem.format(folder=folder)}")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert nothing_is_left(folder)


def _on_terminal(act: Callable[[int, str], bool], *arguments: str) -> tuple[int, str]:
    """Run the command with its stderr on a terminal; `act` gets its pid and what it has said, until it acts."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "hasten", "compare", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, text=True) as process:
        os.close(theirs)
        said, acted = "", False
        try:
            while chunk := os.read(ours, 4096):
                said += chunk.decode(errors="replace")
                acted = acted or act(process.pid, said)
        except OSError:  # the other end is closed
            pass
        os.close(ours)
        assert process.stdout is not None
        return process.wait(), process.stdout.read()


def test_an_interrupt_tells_what_is_known(folder: Path) -> None:
    """Ctrl-C while pairs are measured ends the sides, prints the report so far, and exits with 130."""

    def interrupt(pid: int, said: str) -> bool:
        if "6 pairs" not in said:
            return False
        os.kill(pid, signal.SIGINT)
        return True

    code, printed = _on_terminal(interrupt, "fast:app", "fast:app", *BRIEF, "--budget", "1m")
    assert code == 130
    assert "interrupted" in printed
    assert "CPU/req" in printed
    assert nothing_is_left(folder)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_leaves_nothing(folder: Path, number: int) -> None:
    """Whatever ends the command while it starts or warms up, both sides and the worktrees are gone."""
    repository = make_repository(folder)
    write_app(folder, "main")
    commit(repository, {}, "one")

    def end(pid: int, said: str) -> bool:
        if "warming up before" not in said:
            return False
        os.kill(pid, number)
        return True

    code, printed = _on_terminal(end, "--git", "one..one", "--plan", "plan.toml", "--warmup", "20s")
    assert code == 128 + number
    assert printed == ""
    assert worktrees(repository) == [str(folder)]
    assert nothing_is_left(folder)
