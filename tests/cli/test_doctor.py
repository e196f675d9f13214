"""The `hasten doctor` command: its options, forms of output and exit codes."""

import json
import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from hasten.cli import main
from hasten.ledger import Account, Kind, Line, Recorder, Site

PLAN = """
rate = 20
duration = "30s"
warmup = "0s"
[[request]]
path = "/"
"""
APP = """
import asyncio, os, socket

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    if "WITNESS" in os.environ:
        global witness
        if "witness" not in globals():
            witness = socket.create_connection(("127.0.0.1", int(os.environ["WITNESS"])))
            witness.sendall(b"here")
    await asyncio.sleep(0.3)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
"""
# Works for 30 ms at a time on the loop, which a rule without source files calls a long computation.
BUSY = Site("{folder}/busy.py", 12, "report", "", "")
LENGTH = 0.03


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    tmp_path.joinpath("plan.toml").write_text(PLAN)
    tmp_path.joinpath("grpc.toml").write_text('rate = 1\nduration = "1s"\n[[request]]\nmethod = "shop.Stock/Get"\n')
    tmp_path.joinpath("waiting.py").write_text(APP)
    return tmp_path


@pytest.fixture
def recorded(folder: Path) -> Path:
    """A folder with recordings in which one line costs nearly all the time."""
    record(folder / "kept", Kind.COMPUTING, LENGTH, folder)
    return folder / "kept"


def record(kept: Path, kind: Kind, seconds: float, folder: Path) -> None:
    recorder = Recorder(kept / "shop-1.accounts")
    site = msgspec.structs.replace(BUSY, file=str(folder / "busy.py"))
    for number in range(40):
        recorder(
            Account(
                service="shop",
                endpoint="GET /report",
                target="/report",
                request_id="",
                status=200,
                started=100.0 + number,
                wall=seconds,
                unread=0.0,
                lines=(Line(kind, site, seconds, 1),),
                timeline=((0, seconds),),
            )
        )
    recorder.close()


def run(*arguments: str) -> int:
    """Run the command line in this process and return its exit code."""
    with pytest.raises(SystemExit) as caught:
        main(["doctor", *arguments])
    code = caught.value.code or 0
    assert isinstance(code, int)
    return code


def test_findings_exit_1(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Findings are exit code 1; the report on stdout names relative places and ends with what is next."""
    assert run("--from", "kept") == 1
    output, message = capsys.readouterr()
    assert message == ""
    assert output.startswith("where the time goes")
    assert "computing  busy.py:12 report" in output
    assert output.splitlines()[-1] == "next: fix HS102 at busy.py:12, then run hasten doctor again"


def test_no_findings_exit_0(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Recordings without a cause worth a fix are exit code 0."""
    record(folder / "kept", Kind.COMPUTING, 0.002, folder)
    assert run("--from", "kept") == 0
    assert "0 findings" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--json"], ["--output-format", "json"]])
def test_json_alone_on_stdout(arguments: list[str], recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The JSON form is all that stands on stdout."""
    assert run("--from", "kept", *arguments) == 1
    form = json.loads(capsys.readouterr().out)
    assert form["findings"][0]["code"] == "HS102"
    assert form["endpoints"][0]["requests"] == 40
    assert form["load"] is None
    assert form["environment"]["cpus"] >= 1


def test_github_form(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The GitHub form is workflow commands and nothing else."""
    assert run("--from", "kept", "--output-format", "github") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines
    assert all(line.startswith("::warning file=busy.py,line=12,title=HS") for line in lines)


def test_html_page(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--html` writes a page beside the report and says so on stderr."""
    assert run("--from", "kept", "--html", "report.html") == 1
    page = Path("report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "busy.py:12" in page
    assert "The event loop gives nobody else a turn" in page
    output, message = capsys.readouterr()
    assert message == "report written to report.html\n"
    assert output.startswith("where the time goes")


def test_html_that_cannot_be_written(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A page that cannot be written is one line on stderr, exit code 2."""
    assert run("--from", "kept", "--html", "absent/report.html") == 2
    output, message = capsys.readouterr()
    assert output == ""
    assert message == "error: --html: cannot write absent/report.html: No such file or directory\n"


def test_options_from_the_environment(
    recorded: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An option that is not given is taken from its variable."""
    monkeypatch.setenv("HASTEN_FROM", "kept")
    monkeypatch.setenv("HASTEN_OUTPUT_FORMAT", "github")
    assert run() == 1
    assert capsys.readouterr().out.startswith("::warning")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["waiting:app"], "--plan: no plan given; "),
        (["waiting:app", "--plan", "absent.toml"], "absent.toml: cannot be read"),
        (["waiting:app", "--plan", "grpc.toml"], "--plan: the doctor drives HTTP, this plan calls gRPC; "),
        (["waiting:app", "--plan", "plan.toml", "--rate", "-1"], "rate: -1 is not above 0"),
        (["waiting:app", "--plan", "plan.toml", "--for", "soon"], "'soon' is no duration"),
        (
            ["waiting:app", "--plan", "plan.toml", "--start", "x"],
            "--start: either a command or the app 'waiting:app'",
        ),
        (["http://127.0.0.1:1", "--plan", "plan.toml"], "the doctor has to start what it examines"),
        (["--start", "x", "--plan", "plan.toml"], "plan.toml: target: no target given"),
        (["--start", "x", "--plan", "plan.toml", "--target", "ftp://x"], "is no http or https URL"),
        (["waiting:app", "--plan", "plan.toml", "--source", "absent"], "--source: absent does not exist"),
        (["absent:app", "--plan", "plan.toml"], "target 'absent:app': no module named 'absent'"),
        (["waiting:nothing", "--plan", "plan.toml"], "has no attribute 'nothing'"),
        (["--plan", "plan.toml"], "target: no app given and none found here"),
        (["--from", "absent"], "absent: no recorded requests"),
    ],
)
def test_errors_of_the_caller(
    arguments: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the caller got wrong is one line on stderr that names the place, exit code 2."""
    assert run(*arguments) == 2
    output, said = capsys.readouterr()
    assert output == ""
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert message in said


def test_unreachable_exits_3(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A service that never answers is one line on stderr, exit code 3."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        target = f"http://127.0.0.1:{free.getsockname()[1]}"
    command = f"{sys.executable} -c 'import sys; sys.exit(5)'"
    assert run("--start", command, "--plan", "plan.toml", "--target", target) == 3
    said = capsys.readouterr().err
    assert "ended with exit code 5 before it answered" in said
    assert said.count("\n") == 1


def test_port_in_use(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A command whose port is taken says so in one line, not with a report."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen: a target that accepts is waited for
        port = taken.getsockname()[1]
        command = f"{sys.executable} -m hasten run waiting:app --port {port}"
        code = run("--start", command, "--plan", "plan.toml", "--target", f"http://127.0.0.1:{port}")
    assert code in (2, 3)
    output, said = capsys.readouterr()
    assert output == ""
    assert f"cannot listen on 127.0.0.1:{port}" in said
    assert said.count("\n") == 1


@pytest.fixture
def witness(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A socket to which the app connects at its first request; the connection ends with the app."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(40)
        monkeypatch.setenv("WITNESS", str(listener.getsockname()[1]))
        yield listener


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interruption_ends_the_service(number: signal.Signals, code: int, folder: Path, witness: socket.socket) -> None:
    """Ctrl-C, or SIGTERM, under load ends the service and exits without a report or a traceback."""
    command = [sys.executable, "-m", "hasten", "doctor", "waiting:app", "--plan", "plan.toml"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as doctor:
        connection, _ = witness.accept()
        with connection:
            connection.settimeout(40)
            assert connection.recv(4) == b"here"
            doctor.send_signal(number)
            assert doctor.communicate(timeout=40) == ("", "")
            assert doctor.returncode == code
            assert connection.recv(1) == b""


def test_progress_on_a_terminal_only(recorded: Path) -> None:
    """On a terminal one line of stderr tells what is going on and is removed at the end."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "hasten", "doctor", "--from", "kept"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, timeout=50, check=False)
    progress = os.read(ours, 65536).decode()
    os.close(ours)
    os.close(theirs)
    assert "\r\x1b[Kdiagnosing" in progress
    assert progress.endswith("\r\x1b[K")
    assert b"\x1b" not in done.stdout
