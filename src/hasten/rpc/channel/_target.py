"""What a channel is told to connect to, in gRPC's words, and the addresses that come of it.

Source: grpc/grpc doc/naming.md; what it leaves open is as grpcio 1.85 does it, differences are said where they are.
"""

import ipaddress
import os
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple
from urllib.parse import quote, unquote

from hasten._core.errors import ConfigurationError

Scheme = Literal["dns", "ipv4", "ipv6", "unix", "unix-abstract", "list"]
Place = tuple[str, int] | str
"""Host (a name or an IP address, without brackets) and port; or the path of a unix socket, with a leading NUL in the
abstract namespace."""
Sockaddr = tuple[str, int] | tuple[str, int, int, int] | str

DEFAULT_PORT = 443
"""Of a host without a port (naming.md), with and without TLS."""
LONGEST_PATH = 107
"""Bytes of sockaddr_un.sun_path without its NUL (unix(7))."""
_LONGEST_HOST = 253  # RFC 1035 section 2.3.4, in text form without the last dot
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_.])?")
_ZONE = re.compile(r"[A-Za-z0-9._~-]+")
_BRACKETED = re.compile(r"\[([^\[\]]*)\](?::(.*))?", re.DOTALL)
_PORT = re.compile(r"[0-9]{1,5}")


@dataclass(frozen=True, slots=True)
class Target:
    """A parsed target.

    Attributes:
      scheme: Which rules it was read by; "list" for several targets given as a sequence.
      endpoints: At least one, without repeats, in the order given.
      authority: Value of `:authority`: host and port as they were written. A unix socket's is `localhost` as
        grpc-go's, not grpcio's encoded path, which hyper refuses as malformed (grpc/grpc#38142); of several
        addresses it is the first, where grpcio joins them all to something that is no authority (RFC 3986
        section 3.2).
      name: The target as it was written, for messages.
    """

    scheme: Scheme
    endpoints: tuple[Place, ...]
    authority: str
    name: str


@dataclass(frozen=True, slots=True)
class Address:
    """Where one endpoint is reached.

    Attributes:
      family: AF_INET, AF_INET6 or AF_UNIX.
      sockaddr: As Python's socket.connect takes it for that family. A link-local IPv6 address has its zone in the
        fourth place alone, which loop.create_connection(host, port) loses, and loop.sock_connect on uvloop.
      label: As gRPC writes a peer: `ipv4:127.0.0.1:50051`, `ipv6:%5B::1%5D:50051`, `unix:path`.
    """

    family: socket.AddressFamily
    sockaddr: Sockaddr
    label: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", peer_label(self.family, self.sockaddr))


def peer_label(family: int, sockaddr: Any) -> str:
    """Return the form of grpc's `context.peer()`; an IPv4 address that came in over an IPv6 socket is IPv4.

    Args:
      sockaddr: What sockets and transports give; a unix socket's path may be bytes, and is empty for most clients.
    """
    if family == socket.AF_UNIX:
        path = os.fsdecode(sockaddr)
        return f"unix-abstract:{path[1:]}" if path.startswith("\0") else f"unix:{path}"
    host, port = sockaddr[0], sockaddr[1]
    if family == socket.AF_INET6 and not (host.startswith("::ffff:") and "." in host):
        if sockaddr[3] and "%" not in host:
            host = f"{host}%{sockaddr[3]}"
        return f"ipv6:{quote(f'[{host}]', safe=':')}:{port}"
    return f"ipv4:{host.removeprefix('::ffff:')}:{port}"


def parse_target(target: str | Sequence[str]) -> Target:
    """Read a channel's target, or a sequence of targets whose endpoints are used together.

    Raises:
      ConfigurationError: it is malformed, or of a scheme that is not supported.
    """
    if isinstance(target, str):
        return _parsed(target)
    given: Any = target
    items = list(given) if isinstance(given, Sequence) else []
    if not items or not all(isinstance(item, str) for item in items):
        raise _wrong(target, "neither a target nor a sequence of targets", 'for example "dns:///stock:50051"')
    parsed = [_parsed(item) for item in items]
    if len(parsed) == 1:
        return parsed[0]
    endpoints = dict.fromkeys(place for one in parsed for place in one.endpoints)
    return Target("list", tuple(endpoints), parsed[0].authority, ", ".join(items))


def _parsed(text: str) -> Target:
    scheme, colon, rest = text.partition(":")
    read = _READERS.get(scheme.lower()) if colon else None
    if read is not None:
        return read(text, rest)
    if rest.startswith("//"):
        raise _unknown(text, scheme, rest)
    return _read_dns(text, f"///{text}")


def _unknown(text: str, scheme: str, rest: str) -> ConfigurationError:
    if scheme.lower() in ("http", "https"):
        return _wrong(text, "a URL is no gRPC target", f"write dns:///{rest.strip('/')}")
    return _wrong(text, f"scheme {scheme!r} is not supported", "dns, ipv4, ipv6, unix, unix-abstract are; or grpc.aio")


def _path(text: str, rest: str, authority_means: str) -> str:
    """Return the decoded path of a URI without its scheme; query and fragment are dropped, as grpcio does."""
    path = rest.partition("#")[0].partition("?")[0]
    if path.startswith("//"):
        authority, slash, path = path[2:].partition("/")
        if authority:
            raise _wrong(text, authority_means, f"write {text.partition(':')[0]}:///...")
        path = slash + path
    return unquote(path, errors="surrogateescape")


def _read_dns(text: str, rest: str) -> Target:
    means = "the part between // and / would be a DNS server; the system's resolver is asked"
    host, port, authority = _host_port(text, _path(text, rest, means).removeprefix("/"))
    return Target("dns", ((host, port),), authority, text)


def _read_ipv4(text: str, rest: str) -> Target:
    return _read_addresses("ipv4", text, rest)


def _read_ipv6(text: str, rest: str) -> Target:
    return _read_addresses("ipv6", text, rest)


def _read_addresses(scheme: Literal["ipv4", "ipv6"], text: str, rest: str) -> Target:
    path = _path(text, rest, "addresses have no // part").removeprefix("/")
    found = [_host_port(text, part) for part in path.split(",") if part]
    if not found:
        raise _wrong(text, "no address in it", f"for example {_EXAMPLES[scheme]}")
    for host, _, _ in found:
        if _version(host) != int(scheme[-1]):
            raise _wrong(text, f"{host!r} is no IPv{scheme[-1]} address", f"for example {_EXAMPLES[scheme]}")
    places = dict.fromkeys((host, port) for host, port, _ in found)
    return Target(scheme, tuple(places), found[0].authority, text)


def _read_unix(text: str, rest: str) -> Target:
    return _read_socket("unix", text, rest)


def _read_abstract(text: str, rest: str) -> Target:
    return _read_socket("unix-abstract", text, rest)


def _read_socket(scheme: Literal["unix", "unix-abstract"], text: str, rest: str) -> Target:
    path = _path(text, rest, "a path after // must be absolute")
    if not path:
        raise _wrong(text, "no path in it", f"for example {_EXAMPLES[scheme]}")
    if "\0" in path:
        raise _wrong(text, "the path has a NUL byte in it", "leave it out; unix-abstract: puts it in front")
    try:
        size = len(os.fsencode(path))
    except UnicodeEncodeError as error:
        raise _wrong(text, "the path is no valid text") from error
    if size > LONGEST_PATH:
        raise _wrong(text, f"the path has {size} bytes, a socket's has at most {LONGEST_PATH}")
    return Target(scheme, (f"\0{path}" if scheme == "unix-abstract" else path,), "localhost", text)


class _HostPort(NamedTuple):
    host: str
    port: int
    authority: str


def _host_port(text: str, part: str) -> _HostPort:
    """Split `host`, `host:port`, `[ipv6]:port`, or an IPv6 address without brackets and port."""
    host, port = part, None
    if part.startswith("["):
        bracketed = _BRACKETED.fullmatch(part)
        if bracketed is None or _version(bracketed[1]) != 6:
            raise _wrong(text, f"{part!r} has no IPv6 address between its brackets", "for example [::1]:50051")
        host, port = bracketed[1], bracketed[2]
    elif part.count(":") == 1:
        host, port = part.split(":")
    if not _is_host(host):
        raise _wrong(text, f"{host!r} is no host" if host else "no host in it", "for example dns:///stock:50051")
    shown = host.partition("%")[0]  # a zone has no meaning on the other side (RFC 6874 section 4)
    shown = f"[{shown}]" if ":" in shown else shown
    if port is None:
        return _HostPort(host, DEFAULT_PORT, shown)
    if not _PORT.fullmatch(port) or not 1 <= int(port) <= 65_535:
        raise _wrong(text, f"{port!r} is no port", "1 to 65535")
    return _HostPort(host, int(port), f"{shown}:{int(port)}")


def _is_host(text: str) -> bool:
    return (len(text) <= _LONGEST_HOST and _HOST.fullmatch(text) is not None) or _version(text) == 6


def _version(text: str) -> int:
    """Return 4 or 6 for an IP address, 0 for anything else."""
    address, percent, zone = text.partition("%")
    if percent and not _ZONE.fullmatch(zone):
        return 0
    try:
        version = ipaddress.ip_address(address).version
    except ValueError:
        return 0
    return 0 if percent and version == 4 else version


def _wrong(target: object, problem: str, remedy: str = "") -> ConfigurationError:
    return ConfigurationError(f"target {target!r}", problem, remedy)


_EXAMPLES = {
    "ipv4": "ipv4:10.0.0.1:50051,10.0.0.2:50051",
    "ipv6": "ipv6:[::1]:50051",
    "unix": "unix:///run/stock.sock",
    "unix-abstract": "unix-abstract:stock",
}
_READERS: dict[str, Callable[[str, str], Target]] = {
    "dns": _read_dns,
    "ipv4": _read_ipv4,
    "ipv6": _read_ipv6,
    "unix": _read_unix,
    "unix-abstract": _read_abstract,
}
