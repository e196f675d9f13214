"""The other side's address in gRPC's form (naming.md), as `context.peer()` gives it."""

import asyncio
import socket
from urllib.parse import quote


def peer_name(transport: asyncio.BaseTransport) -> str:
    """Return `ipv4:127.0.0.1:50051`, `ipv6:%5B::1%5D:50051`, `unix:/run/stock.sock` or `unix-abstract:stock`."""
    own: socket.socket | None = transport.get_extra_info("socket")
    if own is not None and own.family == socket.AF_UNIX:
        return _unix_name(own.getsockname() or own.getpeername())
    address = transport.get_extra_info("peername")
    if not address:
        return "unknown"
    host, port = address[:2]
    mapped = host.removeprefix("::ffff:")
    if ":" not in mapped:  # IPv4, if on a socket that takes both
        host = mapped
    return f"ipv6:{quote(f'[{host}]', safe=':')}:{port}" if ":" in host else f"ipv4:{host}:{port}"


def _unix_name(path: str | bytes) -> str:
    if isinstance(path, bytes):
        return "unix-abstract:" + path.removeprefix(b"\0").decode("utf-8", "replace")
    return f"unix:{path}"
