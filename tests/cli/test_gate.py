"""`hasten gate`: what a project demands is measured with its real service, and the exit code says what holds."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.compare.repositories import commit, make_repository

pytestmark = [pytest.mark.may_block, pytest.mark.timeout(120)]

# Slow without computing: the load generator's lateness, on a busy machine, is far below what is measured.
APP = """
import asyncio

from fastapi import FastAPI

app = FastAPI()


@app.get("/items/{item}")
async def item(item: int) -> int:
    await asyncio.sleep(0.1)
    return item


@app.get("/broken")
async def broken() -> int:
    await asyncio.sleep(0.1)
    return 1 // 0
"""
PLAN = """
rate = 200
duration = "2s"
warmup = "0s"

[[request]]
path = "/items/7"
name = "item"
"""
FAILING = """
[[request]]
path = "/broken"
name = "broken"
"""

Gate = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    tmp_path.joinpath("service.py").write_text(APP)
    tmp_path.joinpath("plan.toml").write_text(PLAN)
    return tmp_path


@pytest.fixture
def gate(project: Path) -> Gate:
    """Return a function that writes the settings and runs the command in the project."""

    def run(settings: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        text = f'[tool.hasten.gate]\napp = "service:app"\nplan = "plan.toml"\n{settings}'
        project.joinpath("pyproject.toml").write_text(text)
        command = [sys.executable, "-m", "hasten", "gate", *arguments]
        environment = {**os.environ, "HASTEN_ADMIN": "off"}
        return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)

    return run


def test_what_holds_passes(gate: Gate) -> None:
    """A service within its objectives exits 0, and the table says what was measured."""
    done = gate('objectives.item = { p50 = "5s", p99 = "10s", errors = "0%" }\nobjectives.all.cpu = "1s"\n')
    assert (done.returncode, done.stderr) == (0, "")
    assert "service:app: all 4 hold" in done.stdout
    assert "5.00 s" in done.stdout
    assert done.stdout.splitlines()[-1] == "next: nothing: keep it in CI"


def test_what_is_broken_fails(gate: Gate) -> None:
    """A service that is slower than it may be exits 1, with an annotation for each limit that is broken."""
    done = gate('objectives."*" = { p50 = "10ms", errors = "0%" }\n', "--output-format", "github")
    assert done.returncode == 1
    first, last = done.stdout.splitlines()
    assert first.startswith("::error title=item%3A p50::p50 10")
    assert first.endswith("at most 10.0 ms (objectives)")
    assert last == "hasten gate: service:app: of 2, 1 broken, 1 holds"


def test_failures_break_it(gate: Gate, project: Path) -> None:
    """Requests that are not answered as expected are infinitely slow, and errors."""
    project.joinpath("plan.toml").write_text(PLAN + FAILING)
    done = gate('objectives.broken = { p50 = "10s", errors = "1%" }\n', "--output-format", "junit")
    assert done.returncode == 1
    suite = ElementTree.fromstring(done.stdout)
    assert suite.attrib["failures"] == "2"
    failures = {case.attrib["name"]: case[0].attrib["message"] for case in suite}
    assert failures["broken p50"] == "never (-), at most 10.0 s"
    assert failures["broken errors"].startswith("100% (")


def test_a_baseline(gate: Gate, project: Path) -> None:
    """Figures that were written are compared with, and a faster past is found."""
    done = gate("", "--write-baseline", "baseline.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert "figures written" in done.stdout

    same = gate('baseline = "baseline.json"\nslower = "100%"\n', "--json")
    assert same.returncode == 0
    assert json.loads(same.stdout)["against"] == "baseline.json"

    text = project.joinpath("service.py").read_text()
    project.joinpath("service.py").write_text(text.replace("sleep(0.1)", "sleep(0.3)"))
    slower = gate('baseline = "baseline.json"\nslower = "100%"\n', "--json")
    assert slower.returncode == 1
    changes = {change["metric"]: change for change in json.loads(slower.stdout)["changes"]}
    assert changes["p50"]["outcome"] == "broken"
    assert 1.0 < changes["p50"]["low"] <= changes["p50"]["measured"]


def test_a_revision(gate: Gate, project: Path) -> None:
    """The working tree is measured beside a revision of the project, and what has become slower is broken."""
    repository = make_repository(project)
    commit(repository, {"service.py": APP.replace("sleep(0.1)", "sleep(0.03)")}, "fast")
    project.joinpath("service.py").write_text(APP)
    done = gate('against = "fast"\nslower = "50%"\n', "--budget", "20s", "--output-format", "markdown")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "**against fast**" in done.stdout
    assert "| item | p50 | +50.0% |" in done.stdout
    assert "**broken**" in done.stdout


@pytest.mark.parametrize(
    ("settings", "arguments", "said"),
    [
        ("", (), "hasten gate: nothing to keep to; write objectives, against or baseline into [tool.hasten.gate]"),
        ("objectives.other.p50 = '1s'", (), "gate.objectives.'other': the plan has no such request; it has 'item'"),
        ("slower = 'much'", (), "gate.slower: 'much' is no percentage"),
        ("", ("--against", "main", "--baseline", "b"), "--baseline: there is --against, too; compare with one of them"),
        ("", ("--slower", "5", "--against", "main"), "--slower: '5' is no percentage; write it like 5% or 0.1%"),
        ("baseline = 'b.json'", (), "b.json: cannot be read: No such file or directory; write it with hasten gate"),
        ("objectives.item.p50 = '1s'", ("--plan", "no.toml"), "no.toml: cannot be read"),
        ("objectives.item.p50 = '1s'", ("service:nobody",), "target 'service:nobody'"),
        ("", ("http://127.0.0.1:1", "--against", "main"), "against: http://127.0.0.1:1 is a URL"),
    ],
)
def test_what_is_wrong_is_one_line(settings: str, arguments: tuple[str, ...], said: str, gate: Gate) -> None:
    """Wrong settings and options are told in one line, before anything is measured."""
    done = gate(settings, *arguments)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_nobody_there(gate: Gate) -> None:
    """A service that does not answer exits 3."""
    done = gate("objectives.item.p50 = '1s'", "http://127.0.0.1:1")
    assert done.returncode == 3
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
