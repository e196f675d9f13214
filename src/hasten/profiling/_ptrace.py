"""Who may trace a process, and so profile it from outside: what Linux asks for, and what it was that it lacked.

Source: ptrace(2), "Ptrace access mode checking"; Documentation/admin-guide/LSM/Yama.rst of the kernel.
"""

import os
import sys
from pathlib import Path

_PROC = Path("/proc")
_PR_SET_PTRACER = 0x59616D61  # prctl.h; the bytes spell "Yama"
_PR_SET_PTRACER_ANY = 2**64 - 1  # (unsigned long) -1
_CAP_SYS_PTRACE = 19  # the bit's number, of capability.h
_CONTAINER = "docker run --cap-add SYS_PTRACE, in Kubernetes securityContext.capabilities.add: [SYS_PTRACE]"
_FROM_WITHIN = "; or profile it from within: hasten profile URL --engine ledger"


def allow_tracers() -> bool:
    """Let every process of this one's user trace this one, where Yama would let its ancestors alone.

    For this process, not for others that it starts: each of several workers calls it for itself. Reading this process's
    memory is then open to whatever runs as its user, as it is on systems without Yama.

    Returns:
      Whether it took effect: False without Yama, where nothing is in the way, and on other systems than Linux.
    Source: prctl(2), PR_SET_PTRACER.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        import ctypes  # 3 ms, for a call that most services never make; small Pythons have none

        prctl = ctypes.CDLL(None).prctl
    except (ImportError, OSError, AttributeError):
        return False
    prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)
    return bool(prctl(_PR_SET_PTRACER, _PR_SET_PTRACER_ANY, 0, 0, 0) == 0)


def exists(pid: int, *, proc: Path = _PROC) -> bool:
    """Tell whether a process runs; on a system without /proc, that it does."""
    return not proc.joinpath("self").exists() or _state(pid, proc) not in ("", "Z", "X")


def why_refused(pid: int, *, proc: Path = _PROC) -> str:
    """Return why this process may not trace another, and what must be granted; part of a line, without its subject.

    Args:
      proc: Where the kernel tells about processes.
    """
    if not exists(pid, proc=proc):
        return "no such process runs" if _state(pid, proc) == "" else "it has ended"
    return _reason(pid, proc) + _FROM_WITHIN


def _reason(pid: int, proc: Path) -> str:
    theirs, ours = _status(proc / str(pid)), _status(proc / "self")
    tracer = theirs.get("TracerPid", "0")
    if tracer not in ("", "0"):
        return f"process {tracer} traces it already, a debugger or another profiler; end that first"
    scope = _scope(proc)
    if scope == "3":
        return "kernel.yama.ptrace_scope is 3, which lets nobody trace until the next boot"
    if int(ours.get("CapEff", "0"), 16) >> _CAP_SYS_PTRACE & 1:
        return "the system refuses it in spite of CAP_SYS_PTRACE; run hasten in the container that the process runs in"
    if _user(theirs) != _user(ours):
        return _of_another(_user(theirs), _user(ours))
    if scope == "2":
        return "kernel.yama.ptrace_scope is 2, which takes CAP_SYS_PTRACE; run as root"
    if scope == "1":
        return (
            "kernel.yama.ptrace_scope is 1, which lets only parents trace; hasten.install(app, profile=True) in the "
            "service opens it, or run as root, or grant CAP_SYS_PTRACE, or sysctl kernel.yama.ptrace_scope=0"
        )
    return f"the system refuses to trace it; run as root, or grant CAP_SYS_PTRACE: {_CONTAINER}"


def _of_another(theirs: str, ours: str) -> str:
    if ours == "0":  # root of a container, which is not the machine's
        return f"it is user {theirs}'s, and root has no CAP_SYS_PTRACE here; grant it: {_CONTAINER}"
    return f"it is {_name(theirs)}'s; run as that user or as root, or grant CAP_SYS_PTRACE"


def _name(user: str) -> str:
    import pwd  # there is none on Windows

    try:
        return f"user {pwd.getpwuid(int(user)).pw_name}"
    except (KeyError, ValueError):
        return f"user {user}"


def _user(status: dict[str, str]) -> str:
    """Return the effective one; empty where it is not known."""
    return status.get("Uid", "").split("\t")[1:2][0] if "\t" in status.get("Uid", "") else ""


def _state(pid: int, proc: Path) -> str:
    """Return the letter of a process's state; empty without the process."""
    return _status(proc / str(pid)).get("State", "")[:1]


def _status(folder: Path) -> dict[str, str]:
    try:
        lines = folder.joinpath("status").read_text(errors="replace").splitlines()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _scope(proc: Path) -> str:
    """Return Yama's ptrace_scope; 0, which asks for nothing, without Yama."""
    try:
        return proc.joinpath("sys", "kernel", "yama", "ptrace_scope").read_text().strip()
    except OSError:
        return "0"


def resume_stopped(pid: int, *, proc: Path = _PROC) -> None:
    """Let a process go on that its tracer has left stopped, as one can that is killed while it attaches."""
    if _state(pid, proc) == "T":
        import signal

        os.kill(pid, signal.SIGCONT)
