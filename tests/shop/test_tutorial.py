"""The tutorial that proves a fix does what it says: its commands run as its reader would run them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/tutorial/faster-proven.md"
OUTPUT = re.compile(r"^```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN = (
    r"daily_report .*computing",
    r"HS102 high .*\n.*daily_report",
    r"daily_report +computing .* -",
    r"(?s)better: .*report p50 -\d\d.*\nreport\n  p50 .* better\n",
    r"all \d+ hold\n(?s:.*)against main",
    r"(?s)broken.*\n report +p50 .* broken\n.*against fix.*\n report +p50 .* broken",
)
"""What each output must have."""


@pytest.mark.timeout(1200)
def test_each_step_shows_what_the_page_says(tmp_path: Path) -> None:
    """Each command exits as the page says and shows what it is there for; nothing else of the page changes."""
    after = tmp_path / "page.md"
    command = [sys.executable, str(ROOT / "scripts/tutorial"), str(PAGE), "--to", str(after)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    assert OUTPUT.sub("", after.read_text()) == OUTPUT.sub("", PAGE.read_text())
    for text in (PAGE.read_text(), after.read_text()):
        shown = [output[1] for output in OUTPUT.finditer(text)]
        missing = [
            (wanted, output) for wanted, output in zip(SHOWN, shown, strict=True) if not re.search(wanted, output)
        ]
        assert not missing


def test_a_command_that_does_otherwise_is_told(tmp_path: Path) -> None:
    """A command that does not exit as the page says is one message with what it printed, and the page stays."""
    page = tmp_path / "page.md"
    text = "```console\n$ export SAID=hello\n$ echo $SAID && exit 5  # exits 2\n```\n\n```text\n```\n"
    page.write_text(text)
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts/tutorial"), str(page)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "exit code 5, not 2" in done.stderr
    assert "hello" in done.stderr
    assert page.read_text() == text
