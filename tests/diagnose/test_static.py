"""The static half as a whole: every trap planted in `cases`, and nothing else; waivers, paths, ruff."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten._core.errors import ConfigurationError
from hasten.diagnose._static import Selection, check, noqa_lines, python_files

CASES = Path(__file__).parent / "cases"
OURS = Selection(select=("HS",))
_EXPECTED = re.compile(r"# expect: ((?:HS\d{3} ?)+)")


def expected(file: Path) -> set[tuple[str, int, str]]:
    """Return what the comments `# expect: HS101` of a file say, as (file, line, code)."""
    lines = enumerate(file.read_text().splitlines(), 1)
    return {
        (file.name, number, code)
        for number, line in lines
        for codes in _EXPECTED.findall(line)
        for code in codes.split()
    }


@pytest.mark.parametrize("path", sorted(CASES.glob("*")), ids=lambda path: path.stem)
def test_every_planted_trap_is_found_and_nothing_else(path: Path) -> None:
    """Each line marked `# expect:` is found with its code; no other line is."""
    files = python_files([path])
    report = check([path], OURS)
    found = {(Path(each.file).name, each.line, each.code) for each in report.findings}
    assert found == {place for file in files for place in expected(file)}
    assert report.unreadable == ()


def test_no_message_is_longer_than_it_may_be() -> None:
    """Messages fit a line of a terminal."""
    assert all(len(each.message) <= 100 for each in check([CASES], OURS).findings)


@pytest.mark.parametrize(
    ("select", "ignore", "wanted"),
    [
        ((), (), {"HS101", "HS302", "ASYNC110"}),
        (("HS",), (), {"HS101", "HS302"}),
        (("HS1",), (), {"HS101"}),
        ((), ("HS", "ASYNC"), set()),
        (("HS",), ("HS1",), {"HS302"}),
        (("HS101",), ("HS",), {"HS101"}),
        ((), ("HS302",), {"HS101", "ASYNC110"}),
    ],
)
def test_the_longer_beginning_decides(select: tuple[str, ...], ignore: tuple[str, ...], wanted: set[str]) -> None:
    """A code is shown when it is selected, unless a longer beginning ignores it."""
    selection = Selection(select, ignore)
    assert {code for code in ("HS101", "HS302", "ASYNC110") if selection.wants(code)} == wanted


def test_noqa_comments() -> None:
    """Codes and beginnings are read in any case; an empty set waives all; strings are no comments."""
    text = 'a = 1  # noqa\nb = 2  # NOQA: hs101, HS3\nc = "# noqa"\nd = 4  # noqa:E501\ne = 5  # noqable\n'
    assert noqa_lines(text) == {1: frozenset(), 2: {"HS101", "HS3"}, 4: {"E501"}}


@given(st.text(alphabet="#noqa: HS1,\n'\"(\t", max_size=60))
def test_any_text_may_be_searched_for_waivers(text: str) -> None:
    """Whatever a file holds, looking for `# noqa` raises nothing and gives lines of the file."""
    assert all(1 <= line <= len(text.splitlines()) for line in noqa_lines(text))


def test_what_a_file_says_of_its_client_is_said_once() -> None:
    """Of HS306 the first place of a file is shown, with the number of the others."""
    report = check([CASES / "clients.py"], Selection(select=("HS306",)))
    (found,) = report.findings
    assert found.message.endswith("(and in 2 more functions of this file)")


def test_paths_that_cannot_be_checked(tmp_path: Path) -> None:
    """A path that is not there, or is no Python, is the caller's mistake."""
    (tmp_path / "notes.txt").write_text("")
    for name in ("nowhere", "notes.txt"):
        with pytest.raises(ConfigurationError, match=name):
            python_files([tmp_path / name])


def test_unreadable_files_are_told_apart(tmp_path: Path) -> None:
    """Syntax errors and bytes that are no text are reported with their line, and end nothing."""
    (tmp_path / "a.py").write_text("x = 1\ndef f(:")
    (tmp_path / "b.py").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "c.py").write_text("import time\nasync def f(): time.sleep(1)\n")
    report = check([tmp_path], OURS)
    assert [(Path(each.file).name, each.line) for each in report.unreadable] == [("a.py", 2), ("b.py", 1)]
    assert [each.line for each in report.findings] == [2]
    assert report.files == 1
