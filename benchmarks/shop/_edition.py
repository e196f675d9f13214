"""An edition of the shop as a benchmark's child: `python -m benchmarks.shop._edition EDITION DATABASE`.

It starts the edition as `python -m examples.shop` does, and says where it is and which processes it has.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks._child import announce, die_with_parent
from benchmarks._processes import PinnedProcess, process_cpu_seconds

_ROOT = Path(__file__).resolve().parents[2]
_READY_TIMEOUT = 90.0
_GREETING = re.compile(r"listening on (http://\S+)")
_STAND_IN = "examples.shop.standins:"


class Edition(PinnedProcess):
    """An edition, seen from the benchmark; its processes are stopped while others have their turn.

    Args:
      core: Of its processes.
      aside: Core of the third parties, which are no part of it.

    Attributes:
      address: Of the storefront, `http://host:port`.
    """

    def __init__(self, name: str, database: Path, core: int, aside: int) -> None:
        command = [sys.executable, "-m", "benchmarks.shop._edition", name, str(database)]
        super().__init__(f"edition {name!r}", command, core, ready_timeout=_READY_TIMEOUT)
        self._aside = aside
        self._own: list[int] = []
        self._others: list[int] = []

    def __enter__(self) -> Self:
        """Start it."""
        super().__enter__()
        self.address, own, others = self.address.split()
        self._own, self._others = ([int(pid) for pid in pids.split(",")] for pids in (own, others))
        for pid in self._others:
            os.sched_setaffinity(pid, {self._aside})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let it go on, so that it can end, and end it."""
        self._signal(signal.SIGCONT)
        super().__exit__(kind, error, trace)

    def cpu_seconds(self) -> float:
        """Return those of all its processes, without the third parties."""
        return sum(map(process_cpu_seconds, self._own))

    def suspend(self) -> None:
        """Stop all processes but the one that watches them."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let them go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        for pid in (*self._own, *self._others):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def _main(name: str, database: str) -> None:
    command = [sys.executable, "-m", "examples.shop", name, "--port", "0", "--database", database]
    environment = {**os.environ, "HASTEN_ADMIN": "127.0.0.1:0"}
    launcher = subprocess.Popen(
        command,
        cwd=_ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: die_with_parent(signal.SIGTERM),
    )
    try:
        assert launcher.stdout is not None
        greeting = _GREETING.search(launcher.stdout.readline())
        if greeting is None:
            sys.exit(launcher.wait() or 1)
        own, others = _processes(launcher.pid)
        announce(f"{greeting[1]} {','.join(own)} {','.join(others)}")
        launcher.wait()
    except KeyboardInterrupt:
        pass
    finally:
        launcher.terminate()
        launcher.wait()


def _processes(launcher: int) -> tuple[list[str], list[str]]:
    """Return the edition's own processes, and the third parties."""
    own: list[str] = []
    others: list[str] = []
    for pid in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split():
        is_stand_in = _STAND_IN in Path(f"/proc/{pid}/cmdline").read_text()
        (others if is_stand_in else own).append(pid)
    return own, others


if __name__ == "__main__":
    die_with_parent()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    _main(*sys.argv[1:])
