"""CPU, memory and file descriptors of the process, from /proc; the names are every Prometheus client's."""

import functools
import os
import platform
import resource
import time
from collections.abc import Iterator
from pathlib import Path

from hasten.monitor import _catalogue as catalogue
from hasten.monitor._recorder import Reader, Reading

_PAGE_BYTES = resource.getpagesize()
_RESIDENT, _START_TICKS = 1, 19  # fields of /proc/self/statm; of /proc/self/stat behind the name


def process_reader(service: str, version: str) -> Reader:
    """Return what reads the process; where there is no /proc, CPU time alone."""
    build = (service, version, platform.python_version())

    def read() -> Iterator[Reading]:
        yield catalogue.BUILD, build, 1
        yield catalogue.PROCESS_CPU, (), time.process_time()
        yield catalogue.PROCESS_START, (), started_at()
        try:
            pages = int(Path("/proc/self/statm").read_text().split()[_RESIDENT])
            yield catalogue.PROCESS_MEMORY, (), pages * _PAGE_BYTES
            yield catalogue.PROCESS_FILES, (), len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a name is enough
            yield catalogue.PROCESS_MOST_FILES, (), resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        except OSError:
            return

    return read


@functools.cache
def started_at() -> float:
    """Return when the process began, Unix time; when it was first asked, where there is no /proc."""
    try:
        boot = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime"))
        ticks = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[_START_TICKS]
    except (OSError, StopIteration):
        return time.time()
    return int(boot.split()[1]) + int(ticks) / os.sysconf("SC_CLK_TCK")
