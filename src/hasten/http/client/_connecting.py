"""Making a connection: the addresses of a name one after the other, each next one as soon as the last takes long."""

import asyncio
import ssl
from collections.abc import Callable
from socket import SOCK_STREAM

from hasten.http.client._connection import Connection

_NEXT_SECONDS = 0.25
"""An address that has not answered for so long is given up for the next (RFC 8305 section 8, Connection Attempt Delay).

There the first goes on beside it; here one is tried at a time, so that a connection is never made twice.
"""


async def connect(
    make: Callable[[], Connection], host: str, port: int, tls: ssl.SSLContext | None, seconds: float
) -> Connection:
    """Return a new connection.

    Args:
      make: Makes its protocol.
      seconds: For all of it: the name, every address, TLS.
    Raises:
      OSError: the last address's; `TimeoutError`, which is one, when the time is over; `UnicodeError` for a name that
        can be none.
    Cancellation: ends it.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(seconds):
        found = await loop.getaddrinfo(host, port, type=SOCK_STREAM)
        addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
        for address in addresses[:-1]:
            try:
                async with asyncio.timeout(_NEXT_SECONDS):
                    return await _open(loop, make, address, port, tls, host)
            except OSError:
                continue
        return await _open(loop, make, addresses[-1], port, tls, host)


async def _open(
    loop: asyncio.AbstractEventLoop,
    make: Callable[[], Connection],
    address: str,
    port: int,
    tls: ssl.SSLContext | None,
    name: str,
) -> Connection:
    _, connection = await loop.create_connection(
        make, address, port, ssl=tls, server_hostname=name if tls is not None else None
    )
    return connection


def default_context() -> ssl.SSLContext:
    """Return a context that trusts the system's authorities, and asks for HTTP/1.1; it reads files."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
