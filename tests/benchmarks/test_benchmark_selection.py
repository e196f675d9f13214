"""`--cases`, and the table of a run from which the limit was left out."""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest
from rich.console import Console

from benchmarks._command import main
from benchmarks._harness import Benchmark, Effort, Prepared, Role, Subject
from benchmarks._processes import Cores
from benchmarks._result import Result
from benchmarks._run import Order, run
from benchmarks._tables import print_result
from hasten._core.errors import ConfigurationError


class _CasesTrial:
    turns = 1

    def __init__(self, subject: str, case: str) -> None:
        self.subject = subject
        self.case = case

    def turn(self, seed: int) -> None:
        pass

    def figures(self) -> dict[str, float]:
        return dict.fromkeys(CasesBenchmark.units, 1.0 + len(self.subject))


class CasesBenchmark(Benchmark):
    """Three cases of which nothing is measured; it remembers the cores that it might have used."""

    name = "cases"
    summary = "nothing"
    subjects = (
        Subject("limit", Role.LIMIT, ""),
        Subject("ours", Role.OURS, ""),
        Subject("peer", Role.PEER, ""),
        Subject("other", Role.PEER, ""),
    )
    units: Mapping[str, str] = dict.fromkeys(("one", "two", "three", "four"), "µs")
    packages = ()

    def __init__(self) -> None:
        self.cores: Cores | None = None

    @contextmanager
    def prepare(self, effort: Effort) -> Iterator[Prepared]:
        self.cores = Cores.available()
        names = [subject.name for subject in effort.choose(self.subjects)]
        cases = ("small-1", "small-64", "large-1")
        yield Prepared(
            tuple(_CasesTrial(name, case) for name in names for case in cases),
            {case: f"about {case}" for case in cases} | {"note": "kept"},
        )


def _run(*cases: str, only: tuple[str, ...] = ()) -> Result:
    order = Order(Effort(1, only=only, cases=cases), seed=5, budgets=())
    return run(CasesBenchmark(), order, Console(stderr=True))


def _cases(result: Result) -> set[str]:
    return {row.metric.rpartition(" ")[0] for row in result.rows}


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ((), {"small-1", "small-64", "large-1"}),
        (("small-1",), {"small-1"}),
        (("small-*",), {"small-1", "small-64"}),
        (("small-64", "large-?"), {"small-64", "large-1"}),
    ],
)
def test_only_the_chosen_cases_are_measured(patterns: tuple[str, ...], expected: set[str]) -> None:
    """A case is measured when one of the patterns fits it; the words about the others are left out, too."""
    result = _run(*patterns)
    assert _cases(result) == expected
    assert result.environment.conditions.keys() == expected | {"note"}


def test_unknown_case_is_named() -> None:
    """Patterns that fit no case say which cases there are."""
    with pytest.raises(ConfigurationError, match="no case is named huge; choose from: small-1, small-64, large-1"):
        _run("huge")


def test_check_needs_every_case(capsys: pytest.CaptureFixture[str]) -> None:
    """`--check` with `--cases` is wrong usage: it would leave budgets out."""
    with pytest.raises(SystemExit) as caught:
        main(["ledger-steps", "--check", "--cases", "uvloop"])
    assert caught.value.code == 2
    assert "--check: needs all subjects" in capsys.readouterr().err


def test_cases_option_measures_one_case(capsys: pytest.CaptureFixture[str]) -> None:
    """`--cases` reaches the benchmark."""
    with pytest.raises(SystemExit) as caught:
        main(["ledger-steps", "--quick", "--rounds", "1", "--only", "bare", "--cases", "uv*"])
    assert caught.value.code == 0
    printed = capsys.readouterr().out
    assert "uvloop: " in printed
    assert "asyncio: " not in printed


def _printed(result: Result) -> str:
    text = io.StringIO()
    print_result(Console(file=text, width=80), CasesBenchmark(), result)
    return text.getvalue()


def test_others_are_compared_with_the_first_peer_without_a_limit() -> None:
    """A table divides by the limit, and by the first peer in it when the limit was not measured."""
    assert "x limit" in _printed(_run("small-1"))
    without = _printed(_run("small-1", only=("ours", "peer", "other")))
    assert "x peer" in without
    assert "x limit" not in without


def test_four_metrics_take_two_tables() -> None:
    """A table has at most three metrics, so that 80 columns hold it; all metrics of a case are shown."""
    printed = _printed(_run("small-1"))
    headers = [line for line in printed.splitlines() if line.startswith("subject")]
    assert [line.split() for line in headers] == [
        ["subject", "one", "µs", "x", "limit", "two", "µs", "x", "limit", "three", "µs", "x", "limit"],
        ["subject", "four", "µs", "x", "limit"],
    ]
    assert printed.count("small-1: about small-1") == 1


def test_prepare_may_use_every_core() -> None:
    """A benchmark chooses cores for its processes before the run pins its own: it sees all there are."""
    benchmark = CasesBenchmark()
    run(benchmark, Order(Effort(1), seed=5, budgets=()), Console(stderr=True))
    assert benchmark.cores == Cores.available()
