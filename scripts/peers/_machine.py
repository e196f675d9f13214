"""The machine that servers and peers run on: messages, switches, Debian packages, processes."""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

END_WITHIN = 10.0  # seconds between SIGTERM and SIGKILL
PR_SET_PDEATHSIG = 1  # prctl(2)


def say(message: str) -> None:
    print(f"services: {message}", file=sys.stderr, flush=True)


def switched_on(variable: str) -> bool:
    return os.environ.get(variable, "") not in {"", "0"}


def on_path(executable: str) -> str | None:
    """Return the executable's path; Debian keeps some servers where only root's PATH looks."""
    return shutil.which(executable) or shutil.which(executable, path="/usr/local/sbin:/usr/sbin")


# ---- Debian packages


def may_use_apt() -> bool:
    debian = Path("/etc/debian_version").exists() and shutil.which("apt-get") is not None
    return debian and os.geteuid() == 0 and not switched_on("HASTEN_NO_INSTALL")


def install_packages(packages: Iterable[str]) -> None:
    """Install Debian packages, and start none of their services; a failure is said and leaves them missing."""
    names = list(dict.fromkeys(packages))
    say(f"installing {' '.join(names)} with apt")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with _path_that_starts_nothing() as path:
        options = ["-o", "DPkg::Lock::Timeout=300", "-o", f"DPkg::Path={path}"]
        for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *names]):
            command = ["apt-get", "-qq", *options, *arguments]
            done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
            if done.returncode:
                reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
                say(f"apt-get {arguments[0]} failed: {reason}")


@contextlib.contextmanager
def _path_that_starts_nothing() -> Iterator[str]:
    """Give a PATH for the scripts of packages, on which the commands that they start their services with do nothing.

    Unlike a policy-rc.d it is gone with this script, whatever ends it.
    """
    with tempfile.TemporaryDirectory(prefix="hasten-install-") as folder:
        for command in ("invoke-rc.d", "deb-systemd-invoke"):
            Path(folder, command).symlink_to("/bin/true")
        yield f"{folder}:/usr/sbin:/usr/bin:/sbin:/bin"


# ---- processes


def start(
    command: list[str], log: Path, *, folder: Path | None = None, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a process that writes to `log` and ends with this one, or with the thread that called this.

    It leads a session of its own: a Ctrl-C in the terminal must not take the servers from tests that are
    still ending, and its children end with it.
    """
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )


def _die_with_parent() -> None:
    """Let the kernel end the process when this one is killed by a signal it cannot catch (Linux only)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def end(process: subprocess.Popen[bytes], patience: float = END_WITHIN) -> None:
    """End a process that was started here, and its children: SIGTERM, and SIGKILL after `patience` seconds."""
    for number, wait in ((signal.SIGTERM, patience), (signal.SIGKILL, None)):
        if process.poll() is None:
            os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(wait)


def last_words(log: Path, lines: int = 1) -> str:
    """Return the last lines of a log as one line."""
    said = log.read_text(errors="replace").strip().splitlines()
    return " | ".join(line.strip() for line in said[-lines:]) if said else "it said nothing"
