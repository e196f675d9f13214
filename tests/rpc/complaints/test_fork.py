"""Complaints about forks: programs that hang, crash or lose calls unless everything is made after them.

grpc/grpc#29586, #26634, #13873, #12455, #16001.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rpc.complaints._forking import PROGRAMS

PROJECT = Path(__file__).parents[3]


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_fork(program: str, loop: str) -> None:
    """Parent and children call with a channel from before the fork, or serve one port; nothing is printed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(PROJECT), str(PROJECT / "src")))}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.rpc.complaints._forking", program, loop],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=40,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
