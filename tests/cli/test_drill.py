"""`hasten drill`: names, exit codes, and what it prints."""

import io
import json
import subprocess
import sys

import pytest
from rich.console import Console

from hasten.drill import DrillResult, Measure
from hasten.drill._report import print_result, summary
from hasten.drill.drills import ALL

pytestmark = [pytest.mark.may_block, pytest.mark.timeout(120)]


def hasten(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "hasten", "drill", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)


def test_list() -> None:
    """--list says which there are, each on a line, and runs none."""
    listed = hasten("--list").stdout.splitlines()
    assert [line.split()[0] for line in listed] == [drill.name for drill in ALL]


def test_unknown() -> None:
    """A name that is none is refused, with those that are."""
    ended = hasten("overlaod")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("error: drill 'overlaod': there is none; there are overload, ")


def test_json() -> None:
    """--json prints each promise with what was asked and measured, and nothing else."""
    ended = hasten("spike", "--quick", "--json")
    assert ended.returncode in {0, 1}
    printed = json.loads(ended.stdout)
    (drill,) = printed["drills"]
    assert drill["drill"] == "spike"
    assert printed["kept"] is all(measure["kept"] for measure in drill["measures"])
    assert printed["kept"] is (ended.returncode == 0)


def test_nothing_was_measured() -> None:
    """Where no drill could be run it says why, and exits with 3."""
    ended = hasten("spike", "--app", "nosuch:app")
    assert ended.returncode == 3
    assert "not run: it has a service of its own: run it without --app" in ended.stdout


def test_report() -> None:
    """A promise stands with its bound, its figure and its peer's; what never came is "never"."""
    measures = (
        Measure(
            promise="answered",
            asked=95.0,
            measured=98.25,
            at_least=True,
            unit="%",
            beside="uvicorn",
            beside_measured=4_940.4,
        ),
        Measure(promise="well again", asked=5.0, measured=float("inf"), unit="s"),
    )
    result = DrillResult(drill="overload", about="too much", measures=measures)
    console = Console(width=100, record=True, file=io.StringIO())
    print_result(result, console)
    lines = [" ".join(line.split()) for line in console.export_text().splitlines() if line.strip()]
    assert lines == [
        "overload too much",
        "✓ answered",
        "98.2 %, asked ≥ 95 %; uvicorn 4,940 %",
        "✗ well again",
        "never, asked ≤ 5 s",
    ]
    assert summary([result]) == "1 of 2 promises hold; not those of overload"
