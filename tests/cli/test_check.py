"""`hasten check`: what it prints, and its exit codes."""

import json
import re
from pathlib import Path

import pytest

from hasten.cli import main
from hasten.diagnose._ruff import find_ruff

TRAPS = """import time, requests

async def wait():
    time.sleep(1)
    requests.get("http://a")
"""

needs_ruff = pytest.mark.skipif(find_ruff() is None, reason="ruff is not installed")


def check(*arguments: str) -> int:
    """Run the command in this process and return its exit code."""
    with pytest.raises(SystemExit) as caught:
        main(["check", *arguments])
    code = caught.value.code or 0
    assert isinstance(code, int)
    return code


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, without settings from outside."""
    monkeypatch.chdir(tmp_path)
    for name in ("HASTEN_SELECT", "HASTEN_IGNORE", "HASTEN_JSON", "HASTEN_OUTPUT_FORMAT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def write(text: str = TRAPS, name: str = "app/main.py") -> None:
    """Write a source file in the current folder."""
    file = Path(name)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_findings_have_place_code_and_message(capsys: pytest.CaptureFixture[str]) -> None:
    """One line a finding, with the path relative to here, then the sum and what to do next; exit code 1."""
    write()
    assert check("--select", "HS") == 1
    out, err = capsys.readouterr()
    assert err == ""
    assert out == (
        "app/main.py:4: HS101 time.sleep blocks the event loop\n"
        "app/main.py:5: HS101 requests.get blocks the event loop\n"
        "app/main.py:5: HS305 requests.get has no timeout: waits for ever\n"
        "3 findings in 1 of 1 file\n"
        "next: hasten doctor TARGET --plan plan.toml shows which of these cost time, and how much\n"
    )


def test_nothing_found(capsys: pytest.CaptureFixture[str]) -> None:
    """Clean code is exit code 0, and says what was looked at."""
    write("async def fine(): ...")
    assert check() == 0
    out = capsys.readouterr().out
    assert out.startswith("nothing found in 1 file")
    assert out.splitlines()[-1].startswith("next: ")
    assert check("--json") == 0


POLLING = """import asyncio, time

async def wait(ready):
    time.sleep(1)
    while not ready:
        await asyncio.sleep(1)
"""


@needs_ruff
def test_ruff_takes_part(capsys: pytest.CaptureFixture[str]) -> None:
    """What ruff's ASYNC rules find is shown, but for what ours say about the same line."""
    write(POLLING)
    assert check() == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines if line.startswith("app/main.py")] == ["HS101", "ASYNC110"]
    assert "2 findings in 1 of 1 file" in lines
    assert check("--ignore", "ASYNC") == 1
    assert "ASYNC110" not in capsys.readouterr().out
    assert check("--select", "ASYNC110") == 1
    assert "HS101" not in capsys.readouterr().out


def test_without_ruff_ours_alone(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A machine without ruff gets our findings, and is told."""
    monkeypatch.setattr("sysconfig.get_path", lambda name: f"/nowhere/{name}")
    monkeypatch.setenv("PATH", "/nowhere")
    write()
    assert check() == 1
    assert "3 findings in 1 of 1 file (without ruff's ASYNC rules: ruff is not installed)" in capsys.readouterr().out


def test_select_and_ignore(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes and beginnings choose, the longer wins; the environment sets them too."""
    write()
    for options, expected in [
        (["--select", "HS3"], ["HS305"]),
        (["--select", "HS", "--ignore", "HS1"], ["HS305"]),
        (["--select", "hs101,HS305", "--ignore", "HS"], ["HS101", "HS101", "HS305"]),
        (["--select", "HS402"], []),
    ]:
        assert check(*options) == (1 if expected else 0)
        assert re.findall(r": (HS\d+) ", capsys.readouterr().out) == expected
    monkeypatch.setenv("HASTEN_SELECT", "HS305")
    assert check() == 1
    assert re.findall(r": (HS\d+) ", capsys.readouterr().out) == ["HS305"]


def test_noqa_is_respected(capsys: pytest.CaptureFixture[str]) -> None:
    """A waived line is not shown."""
    write("import time\nasync def wait():\n    time.sleep(1)  # noqa: HS101\n    time.sleep(2)  # noqa: HS305\n")
    assert check("--select", "HS") == 1
    assert re.findall(r":(\d+): HS101", capsys.readouterr().out) == ["4"]


def test_json_is_all_of_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    """`--json` prints an object with every finding, its function and its fix."""
    write()
    assert check("--json", "--select", "HS101") == 1
    out, err = capsys.readouterr()
    data = json.loads(out)
    assert err == ""
    assert data["files"] == 1
    assert data["unreadable"] == []
    first = data["findings"][0]
    assert (first["code"], first["file"], first["line"], first["function"]) == (
        "HS101",
        "app/main.py",
        4,
        "wait",
    )
    assert "asyncio.to_thread" in first["fix"]


def test_github_annotations(capsys: pytest.CaptureFixture[str]) -> None:
    """`--output-format github` prints workflow commands alone."""
    write()
    assert check("--output-format", "github", "--select", "HS305") == 1
    assert capsys.readouterr().out == (
        "::warning file=app/main.py,line=5,title=HS305::requests.get has no timeout: waits for ever\n"
    )


def test_a_broken_file_does_not_hide_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    """A syntax error is one line on stderr and exit code 2; the other files are checked."""
    write()
    write("def f(:", "app/broken.py")
    assert check("--select", "HS305") == 2
    out, err = capsys.readouterr()
    assert "app/main.py:5: HS305" in out
    assert err == "error: app/broken.py:1: syntax error: invalid syntax\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: no such file or folder"),
        (["notes.txt"], "notes.txt: is no Python file"),
        (
            ["--select", "HS9"],
            "--select: no rule has a code that begins with HS9; see docs/reference/findings.md",
        ),
        (
            ["--ignore", "XY"],
            "--ignore: no rule has a code that begins with XY; see docs/reference/findings.md",
        ),
    ],
)
def test_wrong_use_is_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A path or code that does not exist is one clear line and exit code 2."""
    write("nothing", "notes.txt")
    assert check(*arguments) == 2
    assert capsys.readouterr() == ("", f"error: {message}\n")


def test_what_is_walked(capsys: pytest.CaptureFixture[str]) -> None:
    """Folders are walked without environments, caches, hidden folders and tests; a named file is taken."""
    skipped = [
        ".venv/a.py",
        ".git/a.py",
        "node_modules/a.py",
        "__pycache__/a.py",
        "tests/a.py",
        "test_a.py",
        "env3/a.py",
    ]
    for name in (*skipped, "kept.py", "deep/er/kept.py"):
        write(name=name)
    write("", "env3/pyvenv.cfg")
    assert check("--select", "HS305") == 1
    assert re.findall(r"^(\S+):\d+:", capsys.readouterr().out, re.MULTILINE) == ["deep/er/kept.py", "kept.py"]
    assert check("--select", "HS305", "tests", "test_a.py", "kept.py", "./kept.py") == 1
    assert "3 findings in 3 of 3 files" in capsys.readouterr().out
