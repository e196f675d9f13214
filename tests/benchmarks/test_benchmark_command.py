import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks._command import main

_ROOT = Path(__file__).parents[2]
_STEPS = ["ledger-steps", "--quick", "--rounds", "5"]


def _exit_code(arguments: list[str]) -> int | str | None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    return caught.value.code


def _budgets(folder: Path, bound: str, metric: str = "uvloop task") -> list[str]:
    path = folder / "budgets.toml"
    ratio = f'ratio = "driver/bare/{metric}"'
    path.write_text(f'[[budget]]\nname = "tasks"\nbenchmark = "ledger-steps"\n{ratio}\n{bound}\n')
    return ["--budgets", str(path)]


def test_list_names_benchmarks_and_subjects(capsys: pytest.CaptureFixture[str]) -> None:
    """`--list` names every benchmark with its subjects and starts nothing."""
    assert _exit_code(["--list"]) == 0
    printed = capsys.readouterr().out
    for word in ("ledger:", "ledger-steps:", "bare", "pyinstrument", "yappi"):
        assert word in printed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing"], "there is none named 'nothing'; choose from: all, ledger, ledger-steps"),
        ([], "choose from: all, ledger, ledger-steps"),
        (["ledger", "--only", "nobody"], "ledger has no subject 'nobody'"),
        (["ledger", "--check", "--rounds", "2"], "--check: needs all subjects and at least 5 rounds"),
        (["ledger", "--check", "--only", "bare"], "--check: needs all subjects and at least 5 rounds"),
        (["ledger", "--budgets", "absent.toml"], "absent.toml"),
    ],
)
def test_wrong_usage_is_one_clear_line(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    """A wrong name or option is one line on stderr and exit code 2."""
    assert _exit_code(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert said in captured.err
    assert captured.err.count("\n") == 1


def test_unwritable_json_is_one_clear_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A result file that cannot be written is exit code 2."""
    arguments = ["ledger-steps", "--quick", "--rounds", "1", "--only", "bare", "--json", str(tmp_path)]
    assert _exit_code(arguments) == 2
    assert "--json" in capsys.readouterr().err


def test_check_fails_when_a_budget_does_not_hold(tmp_path: Path) -> None:
    """`--check` exits 1 when a budget does not hold; without it the same run exits 0."""
    budgets = _budgets(tmp_path, "at-most = 0.001")
    assert _exit_code([*_STEPS, *budgets, "--check"]) == 1
    once = ["ledger-steps", "--quick", "--rounds", "1", "--only", "bare,driver"]
    assert _exit_code([*once, *budgets]) == 0


def test_check_is_not_valid_when_a_budget_cannot_be_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--check` exits 3 when a budget's figure is missing: it does not pass for want of measurement."""
    assert _exit_code([*_STEPS, *_budgets(tmp_path, "at-most = 1", "uvloop nothing"), "--check"]) == 3
    assert "budget 'tasks': measured in fewer than 5 rounds" in capsys.readouterr().err


def test_check_passes_when_all_budgets_hold(tmp_path: Path) -> None:
    """`--check` exits 0 when every budget holds, and the seed given is the one that is noted."""
    target = tmp_path / "result.json"
    budgets = _budgets(tmp_path, "at-least = 0.001")
    assert _exit_code([*_STEPS, *budgets, "--check", "--seed", "3", "--json", str(target)]) == 0
    result = json.loads(target.read_text())
    assert result["environment"]["seed"] == 3
    assert [budget["holds"] for budget in result["budgets"]] == [True]


def test_ledger_benchmark_serves_drives_and_reports(tmp_path: Path) -> None:
    """The ledger benchmark starts its processes, finds a rate for each route, reports CPU per request."""
    target = tmp_path / "result.json"
    arguments = ["ledger", "--quick", "--rounds", "1", "--only", "bare,default", "--json", str(target)]
    assert _exit_code(arguments) == 0
    result = json.loads(target.read_text())
    measured = {(row["subject"], row["metric"]) for row in result["rows"] if row["median"] > 0.0}
    # Latencies are left out where other work on this machine made the load generator late.
    assert measured >= {(subject, f"{case} cpu") for subject in ("bare", "default") for case in ("hello", "ten")}
    assert result["ratios"].keys() >= {"default/bare hello cpu", "default/bare ten cpu"}
    assert "requests/s" in result["environment"]["conditions"]["ten"]


def test_module_runs() -> None:
    """`python -m benchmarks` is the command."""
    command = [sys.executable, "-m", "benchmarks", "--list"]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=50, check=True)
    assert "ledger-steps" in done.stdout
    assert done.stderr == ""
