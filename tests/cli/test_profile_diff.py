"""The `hasten profile diff` command and the tables of `hasten profile`: what they print, write and refuse."""

import io
import json
from pathlib import Path

import msgspec
import pytest
from rich.console import Console, RenderableType

from hasten.cli import main
from hasten.cli._profile_view import diff_table, profile_table
from hasten.profiling import Frame, Profile, Stack
from hasten.profiling._diff import diff_profiles
from hasten.profiling._files import write_profile
from tests.profiling.profiles import DIGEST, PLACE_ORDER, SEARCHED, of_ledger, of_py_spy, of_yappi


def _drawn(shown: RenderableType, width: int = 80) -> str:
    file = io.StringIO()
    Console(file=file, width=width, highlight=False).print(shown)
    text = file.getvalue()
    assert all(len(line) <= width for line in text.splitlines())
    return text


def _cells(text: str, name: str) -> list[str]:
    return next(line for line in text.splitlines() if line.startswith(name)).split()


# ---- tables


def test_a_ledgers_table_tells_waits_and_who_makes_them() -> None:
    """Each row has a function, what calls it if it is a library's, the kind of time, its share and price."""
    text = _drawn(profile_table(of_ledger()))
    assert text.startswith("orders  ledger wall · 10.0 s · 200 requests\n")
    assert _cells(text, "httpx") == [
        "httpx.AsyncClient.get",
        "by",
        "orders/routes.py:21",
        "waiting",
        "47.6%",
        "2.50",
        "ms",
    ]
    assert _cells(text, "digest")[-4:] == ["computing", "38.1%", "2.00", "ms"]
    assert "note: 1 in 20 requests was recorded." in text
    assert "search " not in text  # has no time of its own
    assert "1.05 s" in _drawn(profile_table(of_ledger()), 140) or "500 ms" in _drawn(profile_table(of_ledger()), 140)


def test_a_sampled_table_tells_own_and_total() -> None:
    """Without kinds and requests there are seconds, own and with callees, and samples in the head."""
    text = _drawn(profile_table(of_py_spy()))
    assert "100 samples" in text.splitlines()[0]
    assert _cells(text, "digest") == ["digest", "orders/checks.py:17", "600", "ms", "60.0%", "600", "ms"]
    assert _cells(text, "search") == ["search", "orders/routes.py:21", "100", "ms", "10.0%", "700", "ms"]


def test_a_table_is_of_one_endpoint_and_of_so_many_rows() -> None:
    """An endpoint's table is of its requests; what is beyond the rows is summed up."""
    text = _drawn(profile_table(of_yappi(), endpoint=PLACE_ORDER, top=1))
    assert "50 requests · POST /orders" in text
    assert "and 1 more row: 100 ms, 33.3%" in text
    assert "nothing was recorded" in _drawn(profile_table(of_yappi(), endpoint="GET /none"))


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_long_and_hostile_names_break_no_table(width: int) -> None:
    """Names of any length and with any characters are cut to the terminal and control nothing in it."""
    frame = Frame("very.long_" * 30 + "last_part", "/srv/" + "deep/" * 60 + "file.py", 10**6)
    evil = Frame("\x1b[2J[bold]\n\r", "/srv/\x1b]0;x\x07.py", 1)
    kinds = ("thread-queued", "waiting")
    stacks = tuple(Stack((one,), 1.0, 1, "GET /" + "x" * 300, kind) for one in (frame, evil) for kind in kinds)
    profile = msgspec.structs.replace(of_ledger(), service="\x1b[31m", stacks=stacks, notes=("\x1b[2J",))
    for shown in (profile_table(profile), diff_table(diff_profiles(of_ledger(), profile))):
        file = io.StringIO()
        Console(file=file, width=width).print(shown)
        assert "\x1b" not in file.getvalue()
        rows = [line for line in file.getvalue().splitlines() if "last_part" in line]
        assert all(len(row) <= width for row in rows)


def test_what_changed_is_told_with_its_sign() -> None:
    """Rows have before, after, the change and its share; what may be chance is counted and not shown."""
    text = _drawn(diff_table(diff_profiles(of_py_spy(), of_py_spy(digest=90))))
    assert "a second: 1.00 s -> 1.30 s (+30.0%)" in text
    assert _cells(text, "digest")[2:] == ["600", "ms", "900", "ms", "+300", "ms", "+50%"]
    text = _drawn(diff_table(diff_profiles(of_py_spy(), of_py_spy(digest=65))))
    assert "no function changed beyond chance\nand 1 change that may be chance" in text
    text = _drawn(diff_table(diff_profiles(of_py_spy(), _without_digest(of_py_spy()))))
    assert _cells(text, "digest")[-1] == "gone"
    assert "new" in _drawn(diff_table(diff_profiles(_without_digest(of_py_spy()), of_py_spy())))


def _without_digest(profile: Profile) -> Profile:
    return msgspec.structs.replace(profile, stacks=tuple(one for one in profile.stacks if DIGEST not in one.frames))


# ---- the command


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    write_profile(of_ledger(), tmp_path / "before.json")
    write_profile(of_ledger(digest=0.9), tmp_path / "after.json")
    write_profile(of_py_spy(), tmp_path / "spy.json")
    return tmp_path


def _run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["profile", "diff", *arguments])
    return int(caught.value.code or 0)


def test_two_files_are_compared(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The planted function is the first row, the whole is told per request, and a hint ends the report."""
    assert _run("before.json", "after.json") == 0
    out = capsys.readouterr().out
    assert "a request: 5.25 ms -> 7.75 ms (+47.6%)" in out
    assert _cells(out, "digest")[-2:] == ["ms", "+125%"]
    assert out.splitlines()[-1].startswith("next: computing in digest (orders/checks.py:17) grew by 2.50 ms a request")
    assert _run("before.json", "before.json") == 0
    assert "next: nothing changed beyond chance" in capsys.readouterr().out
    assert _run("after.json", "before.json") == 0
    assert "shrank by 2.50 ms a request; prove it with hasten compare" in capsys.readouterr().out


def test_the_graph_is_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """-o writes a page, says so on stderr, and the hint names it."""
    assert _run("before.json", "after.json", "-o", "diff.html") == 0
    told = capsys.readouterr()
    assert "flame graph written to diff.html" in told.err
    assert "open diff.html to see who calls it" in told.out
    assert (folder / "diff.html").read_text().startswith("<!doctype html>")


def test_json_is_all_that_is_printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--json prints every change as data, of one endpoint where that is asked for."""
    assert _run("before.json", "after.json", "--json", "--endpoint", SEARCHED) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["per"], told["endpoint"]) == ("request", SEARCHED)
    first = told["changes"][0]
    assert (first["function"], first["kind"], first["sure"]) == ("digest", "computing", True)
    assert first["change"] == pytest.approx(0.005)
    assert "stacks" not in told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("before.json", "none.json"), "none.json: cannot be read: No such file or directory"),
        (("before.json", "spy.json"), "one was made by ledger, the other by py-spy"),
        (
            ("before.json", "after.json", "--endpoint", "GET /x"),
            "'GET /x' is not in both profiles; there is GET /search",
        ),
        (("before.json", "after.json", "-o", "diff.svg"), "--output: diff.svg is no .html file"),
        (("before.json", "after.json", "-o", "none/diff.html"), "cannot write none/diff.html: No such file"),
        (("before.json",), "Missing argument"),
    ],
)
def test_bad_input_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    """Whatever is wrong is one line on stderr and exit code 2."""
    assert _run(*arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert said in told.err
    assert len(told.err.splitlines()) == 1
