"""The doctor, on the real slow shop under load, finds what was planted and next to nothing else."""

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from examples.shop.launcher import ROOT
from tests.shop.test_faults import FAULTS, FOLDER, marked_lines

CODES = {
    "base-http-middleware": "HS401",
    "blocking-client": "HS101",
    "blocking-sqlite": "HS101",
    "client-per-request": "HS303",
    "cpu-loop": "HS102",
    "double-validation": "HS402",
    "httpx-between-services": "HS306",
    "n-plus-one": "HS301",
    "no-timeout": "HS305",
    "repeated-call": "HS304",
    "sequential-awaits": "HS302",
    "sync-dependency": "HS202",
}
MOST_OTHERS = 1

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def report(data_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What `hasten doctor --json` says of the shop; it is told where the code is, not where to look in it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    database = shutil.copy(data_set, tmp_path_factory.mktemp("diagnosis") / "shop.sqlite")  # the plan has orders in it
    start = f"{sys.executable} -m examples.shop slow --port {port} --database {database}"
    command = [sys.executable, "-m", "hasten", "doctor", "--start", start, "--json"]
    command += ["--plan", "examples/shop/plan.toml", "--target", f"http://127.0.0.1:{port}"]
    done = subprocess.run(
        [*command, "--source", "examples/shop/slow"], cwd=ROOT, capture_output=True, text=True, timeout=150, check=False
    )
    assert done.returncode == 1, done.stderr
    return json.loads(done.stdout)


def planted(fault: dict[str, str], finding: dict[str, Any]) -> bool:
    """Tell whether a finding is this fault: the same code and function, at most 3 lines from the marker."""
    (line,) = marked_lines(fault)
    return (
        finding["code"] == CODES[fault["kind"]]
        and Path(finding["file"]).name == fault["file"]
        and finding["function"] == fault["function"]
        and abs(finding["line"] - line) <= 3
    )


def test_every_planted_fault_is_found(report: Any) -> None:
    """Each entry of faults.toml has a finding of its kind in its function, within 3 lines of its marker."""
    findings = report["findings"]
    missed = [fault for fault in FAULTS if not any(planted(fault, finding) for finding in findings)]

    assert not missed, [(finding["code"], finding["function"], finding["line"]) for finding in findings]


def test_next_to_nothing_else_is_found(report: Any) -> None:
    """At most one finding is no planted fault."""
    others = [finding for finding in report["findings"] if not any(planted(fault, finding) for fault in FAULTS)]

    assert len(others) <= MOST_OTHERS, others


def test_the_accounts_add_up(report: Any) -> None:
    """Of requests over 1 ms, the median account explains 98 % of its wall time, the 5th percentile 95 %."""
    for endpoint in report["endpoints"]:
        assert endpoint["coverage_median"] >= 0.98, endpoint["endpoint"]
        assert endpoint["coverage_p5"] >= 0.95, endpoint["endpoint"]


def test_the_accounts_agree_with_the_clients_clock(report: Any) -> None:
    """What the client waited beyond wall time and unread time is at most 2 ms for the median request."""
    assert report["client_gap"]["matched"] >= 100
    assert report["client_gap"]["p50"] <= 0.002


def test_the_source_is_known(report: Any) -> None:
    """Findings name files of the shop, which exist."""
    assert {Path(finding["file"]).parent for finding in report["findings"]} == {FOLDER}
