"""The sockets that a service listens on: bound here, inherited by workers, open until the service ends.

    host and port    Linux: a socket a worker's slot (SO_REUSEPORT); the kernel deals out connections by their hash
    uds, fd, systemd one socket, from which all workers accept

A slot's socket stays open while its worker is replaced or has crashed: connections wait in it for the next one. Dealing
by hash keeps workers even, where one socket for all does not: the worker that wakes first accepts all that is there.
Busiest to idlest in requests, 3 runs each, uvloop on 2 cores, 20 requests a connection:

    workers  connections       one for all        one each
    4        64 at once        all at one         1.5 to 2.6    few connections are uneven by chance
    4        400 at once       2.0, 5.1, 6.8      1.2 to 1.3
    4        1000 at once      3.2, 3.8, 7.9      1.1 to 1.25
    4        1000, one by one  1.8, 4.4, 6.2      1.2
    2        400 at once       1.3, 1.9, 26       1.0 to 1.1
"""

import contextlib
import os
import socket
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from hasten._core.errors import ConfigurationError

_UDS_MODE = 0o666
"""A proxy of another user connects, too; who may is the folder's to say."""


class Binding(msgspec.Struct, frozen=True, kw_only=True):
    """Where to listen.

    Attributes:
      host, port: Address; port 0 takes a free one.
      uds: Path of a unix socket, in the place of an address.
      fd: Number of an open socket, in the place of both.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    uds: Path | None = None
    fd: int | None = None


class Listeners(Protocol):
    """What workers accept from.

    Attributes:
      place: `http://127.0.0.1:8000`, `unix:/run/shop.sock`; several are parted by commas.
    """

    place: str

    def of_slot(self, slot: int) -> tuple[socket.socket, ...]:
        """Return the sockets of a worker's slot, bound if it is new."""
        ...

    def release(self, slot: int) -> None:
        """Close what only this slot's worker accepts from."""
        ...

    def close(self) -> None:
        """Close all; workers that have them go on."""
        ...

    def remove(self) -> None:
        """Remove what they have in the file system."""
        ...


def bind(binding: Binding, inherited: Sequence[socket.socket] = (), *, workers: bool) -> Listeners:
    """Return what to accept from: what systemd has opened, if anything, else what the options say.

    Args:
      workers: There may be several.
    Raises:
      ConfigurationError: it cannot be listened on.
    """
    if inherited:
        return SharedListeners(inherited)
    if binding.fd is not None and binding.uds is not None:
        raise ConfigurationError("--fd", "--uds names another place", "leave one of them out")
    if binding.fd is not None:
        return SharedListeners((_inherited(binding.fd),))
    if binding.uds is not None:
        return SharedListeners((_unix(binding.uds),), remove=binding.uds)
    first = _tcp(binding.host, binding.port, shares=False)
    if not workers or sys.platform != "linux":  # elsewhere SO_REUSEPORT spreads nothing
        return SharedListeners((first,))
    host, port = first.getsockname()[:2]
    first.close()  # it has shown that nobody listens there: sockets that share a port would not notice
    return SpreadListeners(host, port)


class SharedListeners(Listeners):
    """The same sockets for each slot.

    Args:
      remove: A file that goes with them.
    """

    def __init__(self, sockets: Sequence[socket.socket], *, remove: Path | None = None) -> None:
        self._sockets = tuple(sockets)
        self._remove = remove
        self.place = ", ".join(_place(one) for one in sockets)

    def of_slot(self, slot: int) -> tuple[socket.socket, ...]:
        """Return all sockets."""
        return self._sockets

    def release(self, slot: int) -> None:
        """Keep them: others accept from them."""

    def close(self) -> None:
        """Close all."""
        for one in self._sockets:
            one.close()

    def remove(self) -> None:
        """Remove the file of a unix socket."""
        if self._remove is not None:
            with contextlib.suppress(FileNotFoundError):
                self._remove.unlink()


class SpreadListeners(Listeners):
    """A socket for each slot, all of one port."""

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self._sockets: dict[int, socket.socket] = {0: _tcp(host, port, shares=True)}
        self.place = _place(self._sockets[0])

    def of_slot(self, slot: int) -> tuple[socket.socket, ...]:
        """Return the slot's socket."""
        if slot not in self._sockets:
            self._sockets[slot] = _tcp(*self._address, shares=True)
        return (self._sockets[slot],)

    def release(self, slot: int) -> None:
        """Close the slot's socket, if it has one; a worker that has it goes on, and the next one gets another."""
        released = self._sockets.pop(slot, None)
        if released is not None:
            released.close()

    def close(self) -> None:
        """Close all."""
        for one in self._sockets.values():
            one.close()

    def remove(self) -> None:
        """Nothing: they have no file."""


def _tcp(host: str, port: int, *, shares: bool) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shares:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        reason = error.strerror or str(error)
        remedy = "choose another --port, or 0 for a free one"
        raise ConfigurationError(f"--port {port}", f"cannot listen on {host}:{port}: {reason}", remedy) from error
    except OverflowError as error:
        listener.close()
        raise ConfigurationError(f"--port {port}", "not a port", "use 0 to 65535") from error
    return listener


def _inherited(number: int) -> socket.socket:
    try:
        listener = socket.socket(fileno=number)
    except OSError as error:
        raise _no_socket(number, error.strerror or str(error)) from error
    if listener.type != socket.SOCK_STREAM or _is_connected(listener):
        listener.detach()  # not ours to close
        raise _no_socket(number, "it is no socket to listen on")
    return listener


def _is_connected(one: socket.socket) -> bool:
    try:
        one.getpeername()
    except OSError:
        return False
    return True


def _no_socket(number: int, problem: str) -> ConfigurationError:
    return ConfigurationError(f"--fd {number}", problem, "open a listening socket there, before hasten starts")


def _unix(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        listener.bind(str(path))
        path.chmod(_UDS_MODE)
    except OSError as error:
        listener.close()
        raise ConfigurationError(f"--uds {path}", f"cannot listen there: {error.strerror or error}") from error
    return listener


def _remove_stale(path: Path) -> None:
    """Remove the file of a socket that nobody listens on, as a process that was killed leaves it."""
    if not path.exists() or not stat.S_ISSOCK(path.stat().st_mode):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()


def _place(listener: socket.socket) -> str:
    name = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return f"unix:{os.fsdecode(name)}"
    host, port = name[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
