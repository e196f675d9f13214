"""How much CPU a service has used: of its processes where they can be seen, else of what its admin port says.

A process's clock counts nanoseconds, all its threads', ended ones' included. What a child used comes by its own clock
while it lives, and by its parent's account of the dead, in hundredths of a second, once it has ended: the sum goes on
either way.
"""

import http.client
import math
import os
import re
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from hasten._core.errors import TargetUnreachable
from hasten.admin.live import Place

_PROC = Path("/proc")
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_SAMPLE = re.compile(r"^process_cpu_seconds_total(?:\{[^}]*\})? ([0-9.eE+-]+)$", re.MULTILINE)
_ANSWER_SECONDS = 3.0
_MOST_BYTES = 16 * 1024 * 1024
_LISTENS = "0A"  # of /proc/net/tcp's states
_REAPED = slice(13, 15)  # cutime and cstime, of the fields behind the name (proc_pid_stat(5))
_FORWARDERS = frozenset({"docker-proxy", "rootlessport", "slirp4netns", "pasta", "ssh", "haproxy", "nginx", "envoy"})


class CpuClock(Protocol):
    """Tells the CPU seconds that a service has used so far.

    Attributes:
      missing: Why it cannot tell; empty where it can.
    """

    missing: str

    def read(self) -> float:
        """Return them; NaN where they are not known."""
        ...


class NoCpu(CpuClock):
    """The clock of a service that nobody can look into."""

    def __init__(self, missing: str) -> None:
        self.missing = missing

    def read(self) -> float:
        return math.nan


class ProcessesCpu(CpuClock):
    """The clock of processes of this machine, with all that they have started; Linux only.

    Reading costs about 30 µs for a process without children.
    """

    missing = ""

    def __init__(self, roots: Iterable[int]) -> None:
        self._roots = tuple(roots)

    def read(self) -> float:
        found = list(dict.fromkeys(self._roots))
        for pid in found:
            found += [child for child in _children(pid) if child not in found]
        used = [seconds for pid in found if (seconds := _used(pid)) is not None]
        return sum(used) if used else math.nan


class MetricsCpu(CpuClock):
    """The clock of a service that has an admin port: what its /metrics says, of hundredths of a second.

    Asking costs the service a millisecond or so of its admin thread.
    """

    missing = ""

    def __init__(self, place: Place) -> None:
        """Ask once.

        Raises:
          TargetUnreachable: nothing answers there, or it does not tell.
        """
        self._place = place
        status, text = self._ask()
        if status != 200:
            raise TargetUnreachable(self._name, f"its /metrics is answered by {status}", "does it need a token?")
        if not _SAMPLE.search(text):
            raise TargetUnreachable(self._name, "its /metrics has no process_cpu_seconds_total")

    def read(self) -> float:
        try:
            status, text = self._ask()
        except TargetUnreachable:
            return math.nan
        found = _SAMPLE.findall(text)
        return sum(map(float, found)) if status == 200 and found else math.nan

    @property
    def _name(self) -> str:
        return self._place.url

    def _ask(self) -> tuple[int, str]:
        place = self._place
        kind = http.client.HTTPSConnection if place.encrypted else http.client.HTTPConnection
        connection = kind(place.host, place.port, timeout=_ANSWER_SECONDS)
        headers = {"Authorization": f"Bearer {place.token}"} if place.token else {}
        try:
            connection.request("GET", f"{place.prefix}/metrics", headers=headers)
            response = connection.getresponse()
            return response.status, response.read(_MOST_BYTES).decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
            raise TargetUnreachable(self._name, reason, "is it running?") from error
        finally:
            connection.close()


def clock_of_pid(pid: int) -> CpuClock:
    """Return the clock of a process that we have started."""
    clock = ProcessesCpu([pid])
    return clock if not math.isnan(clock.read()) else NoCpu("this system does not tell what other processes use")


def clock_of_url(url: str) -> CpuClock:
    """Return the clock of whoever listens at a URL's port, where that is a process of this machine that we may see."""
    parts = urlsplit(url)
    if parts.hostname not in _LOOPBACK:
        return NoCpu(f"{url} is another machine's")
    port = parts.port or (443 if parts.scheme in {"https", "grpcs"} else 80)
    pids = _holders(_listening(port))
    if not pids:
        return NoCpu(f"no process of yours listens on port {port}")
    forwarders = {_name_of(pid) for pid in pids} & _FORWARDERS
    if forwarders:
        return NoCpu(f"{forwarders.pop()} listens on port {port}, not the service")
    return ProcessesCpu(_without_descendants(pids))


def _listening(port: int) -> set[str]:
    """Return what the descriptors of the sockets that listen at a port point to."""
    found = set()
    for name in ("tcp", "tcp6"):
        try:
            lines = _PROC.joinpath("net", name).read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if fields[3] == _LISTENS and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(f"socket:[{fields[9]}]")
    return found


def _holders(sockets: set[str]) -> list[int]:
    """Return the processes that have one of these sockets open, as far as they may be seen."""
    return [pid for pid in _all_pids() if _descriptors(pid) & sockets] if sockets else []


def _all_pids() -> list[int]:
    return [int(folder.name) for folder in _PROC.iterdir() if folder.name.isdigit()]


def _descriptors(pid: int) -> set[str]:
    """Return what the descriptors of a process point to; none if it is another user's, or has ended."""
    found = set()
    with suppress(OSError):
        for entry in _PROC.joinpath(str(pid), "fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                found.add(str(entry.readlink()))
    return found


def _without_descendants(pids: list[int]) -> list[int]:
    """Return those that are no child of another: workers come with the supervisor whose socket they have inherited."""
    children = {child for pid in pids for child in _children(pid)}
    return [pid for pid in pids if pid not in children]


def _children(pid: int) -> list[int]:
    """Return the children that a process's threads have; none where it has ended or the kernel does not tell."""
    found: list[int] = []
    try:
        for thread in _PROC.joinpath(str(pid), "task").iterdir():
            found += map(int, thread.joinpath("children").read_text().split())
    except OSError:  # a thread may end meanwhile: what it has started is another's then, and is seen next time
        pass
    return found


def _used(pid: int) -> float | None:
    """Return the CPU seconds of a process and of its dead; None if it has ended itself.

    Source: clock_getcpuclockid(3): the clock of process `pid` has the number (~pid << 3) | 2 on Linux.
    """
    try:
        own = time.clock_gettime((~pid << 3) | 2)
        fields = _PROC.joinpath(str(pid), "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return own + sum(map(int, fields[_REAPED])) / os.sysconf("SC_CLK_TCK")


def _name_of(pid: int) -> str:
    try:
        return _PROC.joinpath(str(pid), "comm").read_text().strip()
    except OSError:
        return ""
