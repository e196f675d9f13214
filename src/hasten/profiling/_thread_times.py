"""How much CPU time each thread of a process has used, and waited for, as the kernel has it: /proc. Pure reading."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")
_MOST_PROCESSES = 1000


class ThreadTimes(NamedTuple):
    """Seconds of a thread since it began.

    Attributes:
      spent: On a core.
      waited: For a core, able to run; 0.0 where the kernel does not count it.
    """

    spent: float
    waited: float = 0.0

    def since(self, before: "ThreadTimes | None") -> "ThreadTimes":
        """Return what came after; all of it for a thread that was not there."""
        return self if before is None else ThreadTimes(self.spent - before.spent, self.waited - before.waited)


def thread_times(pid: int, *, children: bool = False, proc: Path = _PROC) -> dict[int, ThreadTimes]:
    """Return times by thread id, in nanosecond steps where the kernel counts them, else in those of its clock.

    Args:
      children: Those of the processes that it has started, too.
    Returns:
      Nothing where the process has ended, or the system does not tell.
    """
    times: dict[int, ThreadTimes] = {}
    for process in _family(pid, proc) if children else [pid]:
        for thread in _threads(process, proc):
            if (found := _times(thread)) is not None:
                times[int(thread.name)] = found
    return times


def _family(pid: int, proc: Path) -> list[int]:
    found = [pid]
    for one in found:
        if len(found) >= _MOST_PROCESSES:
            break
        for thread in _threads(one, proc):
            found += [int(child) for child in _read(thread / "children").split() if int(child) not in found]
    return found


def _threads(pid: int, proc: Path) -> Iterator[Path]:
    try:
        yield from proc.joinpath(str(pid), "task").iterdir()
    except OSError:
        return


def _times(thread: Path) -> ThreadTimes | None:
    if len(counted := _read(thread / "schedstat").split()) >= 2:
        return ThreadTimes(int(counted[0]) / 1e9, int(counted[1]) / 1e9)
    fields = _read(thread / "stat").rpartition(")")[2].split()  # a thread's name may hold blanks and brackets
    if len(fields) < 13:
        return None
    return ThreadTimes((int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"))  # utime, stime: proc_pid_stat(5)


def _read(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""
