"""Addresses that a server listens on."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import grpc

from hasten.rpc._credentials import context_for_server

Credentials = grpc.ServerCredentials | ssl.SSLContext
_BACKLOG = 1024


class Port:
    """One address, bound at once so that port 0 becomes a number.

    Attributes:
      number: The TCP port; 1 for unix sockets, as in grpc.aio.
    Raises:
      RuntimeError: it cannot be bound.
    """

    def __init__(self, address: str, credentials: Credentials | None, *, reuse_port: bool) -> None:
        self._tls = context_for_server(credentials) if credentials is not None else None
        try:
            self._socket, self.path = _bind(address, reuse_port=reuse_port)
        except (OSError, OverflowError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise RuntimeError(f"Failed to bind to address {address}: {reason}") from error
        self.number: int = 1 if self.path is not None else self._socket.getsockname()[1]
        self._server: asyncio.Server | None = None

    async def listen(
        self, loop: asyncio.AbstractEventLoop, make: Callable[[], asyncio.Protocol], handshake_seconds: float
    ) -> None:
        """Accept connections, each of which has so long for TLS."""
        create = loop.create_server if self.path is None else loop.create_unix_server
        self._server = await create(
            make,
            sock=self._socket,
            backlog=_BACKLOG,
            ssl=self._tls,
            ssl_handshake_timeout=handshake_seconds if self._tls is not None else None,
        )

    def close(self) -> None:
        """Accept no more; connections stay. A unix socket's file is removed."""
        if self._socket.fileno() < 0:
            return  # closed before: the file may be another server's by now
        if self.path:
            with suppress(OSError):
                Path(self.path).unlink()
        if self._server is not None:
            self._server.close()
        self._socket.close()


def _bind(address: str, *, reuse_port: bool) -> tuple[socket.socket, str | None]:
    """Return a bound socket, and its path if it is a unix one (empty for the abstract kind)."""
    if address.startswith("unix-abstract:"):
        return _bound(socket.AF_UNIX, "\0" + address.removeprefix("unix-abstract:")), ""
    if address.startswith("unix:"):
        path = address.removeprefix("unix:")
        path = path[2:] if path.startswith("///") else path
        _remove_stale(path)
        return _bound(socket.AF_UNIX, path), path
    host, port = _split(address)
    if ":" in host or host in {"", "*"}:
        return _bound(socket.AF_INET6, (host.replace("*", "") or "::", port), reuse_port=reuse_port), None
    family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    return _bound(family, place, reuse_port=reuse_port), None


def _split(address: str) -> tuple[str, int]:
    host, found, port = address.removeprefix("dns:///").rpartition(":")
    if not found or not port.isdigit() or int(port) > 65_535:
        raise ValueError("not host:port")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _bound(family: int, place: object, *, reuse_port: bool = False) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family != socket.AF_UNIX:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if reuse_port:
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        bound.bind(place)  # type: ignore[arg-type]
    except BaseException:
        bound.close()
        raise
    bound.settimeout(0.0)
    return bound


def _remove_stale(path: str) -> None:
    """Remove the file of a unix socket on which nobody listens any more."""
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    probe.settimeout(0.0)  # a server whose queue is full is there too
    try:
        probe.connect(path)
    except ConnectionRefusedError:
        Path(path).unlink()
    except OSError:
        pass
    finally:
        probe.close()
