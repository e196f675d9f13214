"""What systemd and a service tell each other: sockets that it has opened, and how the service is.

Source: sd_notify(3), sd_listen_fds(3), sd_watchdog_enabled(3), Type=notify-reload of systemd.service(5).
"""

import os
import socket
import time
from collections.abc import MutableMapping
from contextlib import suppress

_FIRST_FD = 3
_LISTEN = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
_WATCHDOG = ("WATCHDOG_PID", "WATCHDOG_USEC")


class Systemd:
    """The supervisor of services that has started this process, or nobody: then nothing is told.

    Args:
      address: Of its datagram socket: a path, or `@name` for an abstract one; empty for nobody.
      watchdog: Seconds within which it wants to hear from us again and again; None if it does not.
    """

    def __init__(self, address: str = "", watchdog: float | None = None) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.watchdog = watchdog if address else None

    @classmethod
    def of(cls, environment: MutableMapping[str, str]) -> "Systemd":
        """Return what the environment says, and remove it: it is not meant for processes that this one starts."""
        address = environment.pop("NOTIFY_SOCKET", "")
        pid, microseconds = (environment.pop(name, "") for name in _WATCHDOG)
        asked = microseconds.isdigit() and int(microseconds) > 0 and pid in {"", str(os.getpid())}
        return cls(address, int(microseconds) / 1e6 if asked else None)

    def ready(self, status: str) -> None:
        """Say that requests are answered: after the start, and after a reload."""
        self._tell("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Say that a reload has begun; `ready` ends it."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """Say that the end has begun."""
        self._tell("STOPPING=1")

    def status(self, text: str) -> None:
        """Say how it is, in one line for people."""
        self._tell(f"STATUS={text}")

    def ping(self) -> None:
        """Say that the process is not stuck."""
        self._tell("WATCHDOG=1")

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
            to.settimeout(0)  # a service does not wait for who looks after it
            to.sendto("\n".join(lines).encode(), self._address)


def take_sockets(environment: MutableMapping[str, str]) -> tuple[socket.socket, ...]:
    """Return the listening sockets that systemd has passed to this process, and remove what says so."""
    pid, count, _ = (environment.pop(name, "") for name in _LISTEN)
    if pid != str(os.getpid()) or not count.isdigit():
        return ()
    return tuple(socket.socket(fileno=number) for number in range(_FIRST_FD, _FIRST_FD + int(count)))
