"""The fast edition's code keeps what it promises to those who read it."""

import subprocess
import sys

from examples.shop.launcher import EDITIONS, ROOT

FOLDER = ROOT / "examples" / "shop" / "fast"


def test_no_traps() -> None:
    """`hasten check` finds nothing in it."""
    command = [sys.executable, "-m", "hasten", "check", str(FOLDER)]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert (checked.returncode, checked.stderr) == (0, ""), checked.stdout


def test_half_an_hour() -> None:
    """It is read in half an hour: at most 1,750 lines, and no file of more than 200."""
    lines = {path.name: len(path.read_text().splitlines()) for path in FOLDER.glob("*.py")}
    assert max(lines.values()) <= 200
    assert sum(lines.values()) <= 1_750


def test_same_services() -> None:
    """It has the services of the slow edition, under the same names."""
    slow, fast = ([service.name for service in EDITIONS[name].services] for name in ("slow", "fast"))
    assert fast == slow
