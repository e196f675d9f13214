"""A session that profiles an app: it serves it, drives it, captures meanwhile, and ends it in every case."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hasten._core.errors import (
    ConfigurationError,
    HastenError,
    InvalidMeasurement,
    MissingDependency,
    TargetUnreachable,
)
from hasten.load import Plan
from hasten.profiling import CaptureOptions, Profile
from hasten.profiling._session import Served, profile_app

pytestmark = [pytest.mark.may_block, pytest.mark.timeout(180)]

SHOP = """
import asyncio, os, socket, time
from fastapi import FastAPI

witness = socket.create_connection(("127.0.0.1", int(os.environ["WITNESS"])))
app = FastAPI()

def price(number: int) -> None:
    end = time.thread_time() + 0.008
    while time.thread_time() < end:
        sum(range(500))

@app.get("/products/{number}")
async def product(number: int) -> dict[str, int]:
    price(number)
    await asyncio.sleep(0.3)  # beside which the load generator's own lateness is little
    return {}

@app.get("/broken")
async def broken() -> None:
    await asyncio.sleep(0.3)
    raise RuntimeError("on purpose")

@app.get("/deadly")
async def deadly() -> None:
    os._exit(9)
"""
PLAN = """
rate = 25
duration = "2s"
warmup = "300ms"
[[request]]
path = "{path}"
"""


class Witness:
    """Learns by a connection that a service runs, and by its end that the service is gone."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(60)
        self.port: int = self._listener.getsockname()[1]

    def sees_it_come(self) -> socket.socket:
        connection, _ = self._listener.accept()
        connection.settimeout(60)
        return connection

    def sees_it_gone(self, connection: socket.socket | None = None) -> None:
        with connection or self.sees_it_come() as left:
            assert left.recv(1) == b""

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def witness(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Witness]:
    """Return a witness of the services of shop.py, which is in the current folder."""
    made = Witness()
    monkeypatch.setenv("WITNESS", str(made.port))
    monkeypatch.chdir(tmp_path)
    tmp_path.joinpath("shop.py").write_text(SHOP)
    yield made
    made.close()


def plan_of(path: str, **settings: Any) -> Plan:
    Path("plan.toml").write_text(PLAN.replace("{path}", path))
    return Plan.from_file("plan.toml", target="http://127.0.0.1").with_settings(**settings)


def profiled(engine: Any, path: str, **settings: Any) -> Profile:
    """Profile; again when the machine was too busy for a valid load, which is not what is tested here."""
    options = CaptureOptions(engine=engine, seconds=1.5, clock="cpu" if engine == "py-spy" else "wall")
    for _ in range(3):
        try:
            return profile_app(Served(app="shop:app"), plan_of(path, **settings), options)
        except InvalidMeasurement as error:
            if error.check != "generator's lateness":
                raise
            last = error
    raise last


def functions(profile: Profile) -> set[str]:
    named = {frame.function for stack in profile.stacks for frame in stack.frames}
    return named | {function.frame.function for function in profile.functions}


@pytest.mark.parametrize("engine", ["py-spy", "ledger", "yappi"])
def test_what_the_app_does_under_load_is_on_the_profile(engine: str, witness: Witness) -> None:
    """Each engine names the function that works, with the requests that it worked for; then the app is gone."""
    profile = profiled(engine, "/products/7")
    witness.sees_it_gone()
    assert "price" in functions(profile)
    assert profile.service == "shop"
    assert profile.answered >= 5
    assert {"app": "shop:app", "plan": "plan.toml", "load": "25/s"}.items() <= profile.labels.items()
    if engine == "py-spy":
        heaviest = max(profile.stacks, key=lambda stack: stack.seconds)
        assert "price" in [frame.function for frame in heaviest.frames]


def test_requests_that_fail_are_told(witness: Witness) -> None:
    """A profile of an app some of whose answers are not as expected says so."""
    Path("plan.toml").write_text(PLAN.replace("{path}", "/products/7") + '[[request]]\npath = "/broken"\n')
    options = CaptureOptions(engine="py-spy", seconds=1.5, clock="cpu")
    profile = profile_app(Served(app="shop:app"), Plan.from_file("plan.toml", target="http://x"), options)
    witness.sees_it_gone()
    assert any(" requests were not answered as expected (" in note and "500" in note for note in profile.notes)


def test_an_app_that_answers_nothing_has_no_profile(witness: Witness) -> None:
    """A profile of nothing but failures would be of something else than what is asked for."""
    with pytest.raises(InvalidMeasurement, match=r"requests: none of \d+ was answered as expected \(.*404"):
        profiled("py-spy", "/nowhere")
    witness.sees_it_gone()


def test_a_plan_that_yields_no_request_is_refused(witness: Witness) -> None:
    """Where the plan sends nothing in the time, nothing is started."""
    plan = plan_of("/products/7", rate=0.2)
    with pytest.raises(ConfigurationError, match=r"plan.toml: rate: 0.2 requests a second are none in 2 s; raise it"):
        profile_app(Served(app="shop:app"), plan, CaptureOptions(seconds=2))


def test_a_plan_of_calls_is_refused(witness: Witness) -> None:
    """gRPC is not what an app is driven with."""
    Path("plan.toml").write_text('rate = 5\nduration = "2s"\n[[request]]\nmethod = "shop.Stock/Get"\n')
    plan = Plan.from_file("plan.toml", target="http://127.0.0.1")
    with pytest.raises(ConfigurationError, match="over HTTP, this plan calls gRPC"):
        profile_app(Served(app="shop:app"), plan, CaptureOptions(seconds=2))


def test_without_pyspy_nothing_is_started(witness: Witness, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is missing is said before an app is served for nothing."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependency, match="py-spy"):
        profile_app(Served(app="shop:app"), plan_of("/"), CaptureOptions(engine="py-spy", seconds=2))


def test_an_app_that_dies_meanwhile_is_told(witness: Witness) -> None:
    """The end of the app is what is said, not what follows from it."""
    for engine in ("py-spy", "ledger"):
        with pytest.raises(TargetUnreachable, match="shop:app: ended with exit code 9 while it was measured"):
            profiled(engine, "/deadly")
        witness.sees_it_gone()


def test_an_app_without_admin_port_is_told(witness: Witness) -> None:
    """An app that has chosen to have none cannot be asked, which py-spy need not."""
    with Path("shop.py").open("a") as file:
        file.write("\nimport hasten\nhasten.install(app, admin=None)\n")
    with pytest.raises(TargetUnreachable, match="opens no admin port; take --engine py-spy"):
        profile_app(Served(app="shop:app"), plan_of("/products/7"), CaptureOptions(seconds=1))
    witness.sees_it_gone()


def test_an_app_that_does_not_import_is_one_line(witness: Witness) -> None:
    """What keeps the app from being served is said as `hasten run` says it."""
    Path("shop.py").write_text("import nothing_of_this_name\n")
    with pytest.raises(HastenError, match=r"nothing_of_this_name.*shop\.py:1") as caught:
        profile_app(Served(app="shop:app"), plan_of("/"), CaptureOptions(seconds=1))
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("engine", ["py-spy", "ledger"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_the_app_first(engine: str, number: signal.Signals, code: int, witness: Witness) -> None:
    """Ctrl-C and SIGTERM, while it captures, leave no app and no py-spy behind, and no traceback."""
    plan_of("/products/7")
    command = [sys.executable, "-m", "hasten", "profile", "shop:app", "--plan", "plan.toml", "-d", "60s"]
    with subprocess.Popen([*command, "--engine", engine], stderr=subprocess.PIPE, text=True) as process:
        connection = witness.sees_it_come()
        looked_at = child_that_a_pyspy_looks_at(process.pid) if engine == "py-spy" else ""
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    witness.sees_it_gone(connection)
    assert (process.returncode, said) == (code, "")
    assert not looked_at or not pyspies_with(looked_at)


def pyspies_with(text: str) -> list[int]:
    """Return the processes that are py-spy and have a text among their arguments."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            words = folder.joinpath("cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if words[0].endswith("py-spy") and text in words:
            found.append(int(folder.name))
    return found


def child_that_a_pyspy_looks_at(pid: int) -> str:
    """Return it as soon as one does."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        tasks = Path(f"/proc/{pid}/task").glob("*/children")
        children = [child for task in tasks for child in task.read_text().split()]
        for child in children:
            if pyspies_with(child):
                return child
        os.sched_yield()
    raise AssertionError("no py-spy was started")
