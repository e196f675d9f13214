"""The doctor's session: it starts services, drives them, ends them in every case, reads their recordings."""

import select
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hasten._core.errors import ConfigurationError, HastenError, InvalidMeasurement, TargetUnreachable
from hasten._core.processes import ServiceProcess, answers
from hasten.diagnose import Severity, Subject, examine, examine_recordings
from hasten.diagnose.report import Report
from hasten.load import Plan

SHOP = """
import asyncio, time
from fastapi import FastAPI

app = FastAPI()

def price(number: int) -> int:
    time.sleep(0.015)  # FAULT
    return number

@app.get("/products/{number}")
async def product(number: int) -> dict[str, int]:
    return {"price": price(number)}

@app.get("/report")
async def report() -> dict[str, int]:
    await asyncio.sleep(0.4)
    return {}

@app.get("/broken")
async def broken() -> None:
    raise RuntimeError("on purpose")
"""
# The slow report's p99 lets a busy machine's load generator be late by 40 ms in a valid run.
PLAN = """
rate = 25
duration = "2s"
warmup = "600ms"
[[request]]
path = "/products/{n}"
weight = 6
parameters.n.range = [1, 9]
[[request]]
path = "/report"
weight = 3
[[request]]
path = "/broken"
"""
WITNESSED = """
import os, socket
witness = socket.create_connection(("127.0.0.1", int(os.environ["WITNESS"])))
witness.sendall(b"here")
"""


class Witness:
    """Learns by a connection that a process runs, and by its end that the process is gone."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(40)
        self.port: int = self._listener.getsockname()[1]
        self._connections: list[socket.socket] = []

    def has_seen(self) -> bool:
        """Whether a process has run that `sees` will tell of."""
        return bool(select.select([self._listener], [], [], 0.0)[0])

    def sees(self) -> None:
        """Wait until one more process runs."""
        connection, _ = self._listener.accept()
        connection.settimeout(40)
        assert connection.recv(4) == b"here"
        self._connections.append(connection)

    def sees_the_end(self) -> None:
        """Wait until all processes seen so far are gone."""
        for connection in self._connections:
            assert connection.recv(1) == b""

    def close(self) -> None:
        for closing in (self._listener, *self._connections):
            closing.close()


@pytest.fixture
def witness(monkeypatch: pytest.MonkeyPatch) -> Iterator[Witness]:
    made = Witness()
    monkeypatch.setenv("WITNESS", str(made.port))
    yield made
    made.close()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_shop(tmp_path)


def write_shop(path: Path) -> Path:
    path.joinpath("shop.py").write_text(SHOP)
    path.joinpath("plan.toml").write_text(PLAN)
    return path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def plan_for(folder: Path, target: str = "http://127.0.0.1") -> Plan:
    return Plan.from_file(folder / "plan.toml", target=target)


def ignore(_: str) -> None:
    """Announce to nobody."""


def patiently(subject: Subject, plan: Plan, folder: Path, keep: Path, heard: list[str]) -> Report:
    """Examine; again when the machine was too busy for a valid load, which is not what is tested here."""
    for attempt in range(3):
        try:
            return examine(subject, plan, [folder], keep=keep / str(attempt), announce=heard.append)
        except InvalidMeasurement as error:
            last = error
    raise last


def expect_given_up(verb: str, witness: Witness, plan: Plan, **subject: str) -> None:
    """Examine what never does it, with longer and longer start timeouts until a process had the time to run."""
    for seconds in (1.0, 3.0, 8.0):  # on most machines the first one will do
        with pytest.raises(TargetUnreachable, match=f"does not {verb} within {seconds:g} s"):
            examine(Subject(**subject, start_timeout=seconds), plan, [], announce=ignore)
        if witness.has_seen():
            return


@pytest.fixture(scope="module")
def examined(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, list[str], Path]:
    """Examine the shop once; (report, announcements, folder of the recordings)."""
    folder, keep = write_shop(tmp_path_factory.mktemp("shop")), tmp_path_factory.mktemp("kept")
    heard: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        report = patiently(Subject(app="shop:app"), plan_for(folder), folder, keep, heard)
    return report, heard, max(keep.iterdir())


def test_finds_the_fault(examined: tuple[Report, list[str], Path]) -> None:
    """A blocking call in an app is found at its line, in its function, with its endpoint as the payer."""
    fault = SHOP.splitlines().index("    time.sleep(0.015)  # FAULT") + 1
    worst = examined[0].diagnosis.findings[0]
    assert (worst.code, worst.line, worst.function, worst.severity) == (
        "HS101",
        fault,
        "price",
        Severity.HIGH,
    )
    assert Path(worst.file).name == "shop.py"
    assert worst.endpoint == "GET /products/{number}"


def test_drops_the_warm_up(examined: tuple[Report, list[str], Path]) -> None:
    """As many requests are diagnosed as the load generator counted, but for those on the warm-up's border."""
    report = examined[0]
    assert report.load is not None
    recorded = sum(endpoint.requests for endpoint in report.diagnosis.endpoints)
    assert abs(recorded - report.load.sent) <= 3
    assert report.load.sent > 20


def test_tells_what_failed(examined: tuple[Report, list[str], Path]) -> None:
    """Requests that failed are counted, by the service and by the client."""
    report = examined[0]
    assert report.load is not None
    broken = [endpoint for endpoint in report.diagnosis.endpoints if endpoint.endpoint == "GET /broken"]
    assert [endpoint.failed == endpoint.requests > 0 for endpoint in broken] == [True]
    assert list(report.load.errors) == ["500"]


def test_matches_the_clients_clock(examined: tuple[Report, list[str], Path]) -> None:
    """Nearly every recorded request is matched to the client's own latency."""
    report = examined[0]
    assert report.load is not None
    assert report.gap is not None
    assert report.gap.matched >= report.load.sent - 3
    assert report.gap.p50 <= report.gap.p99


def test_announces_its_steps(examined: tuple[Report, list[str], Path]) -> None:
    """Every step is announced in order, the load with the seconds left."""
    heard = examined[1]
    assert heard[0] == "starting"
    assert [text for text in heard if text.startswith("driving")]
    assert heard[-3:] == ["stopping", "reading the recordings", "diagnosing"]


def test_kept_recordings_say_the_same(examined: tuple[Report, list[str], Path]) -> None:
    """A diagnosis of kept recordings equals the session's own, load and client's clock included."""
    report, _, kept = examined
    again = examine_recordings(kept, [], announce=ignore)
    assert again.diagnosis.endpoints == report.diagnosis.endpoints
    assert (again.load, again.gap) == (report.load, report.gap)


def test_recordings_of_unknown_load(examined: tuple[Report, list[str], Path], tmp_path: Path) -> None:
    """Recordings of unknown load are diagnosed whole, and the report says that warm-up may be in them."""
    file = next(examined[2].glob("*.accounts"))
    tmp_path.joinpath("a.accounts").write_bytes(file.read_bytes())
    report = examine_recordings(tmp_path, [], announce=ignore)
    assert report.load is None
    assert "unknown load" in report.notes[0]


def test_start_command(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A command that serves with `hasten run` is driven at the plan's target, recorded and ended."""
    port = free_port()
    command = shlex.join([sys.executable, "-m", "hasten", "run", "shop:app", "--port", str(port), "--service", "front"])
    target = f"http://127.0.0.1:{port}"
    keep = tmp_path_factory.mktemp("kept")
    report = patiently(Subject(command=command), plan_for(folder, target), folder, keep, [])
    assert report.diagnosis.services == ("front",)
    assert not answers(target, 1.0)


def test_sources_that_do_not_parse(examined: tuple[Report, list[str], Path], tmp_path: Path) -> None:
    """A source file that is no Python is left out, and the report says which."""
    tmp_path.joinpath("bad.py").write_text("def (:\n")
    report = examine_recordings(examined[2], [tmp_path], announce=ignore)
    (note,) = report.notes
    assert note.startswith(f"not read: {tmp_path / 'bad.py'}: syntax error")


def test_app_that_does_not_import(folder: Path) -> None:
    """An app that fails at import is one line with its place, exit code 2."""
    folder.joinpath("dying.py").write_text("import nothing_of_this_name\n")
    with pytest.raises(HastenError, match=r"nothing_of_this_name.*dying\.py:1") as caught:
        examine(Subject(app="dying:app"), plan_for(folder), [], announce=ignore)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_app_that_is_none(folder: Path) -> None:
    """A missing module and an attribute that is no app are exit code 2, too."""
    for name in ("absent:app", "shop:price", "shop"):
        with pytest.raises(HastenError, match=name.partition(":")[0]) as caught:
            examine(Subject(app=name), plan_for(folder), [], announce=ignore)
        assert caught.value.exit_code == 2


def test_app_that_dies_at_startup(folder: Path) -> None:
    """An app that ends while it starts is unreachable, with its last words on the same line."""
    folder.joinpath("dying.py").write_text("import os\nprint('no database', flush=True)\nos._exit(7)\n")
    with pytest.raises(TargetUnreachable, match="exit code 7 before it answered; its last words: no database"):
        examine(Subject(app="dying:app"), plan_for(folder), [], announce=ignore)


def test_app_whose_lifespan_fails(folder: Path) -> None:
    """An app whose start-up fails is unreachable, and the message says what failed."""
    lifespan = "async def app(scope, receive, send):\n    await receive()\n"
    failure = "    await send({'type': 'lifespan.startup.failed', 'message': 'no database'})\n"
    folder.joinpath("dying.py").write_text(lifespan + failure)
    with pytest.raises(TargetUnreachable, match="start-up failed"):
        examine(Subject(app="dying:app"), plan_for(folder), [], announce=ignore)


def test_app_that_hangs_at_startup(folder: Path, witness: Witness) -> None:
    """An app that never listens is given up after the start timeout, and ended."""
    folder.joinpath("hanging.py").write_text(WITNESSED + "witness.recv(1)\n")
    expect_given_up("listen", witness, plan_for(folder), app="hanging:app")
    witness.sees()
    witness.sees_the_end()


def test_port_that_stays_unreachable(folder: Path, witness: Witness) -> None:
    """A command whose target never answers is given up after the start timeout, and ended."""
    folder.joinpath("idle.py").write_text(WITNESSED + "witness.recv(1)\n")
    plan = plan_for(folder, f"http://127.0.0.1:{free_port()}")
    expect_given_up("answer", witness, plan, command=f"{sys.executable} idle.py")
    witness.sees()
    witness.sees_the_end()


def test_port_that_accepts_and_says_nothing(folder: Path, witness: Witness) -> None:
    """A target that accepts connections and never answers counts as unreachable."""
    folder.joinpath("mute.py").write_text(WITNESSED + "witness.recv(1)\n")
    with socket.create_server(("127.0.0.1", 0)) as mute:
        target = f"http://127.0.0.1:{mute.getsockname()[1]}"
        expect_given_up("answer", witness, plan_for(folder, target), command=f"{sys.executable} mute.py")
    witness.sees()
    witness.sees_the_end()


def test_port_that_answers_already(folder: Path) -> None:
    """A target that answers before the command has started is somebody else's: nothing is driven."""
    answer = (
        "from http.server import *\n"
        "server = HTTPServer(('127.0.0.1', 0), BaseHTTPRequestHandler)\n"
        "print(server.server_port, flush=True)\n"
        "server.serve_forever()\n"
    )
    command = [sys.executable, "-c", answer]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as other:
        assert other.stdout is not None
        target = f"http://127.0.0.1:{other.stdout.readline().strip()}"
        with pytest.raises(TargetUnreachable, match="answers before the command has started it"):
            examine(Subject(command="false"), plan_for(folder, target), [], announce=ignore)
        other.terminate()


@pytest.mark.parametrize(
    ("command", "problem"),
    [("", "empty"), ("'", "does not parse"), ("/nonexistent/server", "cannot be started")],
)
def test_commands_that_cannot_start(folder: Path, command: str, problem: str) -> None:
    """A command line that cannot be run is a configuration error."""
    plan = plan_for(folder, f"http://127.0.0.1:{free_port()}")
    with pytest.raises(ConfigurationError, match=problem):
        examine(Subject(command=command), plan, [], announce=ignore)


def test_command_that_records_nothing(folder: Path) -> None:
    """A command that serves without hasten is no valid measurement, and the message says what to do."""
    port = free_port()
    folder.joinpath("plan.toml").write_text(
        'rate = 20\nduration = "1s"\nwarmup = "0s"\n[[request]]\npath = "/report"\n'
    )
    command = f"{sys.executable} -m uvicorn shop:app --port {port} --no-access-log"
    with pytest.raises(InvalidMeasurement, match=r"serve with hasten run|lateness"):
        examine(Subject(command=command), plan_for(folder, f"http://127.0.0.1:{port}"), [], announce=ignore)
    assert not answers(f"http://127.0.0.1:{port}", 1.0)


def test_stubborn_children_are_ended(folder: Path, witness: Witness) -> None:
    """A service that ignores SIGTERM, and the child it started, are killed after the grace period."""
    ignoring = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + WITNESSED
    folder.joinpath("child.py").write_text(ignoring + "witness.recv(1)\n")
    parent = "import subprocess, sys\nsubprocess.Popen([sys.executable, 'child.py'])\nwitness.recv(1)\n"
    folder.joinpath("parent.py").write_text(ignoring + parent)
    process = ServiceProcess("parent", [sys.executable, "parent.py"], environment={}, log=folder / "log")
    witness.sees()
    witness.sees()
    process.stop(grace=0.2)
    process.stop()
    witness.sees_the_end()


def test_orphans_are_ended(folder: Path, witness: Witness) -> None:
    """A child that a service leaves behind when it ends at SIGTERM is ended with it."""
    folder.joinpath("child.py").write_text(WITNESSED + "witness.recv(1)\n")
    parent = "import subprocess, sys\nsubprocess.Popen([sys.executable, 'child.py'])\nwitness.recv(1)\n"
    folder.joinpath("parent.py").write_text(WITNESSED + parent)
    with ServiceProcess("parent", [sys.executable, "parent.py"], environment={}, log=folder / "log"):
        witness.sees()
        witness.sees()
    witness.sees_the_end()


def test_sigterm_handler_is_put_back(folder: Path) -> None:
    """The process's own SIGTERM handler is in place again after a session, also after one that failed."""
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(HastenError):
        examine(Subject(app="absent:app"), plan_for(folder), [], announce=ignore)
    assert signal.getsignal(signal.SIGTERM) is before


def test_folders_of_recordings(tmp_path: Path, folder: Path) -> None:
    """A folder with recordings is not written to; one with none, or with a damaged one, is not diagnosed."""
    with pytest.raises(ConfigurationError, match="no recorded requests"):
        examine_recordings(tmp_path, [], announce=ignore)
    tmp_path.joinpath("x.accounts").write_bytes(b"something else")
    with pytest.raises(ConfigurationError, match=r"x\.accounts"):
        examine_recordings(tmp_path, [], announce=ignore)
    with pytest.raises(ConfigurationError, match="holds recordings already"):
        examine(Subject(app="shop:app"), plan_for(folder), [], keep=tmp_path, announce=ignore)
    with pytest.raises(ConfigurationError, match="cannot be made"):
        examine(Subject(app="shop:app"), plan_for(folder), [], keep=folder / "shop.py", announce=ignore)
