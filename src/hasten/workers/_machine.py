"""What the machine, or the container, gives: cores to run on, and memory that a process has taken."""

import os
import re
from pathlib import Path

from hasten._core.errors import ConfigurationError

_UNITS = {"kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)(kb|mb|gb)")


def available_cores(root: Path = Path("/")) -> int:
    """Return on how many cores this process may run, at least 1: its affinity, and the CPU quota of its cgroups.

    A quota of 2.5 cores counts as 2: a worker more than there is quota for is held by the kernel for up to 100 ms at a
    time, and that is what p99 then shows.

    Source: the kernel's cgroup-v2.rst, cpu.max; sched-bwc.rst for version 1.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for folder in _cgroups(root) if (quota := _quota(folder)) is not None]
    return max(1, int(min([cores, *quotas])))


def _cgroups(root: Path) -> list[Path]:
    """Return the folders of this process's cgroups that may hold a quota, each with those above it."""
    found: list[Path] = []
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, name = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / ("cpu" if controllers else "")
        own = top / name.lstrip("/")
        found += [folder for folder in (own, *own.parents) if folder == top or top in folder.parents]
    return found


def _quota(folder: Path) -> float | None:
    """Return the cores that a cgroup may use; None without a limit."""
    quota, _, period = _text(folder / "cpu.max").strip().partition(" ")
    if not quota:
        quota = _text(folder / "cpu.cfs_quota_us").strip()
        period = _text(folder / "cpu.cfs_period_us").strip()
    if not quota.isdigit() or not period.isdigit():  # max, -1, or no such file
        return None
    return int(quota) / int(period)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def resident_bytes(pid: int) -> int | None:
    """Return the memory that a process has in RAM (RSS); None where it is not known: no Linux, or no such process."""
    fields = _text(Path(f"/proc/{pid}/statm")).split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") if fields else None


def parse_size(text: str, where: str) -> int:
    """Return the bytes that `512mb` or `1.5gb` says.

    Raises:
      ConfigurationError: the text has another form.
    """
    match = _SIZE.fullmatch(text.strip().lower())
    if match is None:
        raise ConfigurationError(where, f"{text!r} is no size", "write it like 512mb or 1.5gb")
    return int(float(match[1]) * _UNITS[match[2]])
