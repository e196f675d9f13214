"""The report's forms: the same words in each, nothing of a name read as markup, nothing lost where nothing is known."""

import io
import math
import re
from xml.etree import ElementTree

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from hasten.compare import Change, Comparison, KindRound, Pair, Round, Verdict
from hasten.compare.report import github_lines, html_page, junit_xml, markdown, print_comparison
from hasten.load import Problem

P50 = Change(
    kind="GET /products/{id}",
    metric="p50",
    before=0.00123,
    after=0.00151,
    change=0.2276,
    low=0.1801,
    high=0.251,
    p=1e-7,
    detectable=0.043,
    verdict=Verdict.WORSE,
)
P99 = Change(
    kind="GET /products/{id}",
    metric="p99",
    before=1.23,
    after=math.inf,
    change=math.inf,
    low=-0.5,
    high=math.inf,
    p=0.31,
    detectable=math.inf,
    verdict=Verdict.UNDECIDED,
    advisory=True,
)
ERRORS = Change(
    kind="GET /products/{id}",
    metric="errors",
    before=0.0,
    after=0.1213,
    change=0.1213,
    low=0.1001,
    high=0.142,
    p=0.00042,
    detectable=0.0043,
    verdict=Verdict.WORSE,
)
CPU = Change(
    kind="",
    metric="cpu",
    before=math.nan,
    after=math.nan,
    change=math.nan,
    low=math.nan,
    high=math.nan,
    p=math.nan,
    detectable=math.nan,
    verdict=Verdict.UNDECIDED,
)
WORSE = Comparison(
    before="main (0a1b2c3d4e5f)",
    after="working tree",
    threshold=0.05,
    rounds=25,
    discarded=3,
    seconds=41.2,
    changes=(P50, P99, ERRORS, CPU),
    verdict=Verdict.WORSE,
    environment={"rate": "250/s poisson", "round": "0.5 s after 0.2 s of lead-in"},
    notes=("CPU is not known: http://192.0.2.1 is another machine's",),
)
TABLE = """\
before  main (0a1b2c3d4e5f)
after   working tree
worse: GET /products/{id} p50 +22.8% (+18.0 to +25.1%), GET /products/{id} errors +12.13 pt (+10.01 to +14.20 pt)

            before    after     change         95% interval        p  detects  verdict
  ────────────────────────────────────────────────────────────────────────────────────────
GET /products/{id}
  p50      1.23 ms  1.51 ms     +22.8%      +18.0 to +25.1%  <0.0001     4.3%  worse
  p99       1.23 s    never       +inf        -50.0 to +inf     0.31        -  (undecided)
  errors     0.00%   12.13%  +12.13 pt  +10.01 to +14.20 pt  0.00042  0.43 pt  worse
all requests
  CPU/req        -        -          -                    -        -        -  undecided

25 pairs of rounds (3 more discarded) in 41 s · 250/s poisson, 0.5 s after 0.2 s of lead-in
changes below 5% do not matter · detects: found four times of five · in brackets: shown, not judged
CPU is not known: http://192.0.2.1 is another machine's
"""


def printed(comparison: Comparison) -> str:
    """Return what a pipe gets."""
    console = Console(file=io.StringIO(), width=80)
    print_comparison(comparison, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def changed(**settings: object) -> Comparison:
    """Return the comparison with other values."""
    return msgspec.structs.replace(WORSE, **settings)


def test_the_table() -> None:
    """Each kind has a line of its own, figures stand in columns, and the last line says what to do."""
    text = printed(WORSE)
    assert text.startswith(TABLE)
    assert text.removeprefix(TABLE).startswith("next: hasten profile ")
    assert text.removeprefix(TABLE).count("\n") == 1


@pytest.mark.parametrize(
    ("comparison", "headline", "following"),
    [
        (changed(verdict=Verdict.SAME), "same: no change of 5% or more", "next: nothing: it is no slower"),
        (
            changed(verdict=Verdict.BETTER, changes=(msgspec.structs.replace(P50, verdict=Verdict.BETTER),)),
            "better: GET /products/{id} p50",
            "next: keep it: hasten gate",
        ),
        (
            changed(
                verdict=Verdict.UNDECIDED,
                changes=(msgspec.structs.replace(P50, verdict=Verdict.UNDECIDED, detectable=0.1),),
            ),
            "undecided: the smallest change that these rounds would see is 10.0% in GET /products/{id} p50",
            "next: --budget 4m would see 5%",
        ),
        (
            changed(
                verdict=Verdict.UNDECIDED,
                changes=(msgspec.structs.replace(P50, verdict=Verdict.UNDECIDED, detectable=2.0),),
            ),
            "undecided: the smallest change",
            "next: measure on a quieter machine",
        ),
        (
            changed(verdict=Verdict.UNDECIDED, changes=()),
            "undecided: too few rounds to see any change",
            "next: give it more rounds",
        ),
        (
            changed(verdict=Verdict.UNDECIDED, problems=(Problem("errors", "all of them", "mend the plan"),)),
            "not valid: errors: all of them",
            "next: mend the plan, then compare again",
        ),
    ],
)
def test_each_verdict_has_its_words(comparison: Comparison, headline: str, following: str) -> None:
    """What has come out, and what to do then."""
    text = printed(comparison)
    assert f"\n{headline}" in text
    assert f"\n{following}" in text


def test_markdown() -> None:
    """A heading, and a row for each metric; signs of Markdown in names are escaped."""
    lines = markdown(WORSE).splitlines()
    assert lines[0].startswith("### hasten compare: worse: GET /products/\\{id\\} p50 +22.8%")
    (row,) = [line for line in lines if "| p50 |" in line]
    assert row == (
        "| GET /products/\\{id\\} | p50 | 1.23 ms | 1.51 ms | +22.8% | +18.0 to +25.1% | <0.0001 | 4.3% | **worse** |"
    )


def test_github() -> None:
    """The verdict and what is worse are annotations, each on one line, escaped as the runner reads them."""
    verdict, p50, errors = github_lines(WORSE)
    assert verdict.startswith("::error title=hasten compare%3A main (0a1b2c3d4e5f) to working tree::worse: GET ")
    assert "%0A25 pairs of rounds" in verdict
    assert p50.startswith("::error title=GET /products/{id} p50 is worse::worse: 1.23 ms to 1.51 ms, +22.8%25 (")
    assert errors.startswith("::error title=GET /products/{id} errors is worse::")
    assert [line[:9] for line in github_lines(changed(verdict=Verdict.SAME, changes=()))] == ["::notice "]


def test_junit() -> None:
    """Each metric that is judged is a test case: worse fails, undecided is skipped; what is not valid is an error."""
    suite = ElementTree.fromstring(junit_xml(WORSE))
    assert [suite.get(name) for name in ("tests", "failures", "skipped", "errors")] == ["3", "2", "1", "0"]
    assert [case.get("name") for case in suite.iter("testcase")] == ["p50", "errors", "CPU/req"]
    invalid = changed(problems=(Problem("errors", "all of them", "mend the plan"),))
    suite = ElementTree.fromstring(junit_xml(invalid))
    assert [suite.get(name) for name in ("tests", "failures", "skipped", "errors")] == ["1", "0", "0", "1"]


def test_the_page() -> None:
    """Each kind is a section with its figures, each metric that was measured has its rounds and its changes drawn."""

    def pair(number: int) -> Pair:
        kind = KindRound(P50.kind, 100, number, 0.001, 0.002, math.inf)
        measured = Round((kind,), math.nan, 0.0001)
        return Pair(seed=number, before_first=True, before=measured, after=measured)

    page = html_page(changed(pairs=tuple(map(pair, range(5)))))
    assert page.count("<section>") == 2
    assert page.count("<svg") == 2 * 2  # p50 and errors; the p99 was never finite, and CPU is not known
    assert "<title>pair 5, after: 1.00 ms</title>" in page
    assert "<title>pair 5: +0.0%</title>" in page
    assert "GET /products/{id}" in page
    assert "<script" not in page


@given(st.text(max_size=30), st.floats(), st.floats())
def test_no_name_and_no_figure_breaks_a_form(name: str, figure: float, other: float) -> None:
    """Whatever a kind is called, and whatever figures come, each form stays well-formed."""
    change = msgspec.structs.replace(P50, kind=name, before=figure, after=other, change=figure, low=other, p=figure)
    comparison = changed(changes=(change,), before=name)
    ElementTree.fromstring(junit_xml(comparison))
    assert all(re.fullmatch(r"::error title=[^:\r\n]*::[^\r\n]*", line) for line in github_lines(comparison))
    (row,) = [line for line in markdown(comparison).splitlines() if "| p50 |" in line]
    assert len(re.findall(r"(?<!\\)\|", row)) == 10
    printed(comparison)
    kind = KindRound(name, 100, 0, figure, other, 0.1)
    pair = Pair(seed=1, before_first=True, before=Round((kind,), other, 0.0), after=Round((kind,), figure, 0.0))
    page = html_page(msgspec.structs.replace(comparison, pairs=(pair, pair)))
    assert page.count("<section>") == page.count("</section>") == 1
    assert "nan" not in "".join(re.findall(r'(?:c?[xy][12]?|height)="([^"]*)"', page))
