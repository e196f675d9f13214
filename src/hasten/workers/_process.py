"""A worker's process, as the supervisor has it: a fresh interpreter, a channel to it, and how it ends."""

import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress

from hasten.workers._messages import REPORT, Drain, Lines, Orders, Report, line_of, received


class WorkerProcess:
    """A started worker; raises OSError if the system starts no process more.

    It is a new interpreter, `python -m hasten.workers TARGET`: it reads the code as it is now, takes over no state,
    and shows in `ps` what it serves. It is in the supervisor's process group, so that what suspends or kills the group
    does so to workers, too.

    Attributes:
      channel: Does not wait; readable when the worker has said something, or is gone.
      admin: URL of its admin port, once it has said so.
      worn: Why it asks to be replaced; empty while it does not.
    """

    def __init__(self, slot: int, orders: Orders, listeners: Sequence[socket.socket]) -> None:
        self.channel, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = _spawned(slot, orders.target, theirs, listeners)
        except OSError:
            self.channel.close()
            raise
        self.channel.settimeout(0)
        self.channel.send(line_of(orders))  # all of it: an empty buffer takes that much
        self._lines = Lines()
        self.admin = ""
        self.worn = ""

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def fileno(self) -> int:
        """Return the channel's descriptor."""
        return self.channel.fileno()

    def reports(self) -> list[Report] | None:
        """Return what it has said since; None when it is gone and has said nothing more."""
        data = received(self.channel)
        return None if data is None else [REPORT.decode(line) for line in self._lines.feed(data)]

    def drain(self, *, hand_over: bool, lame_duck: float | None) -> None:
        """Tell it to leave."""
        with suppress(OSError):  # it has ended
            self.channel.send(line_of(Drain(hand_over, lame_duck)))

    def kill(self) -> None:
        """End it now."""
        self._process.kill()

    def ended(self) -> str | None:
        """Return how it has ended; None while it runs."""
        code = self._process.poll()
        if code is None:
            return None
        return f"ended with exit code {code}" if code >= 0 else f"was ended by {_signal_name(-code)}"

    def close(self) -> None:
        """Close the channel."""
        self.channel.close()

    def end(self) -> None:
        """End it now, and wait until it has."""
        self._process.kill()
        self._process.wait()
        self.channel.close()


def _spawned(
    slot: int, target: str, channel: socket.socket, listeners: Sequence[socket.socket]
) -> "subprocess.Popen[bytes]":
    own = ("--slot", str(slot), "--channel", str(channel.fileno()))
    inherited = (channel.fileno(), *(one.fileno() for one in listeners))
    return subprocess.Popen([*_interpreter(), "-m", "hasten.workers", target, *own], pass_fds=inherited)


def _interpreter() -> list[str]:
    """Return this interpreter with its own options: -O, -W and -X hold for workers, too."""
    return [sys.executable, *subprocess._args_from_interpreter_flags()]  # type: ignore[attr-defined]  # noqa: SLF001


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time one
        return f"signal {number}"
