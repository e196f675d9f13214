"""Addresses that a server listens on."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import grpc

Credentials = grpc.ServerCredentials | ssl.SSLContext
_BACKLOG = 1024


class Port:
    """One address, bound at once so that port 0 becomes a number.

    Attributes:
      number: The TCP port; 1 for unix sockets, as in grpc.aio.
    Raises:
      RuntimeError: it cannot be bound.
    """

    def __init__(self, address: str, tls: ssl.SSLContext | None, *, reuse_port: bool) -> None:
        self._tls = tls
        try:
            self._sockets, self.path = _bind(address, reuse_port=reuse_port)
        except (OSError, OverflowError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise RuntimeError(f"Failed to bind to address {address}: {reason}") from error
        self.number: int = 1 if self.path is not None else self._sockets[0].getsockname()[1]
        self._servers: list[asyncio.Server] = []

    async def listen(
        self, loop: asyncio.AbstractEventLoop, make: Callable[[], asyncio.Protocol], handshake_seconds: float
    ) -> None:
        """Accept connections, each of which has so long for TLS."""
        create = loop.create_server if self.path is None else loop.create_unix_server
        for each in self._sockets:
            server = await create(
                make,
                sock=each,
                backlog=_BACKLOG,
                ssl=self._tls,
                ssl_handshake_timeout=handshake_seconds if self._tls is not None else None,
            )
            self._servers.append(server)

    def close(self) -> None:
        """Accept no more; connections stay. A unix socket's file is removed."""
        if self._sockets[0].fileno() < 0:
            return  # closed before: the file may be another server's by now
        if self.path:
            with suppress(OSError):
                Path(self.path).unlink()
        for server in self._servers:
            server.close()
        for each in self._sockets:
            each.close()


def _bind(address: str, *, reuse_port: bool) -> tuple[list[socket.socket], str | None]:
    """Return the bound sockets, and their path if they are one unix socket (empty for the abstract kind)."""
    if address.startswith("unix-abstract:"):
        return [_bound(socket.AF_UNIX, "\0" + address.removeprefix("unix-abstract:"))], ""
    if address.startswith("unix:"):
        path = address.removeprefix("unix:")
        path = path[2:] if path.startswith("///") else path
        _remove_stale(path)
        return [_bound(socket.AF_UNIX, path)], path
    host, port = _split(address)
    if ":" in host or host in {"", "*"}:
        return [_bound(socket.AF_INET6, (host.replace("*", "") or "::", port), reuse_port=reuse_port)], None
    return _bound_to_all(host, port, reuse_port=reuse_port), None


def _bound_to_all(host: str, port: int, *, reuse_port: bool) -> list[socket.socket]:
    """Bind every address that a name has, all to one port: those after the first as far as they are free, as grpc."""
    bound: list[socket.socket] = []
    for family, _, _, _, (address, *_) in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        number = bound[0].getsockname()[1] if bound else port
        try:
            bound.append(_bound(family, (address, number), reuse_port=reuse_port))
        except OSError:
            if not bound:
                raise
    return bound


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
        if family != socket.AF_UNIX and not reuse_port:
            bound.listen(_BACKLOG)  # SO_REUSEADDR lets others bind it, too, as long as nobody listens
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
