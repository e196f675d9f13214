"""Which admin ports the processes of this machine have: Linux's /proc tells. Pure reading."""

import os
from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")
_LISTENS = "0A"
_LOOPBACK = "127.0.0.1"


def pids_of(target: str) -> list[int]:
    """Return the processes that have `target` among their arguments, as `hasten run module:app` and uvicorn have."""
    folders = [folder for folder in _PROC.iterdir() if folder.name.isdigit() and target in _arguments(folder)]
    return sorted(int(folder.name) for folder in folders if int(folder.name) != os.getpid())


def _arguments(folder: Path) -> list[str]:
    try:
        return folder.joinpath("cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:  # it has ended, or is another user's
        return []


def family(pid: int) -> list[int]:
    """Return a process and its descendants, which are the workers where it is a supervisor."""
    children: dict[int, list[int]] = {}
    for folder in _PROC.iterdir():
        if folder.name.isdigit():
            children.setdefault(_parent(folder), []).append(int(folder.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def _parent(folder: Path) -> int:
    try:
        return int(folder.joinpath("stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def listening_ports(pid: int) -> list[tuple[str, int]]:
    """Return host and port of each TCP socket that a process listens on, ascending; none if it may not be seen."""
    try:
        held = {str(descriptor.readlink()) for descriptor in _PROC.joinpath(str(pid), "fd").iterdir()}
    except OSError:
        return []
    places = {place for place, inode in _listening(pid) if f"socket:[{inode}]" in held}
    return sorted(places, key=lambda place: place[1])


def _listening(pid: int) -> Iterator[tuple[tuple[str, int], str]]:
    for name, loopback in (("tcp", _LOOPBACK), ("tcp6", "::1")):
        try:
            lines = _PROC.joinpath(str(pid), "net", name).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            address, port = fields[1].split(":")
            if fields[3] == _LISTENS:
                yield (_host(address, loopback), int(port, 16)), fields[9]


def _host(address: str, loopback: str) -> str:
    """Return an IPv4 address as it is written; for all of them, and for IPv6, the loopback one."""
    if len(address) != 8 or address == "00000000":
        return loopback
    number = int(address, 16)
    return ".".join(str(number >> shift & 0xFF) for shift in (0, 8, 16, 24))
