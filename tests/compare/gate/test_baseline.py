"""Earlier figures are read as they were written, refused where they are of something else, and compared honestly."""

import math
import random
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten._core.errors import ConfigurationError, InvalidMeasurement
from hasten.compare import KindRound, Round
from hasten.compare.gate import Outcome
from hasten.compare.gate._baseline import (
    Baseline,
    judge_rounds,
    read_baseline,
    relative_change,
    require_alike,
    write_baseline,
)

pytestmark = pytest.mark.may_block


def rounds(p50: float, count: int = 12, seed: int = 1, cpu: float = 0.001) -> tuple[Round, ...]:
    """Rounds whose p50 varies by 5 %."""
    source = random.Random(seed)
    noise = [source.lognormvariate(0.0, 0.05) for _ in range(count)]
    return tuple(
        Round((KindRound("GET /", 100, 0, p50 * each, p50 * 2, p50 * 3),), cpu * each, 0.0001) for each in noise
    )


def baseline(**changed: object) -> Baseline:
    made = Baseline(version=1, made="", environment={"cpu": "one"}, plan="p", rounds=rounds(0.01))
    return msgspec.structs.replace(made, **changed)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """A baseline comes back as it was, and nothing else is left in the folder."""
    file = tmp_path / "baseline.json"
    write_baseline(file, baseline())
    assert read_baseline(file) == baseline()
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no baseline"),
        ("[]", "is no baseline"),
        (msgspec.json.encode(baseline(version=2)).decode(), "is of version 2, this hasten reads 1; write it anew"),
    ],
)
def test_another_file_is_refused(text: str, said: str, tmp_path: Path) -> None:
    """What is no baseline, or one of another version, is told in one line."""
    file = tmp_path / "baseline.json"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=said):
        read_baseline(file)


def test_no_file(tmp_path: Path) -> None:
    """A baseline that is not there is told with how to write it; a folder that is not there takes none."""
    with pytest.raises(ConfigurationError, match="No such file or directory; write it with"):
        read_baseline(tmp_path / "baseline.json")
    with pytest.raises(ConfigurationError, match="cannot be written: No such file"):
        write_baseline(tmp_path / "nowhere" / "baseline.json", baseline())


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (baseline(environment={"cpu": "two"}), "here is of cpu one, and this is two"),
        (baseline(environment={"cpu": "one", "cpus": "2"}), "here is of cpus nothing, and this is 2"),
        (baseline(plan="q"), "here is of another plan"),
        (baseline(rounds=rounds(0.01, 5)), "5 rounds, 6 are needed"),
    ],
)
def test_another_machine_is_refused(other: Baseline, said: str) -> None:
    """Figures of another machine, another plan or too few rounds are not compared."""
    require_alike(baseline(), baseline(), "here")
    with pytest.raises(InvalidMeasurement, match=said):
        require_alike(baseline(), other, "here")


@pytest.mark.parametrize(("p50", "outcome"), [(0.01, Outcome.HOLDS), (0.007, Outcome.HOLDS), (0.013, Outcome.BROKEN)])
def test_what_has_become_slower(p50: float, outcome: Outcome) -> None:
    """A kind that is 30 % slower is found, one that is not has nothing to fear."""
    judged = judge_rounds(rounds(0.01), rounds(p50, seed=2, cpu=p50 / 10), 0.05)
    assert [(one.kind, one.metric, one.outcome) for one in judged] == [
        ("GET /", "p50", outcome),
        ("all", "cpu", outcome),
    ]


def test_unknown_cpu_time_is_left_out() -> None:
    """Where CPU time is not known on a side nothing is said of it."""
    judged = judge_rounds(rounds(0.01), rounds(0.01, cpu=math.nan), 0.05)
    assert [one.metric for one in judged] == ["p50"]


positive = st.floats(1e-6, 1e3)


@given(st.lists(positive, min_size=1, max_size=12), st.lists(positive, min_size=1, max_size=12))
def test_swapping_sides_turns_the_change_round(before: list[float], after: list[float]) -> None:
    """The interval holds the estimate, and the change back undoes the change."""
    change, low, high = relative_change(before, after)
    back = relative_change(after, before)[0]
    assert low <= change <= high
    assert (1 + change) * (1 + back) == pytest.approx(1.0)


def test_failed_rounds_are_the_slowest() -> None:
    """Rounds whose p50 is infinite make a side infinitely slower, and two such sides equal."""
    assert relative_change([0.01] * 6, [math.inf] * 6)[1] == math.inf
    assert relative_change([math.inf] * 6, [math.inf] * 6) == (0.0, 0.0, 0.0)
    assert math.isnan(relative_change([0.01], [])[0])
