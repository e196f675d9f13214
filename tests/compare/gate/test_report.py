"""What the gate has found is told in forms that CI reads as they are meant, whatever the names hold."""

import math
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten.compare.gate import GateResult, Judged, Outcome
from hasten.compare.gate._report import following, github, headline, junit, markdown, tables


def judged(kind: str = "GET /", metric: str = "p50", outcome: Outcome = Outcome.HOLDS, **figures: float) -> Judged:
    return Judged(
        kind=kind,
        metric=metric,
        limit=figures.get("limit", 0.05),
        measured=figures.get("measured", 0.04),
        low=figures.get("low", 0.03),
        high=figures.get("high", 0.045),
        outcome=outcome,
    )


def result(*objectives: Judged, changes: tuple[Judged, ...] = ()) -> GateResult:
    outcomes = [one.outcome for one in (*objectives, *changes)]
    worst = next((one for one in (Outcome.BROKEN, Outcome.UNDECIDED) if one in outcomes), Outcome.HOLDS)
    return GateResult(
        name="shop:app", against="main", slower=0.05, objectives=objectives, changes=changes, outcome=worst
    )


@pytest.mark.parametrize(
    ("given_result", "head", "following_starts"),
    [
        (result(judged()), "it holds", "nothing"),
        (result(judged(), judged(metric="p99")), "all 2 hold", "nothing"),
        (result(judged(outcome=Outcome.BROKEN), judged()), "of 2, 1 broken, 1 holds", "hasten doctor names what GET /"),
        (result(judged(outcome=Outcome.UNDECIDED)), "of 1, 1 undecided", "a longer duration"),
        (result(), "figures written", "commit the file"),
    ],
)
def test_the_first_and_the_last_line(given_result: GateResult, head: str, following_starts: str) -> None:
    """A reader learns in one line what came out, and in another what to do."""
    assert headline(given_result) == head
    assert following(given_result).startswith(following_starts)


def test_annotations() -> None:
    """Broken limits are errors, open ones warnings, and what holds is not annotated."""
    text = github(
        result(
            judged(outcome=Outcome.BROKEN, measured=math.inf, low=0.06, high=math.inf),
            judged(metric="p99"),
            changes=(judged("all", "cpu", Outcome.UNDECIDED, measured=0.07, low=0.01, high=0.12),),
        )
    )
    assert text.splitlines() == [
        "::error title=GET /%3A p50::p50 never (60.0 ms to never), at most 50.0 ms (objectives)",
        "::warning title=all%3A cpu::cpu +7.0%25 (+1.0%25 to +12.0%25), at most +5.0%25 (against main)",
        "hasten gate: shop:app: of 3, 1 broken, 1 undecided, 1 holds",
    ]


hostile = st.text(min_size=1)


@given(hostile)
def test_names_do_not_break_the_forms(name: str) -> None:
    """A name is data: XML stays XML, and a Markdown row and an annotation stay one line."""
    one = result(judged(name, outcome=Outcome.BROKEN))
    suite = ElementTree.fromstring(junit(one))
    assert suite.attrib["failures"] == "1"
    rows = [line for line in markdown(one).split("\n") if line.startswith("| ")]
    assert len(rows) == 3
    assert github(one).count("::error title=") == github(one).count("\n") - 1 or "::error title=" in name


def test_an_interval_of_everything_is_too_few_rounds() -> None:
    """Where so few rounds allow any change, that is said in place of the interval."""
    few = judged(metric="p50", limit=0.05, measured=-0.02, low=-1.0, high=math.inf)
    ((_, rows),) = tables(result(changes=(few,)))
    assert rows[0][1][4] == "too few rounds"
