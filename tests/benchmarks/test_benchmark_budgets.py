from pathlib import Path

import pytest

from benchmarks._budgets import Budget, judge, read_budgets
from benchmarks._catalogue import all_benchmarks
from hasten._core.errors import ConfigurationError
from tests.benchmarks.samples import samples_of


def _budget(**settings: object) -> Budget:
    given = {"name": "b", "benchmark": "trivial", "ratio": "ours/peer/case cpu", **settings}
    return Budget(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("bound", "holds"),
    [
        ({"at_most": 1.5}, True),
        ({"at_most": 1.4}, False),
        ({"at_least": 1.5}, True),
        ({"at_least": 1.6}, False),
    ],
)
def test_ratio_is_judged_by_its_median(bound: dict[str, float], holds: bool) -> None:  # noqa: FBT001
    """A budget holds when the median of the ratios is within its bound, the bound itself included."""
    samples = samples_of(ours=[1.0, 3.0, 9.0], peer=[1.0, 2.0, 3.0])
    (verdict,) = judge((_budget(**bound),), samples, rounds=3)
    assert verdict.measured == 1.5
    assert verdict.holds is holds


def test_goal_says_the_bound() -> None:
    """A budget's goal reads as a bound."""
    assert _budget(at_most=1.03).goal == "at most 1.03"
    assert _budget(at_least=12.0).goal == "at least 12"


def test_value_is_judged_in_its_unit() -> None:
    """A budget on a value bounds the median itself."""
    budget = _budget(ratio="", value="ours/case cpu", at_most=250.0)
    (verdict,) = judge((budget,), samples_of(ours=[200.0, 260.0, 240.0]), rounds=3)
    assert (verdict.measured, verdict.holds) == (240.0, True)


def test_unmeasured_budget_is_left_out() -> None:
    """A budget whose subjects did not run is not judged."""
    assert judge((_budget(at_most=1.0),), samples_of(ours=[1.0]), rounds=1) == ()


def test_too_few_rounds_give_no_verdict() -> None:
    """A budget that was measured in fewer rounds than a verdict needs is not judged."""
    assert judge((_budget(at_most=9.0),), samples_of(ours=[1.0] * 4, peer=[1.0] * 5)) == ()
    assert len(judge((_budget(at_most=9.0),), samples_of(ours=[1.0] * 5, peer=[1.0] * 5))) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('name = "x"\nbenchmark = "b"\nratio = "a/b/c"', "either at-most or at-least"),
        (
            'name = "x"\nbenchmark = "b"\nratio = "a/b/c"\nat-most = 1\nat-least = 1',
            "either at-most or at-least",
        ),
        ('name = "x"\nbenchmark = "b"\nratio = "a/c"\nat-most = 1', "subject/peer/metric"),
        ('name = "x"\nbenchmark = "b"\nvalue = "a/b/c"\nat-most = 1', "subject/metric"),
        ('name = "x"\nbenchmark = "b"\nat-most = 1', "subject/metric"),
        ('name = "x"\nbenchmark = "b"\nratio = "a/b/c"\nat_most = 1', "at_most"),
        ("name = ", "nvalid"),
    ],
)
def test_bad_budget_is_one_clear_line(tmp_path: Path, text: str, said: str) -> None:
    """A budget file with an error names the file and what is wrong."""
    path = tmp_path / "budgets.toml"
    path.write_text(f"[[budget]]\n{text}\n")
    with pytest.raises(ConfigurationError) as caught:
        read_budgets(path)
    assert str(path) in str(caught.value)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_absent_file_is_named(tmp_path: Path) -> None:
    """A budget file that is not there is named."""
    with pytest.raises(ConfigurationError, match=r"absent\.toml"):
        read_budgets(tmp_path / "absent.toml")


def test_own_budgets_name_what_there_is() -> None:
    """Every budget of the repository names a benchmark that exists, its subjects and its metrics."""
    catalogue = {benchmark.name: benchmark for benchmark in all_benchmarks()}
    for budget in read_budgets():
        benchmark = catalogue[budget.benchmark]
        *subjects, metric = (budget.ratio or budget.value).split("/")
        assert set(subjects) <= {subject.name for subject in benchmark.subjects}
        assert metric.rpartition(" ")[2] in benchmark.units
