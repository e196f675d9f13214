"""How long a request's bytes lay unread in the kernel: TCP_INFO's tcpi_last_data_recv (Linux, tcp(7)).

No timer of a server sees this time: the loop was held, nobody had read the bytes. The kernel counts in jiffies (4 ms
at HZ=250), so less than 8 ms says nothing. 0.6 µs, and asked only when the loop has just been held.
"""

import socket
import struct
import sys
from typing import Any

_LAST_DATA_RECV = 52
"""Offset of tcpi_last_data_recv, milliseconds, in struct tcp_info (linux/tcp.h; unchanged since 2.6)."""
SMALLEST = 0.008
"""Seconds below which the answer is noise."""


def unread_seconds(transport: Any) -> float:
    """Return for how long the connection's newest bytes have been there; 0.0 where the system cannot say.

    Args:
      transport: The connection's asyncio transport.
    """
    if sys.platform != "linux" or transport is None:
        return 0.0
    connection = transport.get_extra_info("socket")
    if connection is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return 0.0
    try:
        information = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA_RECV + 4)
    except OSError:
        return 0.0
    if len(information) < _LAST_DATA_RECV + 4:
        return 0.0
    age: float = struct.unpack_from("I", information, _LAST_DATA_RECV)[0] / 1000.0
    return age if age >= SMALLEST else 0.0
