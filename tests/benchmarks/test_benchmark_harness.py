import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks._budgets import Budget
from benchmarks._command import measure
from benchmarks._harness import Effort, run_rounds
from benchmarks._processes import Cores, PinnedProcess, pinned
from benchmarks._result import comparisons
from benchmarks._run import Order, run
from hasten._core.errors import ConfigurationError, TargetUnreachable
from tests.benchmarks.trivial import TrivialBenchmark

_CORE = Cores.available().server
_ROOT = Path(__file__).parents[2]


def _order(rounds: int = 3, *, only: tuple[str, ...] = (), at_most: float = 1e6) -> Order:
    budget = Budget("much", "trivial", ratio="much/little/sum cpu", at_most=at_most)
    other = Budget("other", "else", ratio="much/little/sum cpu", at_most=0.0)
    return Order(Effort(rounds, only=only), seed=5, budgets=(budget, other))


def _alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_a_run_measures_every_subject_in_every_round() -> None:
    """A whole run over two real processes has each subject's rows, its ratio, and only its own budgets."""
    benchmark = TrivialBenchmark()
    result = run(benchmark, _order(), Console(stderr=True))
    assert [(row.subject, row.metric, row.rounds) for row in result.rows] == [
        ("little", "sum cpu", 3),
        ("much", "sum cpu", 3),
        ("much/little", "sum cpu", 3),
    ]
    assert all(0.0 < row.low <= row.median <= row.high for row in result.rows)
    assert result.ratios["much/little sum cpu"] > 1.0  # twenty times the work
    assert [budget.name for budget in result.budgets] == ["much"]
    assert result.environment.versions.keys() == {"hasten", "msgspec"}
    assert result.environment.conditions == {"sum": "2 lines a round", "note": "trivial"}


def test_subjects_of_a_turn_get_the_same_load_in_random_order() -> None:
    """In each turn all subjects get one seed; the order of subjects changes, and a seed repeats it."""
    orders: list[list[str]] = []

    class Probe:
        case = "case"
        turns = 3

        def __init__(self, subject: str) -> None:
            self.subject = subject
            self.seeds: list[int] = []

        def turn(self, seed: int) -> None:
            self.seeds.append(seed)
            orders[-1].append(self.subject)

        def figures(self) -> dict[str, float]:
            return {"cpu": float(len(self.seeds))}

    for _ in range(2):
        orders.append([])
        probes = tuple(Probe(name) for name in "abc")
        samples = run_rounds(probes, 4, random.Random(7), lambda: None)
        assert probes[0].seeds == probes[1].seeds == probes[2].seeds
        assert len(set(probes[0].seeds)) == 12
        assert samples.summary("a", "case cpu") is not None
    assert orders[0] == orders[1]
    turns = [tuple(orders[0][at : at + 3]) for at in range(0, 36, 3)]
    assert all(sorted(turn) == ["a", "b", "c"] for turn in turns)
    assert len(set(turns)) > 1


def test_every_process_is_ended() -> None:
    """When a run is over, the processes it started are gone, suspended ones too."""
    benchmark = TrivialBenchmark()
    run(benchmark, _order(1), Console(stderr=True))
    assert len(benchmark.pids) == 2
    assert not any(map(_alive, benchmark.pids))


def _interrupt_a_run(benchmark: TrivialBenchmark) -> None:
    with benchmark.prepare(Effort(1)) as prepared:
        run_rounds(prepared.trials, 1, random.Random(1), lambda: signal.raise_signal(signal.SIGINT))


def test_processes_are_ended_when_the_run_is_interrupted() -> None:
    """An interrupt in the middle of a run leaves no process behind."""
    benchmark = TrivialBenchmark()
    with pytest.raises(KeyboardInterrupt):
        _interrupt_a_run(benchmark)
    assert not any(map(_alive, benchmark.pids))


def test_a_stopped_child_dies_with_a_killed_parent() -> None:
    """A child that is tied to its parent ends when the parent is killed, even while it is stopped."""
    child = (
        "import os, signal\n"
        "from benchmarks._child import announce, die_with_parent\n"
        "die_with_parent(); announce('now'); os.kill(os.getpid(), signal.SIGSTOP)"
    )
    parent = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen([sys.executable, "-c", parent], cwd=_ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready now\n"
        process.kill()
        assert process.stdout.read() == b""  # ends only when nobody, the child included, holds the pipe


def test_own_affinity_is_restored() -> None:
    """Pinning lasts as long as the run."""
    before = os.sched_getaffinity(0)
    with pinned(min(before)):
        assert os.sched_getaffinity(0) == {min(before)}
    assert os.sched_getaffinity(0) == before


def test_child_runs_on_its_core_and_its_cpu_is_read() -> None:
    """A child is on the core it was given, and CPU spent in a thread that has ended counts."""
    code = (
        "import os, sys, threading\n"
        "thread = threading.Thread(target=sum, args=(range(2_000_000),)); thread.start(); thread.join()\n"
        "print('ready', *os.sched_getaffinity(0), flush=True)\n"
        "sys.stdin.read()"
    )
    with PinnedProcess("child", [sys.executable, "-c", code], _CORE) as process:
        assert process.address == str(_CORE)
        main_thread_ns = int(Path(f"/proc/{process.pid}/schedstat").read_text().split()[0])
        assert process.cpu_seconds() > main_thread_ns / 1e9


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise SystemExit(4)", "child: its process ended with code 4"),
        ("raise ValueError('no such thing')", "code 1; ValueError: no such thing"),
    ],
)
def test_child_that_does_not_start_is_one_clear_line(code: str, said: str) -> None:
    """A process that ends before it is ready is named, with its code and its last words."""
    with (
        pytest.raises(TargetUnreachable) as caught,
        PinnedProcess("child", [sys.executable, "-c", code], _CORE),
    ):
        pass
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_command_that_is_not_there_is_one_clear_line() -> None:
    """A program that is not installed is named."""
    with (
        pytest.raises(TargetUnreachable, match="child: cannot run no-such-program: No such file"),
        PinnedProcess("child", ["no-such-program"], _CORE),
    ):
        pass


def test_child_that_ends_in_the_middle_is_one_clear_line() -> None:
    """A process that ends during a run is named, and the others are ended."""
    benchmark = TrivialBenchmark("print('ready x', flush=True); input(); raise SystemExit(9)")
    with pytest.raises(TargetUnreachable, match="ended with code 9"):
        run(benchmark, _order(1), Console(stderr=True))
    assert not any(map(_alive, benchmark.pids))


def test_unknown_subject_is_named() -> None:
    """`--only` with a wrong name says which there are."""
    with pytest.raises(ConfigurationError, match="no subject 'few'; choose from: little, much"):
        run(TrivialBenchmark(), _order(only=("few",)), Console(stderr=True))


def test_only_the_chosen_subjects_run() -> None:
    """With `--only` the others are not started, and budgets that need them are not judged."""
    benchmark = TrivialBenchmark()
    result = run(benchmark, _order(1, only=("much",)), Console(stderr=True))
    assert len(benchmark.pids) == 1
    assert [row.subject for row in result.rows] == ["much"]
    assert result.budgets == ()


def test_ours_meet_all_and_peers_meet_the_limit() -> None:
    """Ratios are made of each of ours to limit and peers, and of each peer to the limit."""
    assert comparisons(TrivialBenchmark()) == [("much", "little")]


def test_json_has_the_documented_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The JSON of one benchmark is an object with exactly the documented keys."""
    target = tmp_path / "result.json"
    measure((TrivialBenchmark(),), _order(2), str(target))
    result = json.loads(target.read_text())
    assert result.keys() == {"benchmark", "environment", "rows", "ratios", "budgets"}
    assert result["rows"][0].keys() == {"subject", "metric", "unit", "median", "low", "high", "rounds"}
    assert result["ratios"].keys() == {"much/little sum cpu"}
    assert result["budgets"][0].keys() == {"name", "goal", "measured", "holds"}
    assert result["environment"].keys() >= {"python", "cpu", "cores", "pinning", "versions", "seed"}
    printed = capsys.readouterr()
    assert printed.out.rstrip().splitlines()[-1].startswith("next: ")
    assert printed.err == ""  # no progress bar without a terminal


def test_json_on_stdout_is_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """`--json -` prints the JSON and nothing else; several benchmarks are a list."""
    measure((TrivialBenchmark(), TrivialBenchmark()), _order(1, at_most=0.5), "-")
    results = json.loads(capsys.readouterr().out)
    assert [result["budgets"][0]["holds"] for result in results] == [False, False]


def test_table_shows_ratio_and_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    """The table names subjects, environment and the budgets that fail."""
    measure((TrivialBenchmark(),), _order(1, at_most=0.5), "")
    printed = capsys.readouterr().out
    for word in (
        "little (limit)",
        "much",
        "x little",
        "does not hold",
        "seed 5",
        "note: trivial",
        "hasten 0.",
    ):
        assert word in printed
