"""Services that commands start: they run where they are told, are known to run, and end whatever state they are in."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hasten._core.errors import TargetUnreachable
from hasten._core.processes import ServiceProcess, termination_unwinds

pytestmark = pytest.mark.may_block

WAITING = "import os, signal; print(os.getcwd(), flush=True); signal.pause()"


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[ServiceProcess]:
    command = [sys.executable, "-c", WAITING]
    with ServiceProcess("waiting", command, environment={}, log=tmp_path / "log", folder=tmp_path) as process:
        yield process


def state_of(pid: int) -> str:
    """Return the kernel's letter: S sleeps, T is stopped. Source: proc_pid_stat(5)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_runs_where_it_is_told(waiting: ServiceProcess, tmp_path: Path) -> None:
    """A service starts in the folder that it is given."""
    while not (said := waiting.log.read_text()):
        waiting.require_running()
    assert said.strip() == str(tmp_path)


def test_a_suspended_one_is_ended(waiting: ServiceProcess) -> None:
    """A service that is stopped by a signal goes on for its end."""
    waiting.suspend()
    while state_of(waiting.pid) != "T":
        waiting.require_running()
    waiting.stop(grace=20)
    assert not exists(waiting.pid)


def test_it_goes_on(waiting: ServiceProcess) -> None:
    """A suspended service runs again when it is resumed."""
    waiting.suspend()
    while state_of(waiting.pid) != "T":
        waiting.require_running()
    waiting.resume()
    while state_of(waiting.pid) == "T":
        waiting.require_running()


def test_one_that_has_ended_is_told_with_its_last_words(tmp_path: Path) -> None:
    """Whoever needs it running learns that it has ended, how, and what it said last."""
    command = [sys.executable, "-c", "import sys; sys.exit('no such table: orders')"]
    with ServiceProcess("orders", command, environment={}, log=tmp_path / "log") as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(TargetUnreachable, match=r"orders: ended with exit code 1 .* no such table: orders"):
            process.require_running()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_unwinds_first(number: signal.Signals) -> None:
    """SIGTERM and a closed terminal leave the block by an exception, and are handled as before behind it."""
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as caught, termination_unwinds():
        signal.raise_signal(number)
    assert caught.value.code == 128 + number
    assert signal.getsignal(number) is before
