"""What the kernel knows of a connection: how long its newest bytes have lain there, and whether its peer has gone.

TCP_INFO's tcpi_last_data_recv and tcpi_state (Linux, tcp(7)). No timer of a server sees that time: the loop was held,
nobody had read the bytes. The kernel counts in jiffies (4 ms at HZ=250), so less than 8 ms says nothing. 1.2 µs.
"""

import socket
import struct
import sys
from typing import Any, NamedTuple

_LAST_DATA_RECV = 52
"""Offset of tcpi_last_data_recv, milliseconds, in struct tcp_info (linux/tcp.h; unchanged since 2.6)."""
SMALLEST = 0.008
"""Seconds below which the answer is noise."""
_GONE = frozenset({7, 8, 9})
"""TCP_CLOSE, TCP_CLOSE_WAIT and TCP_LAST_ACK (net/tcp_states.h): the peer has closed its side."""


class Arrival(NamedTuple):
    """A connection whose bytes have just been read.

    Attributes:
      unread: Seconds that its newest bytes had lain there; 0.0 where that is little, or not known.
      gone: Its peer has closed it already.
    """

    unread: float
    gone: bool


_UNKNOWN = Arrival(0.0, gone=False)


def arrival(transport: Any) -> Arrival:
    """Return what is known of a connection.

    Args:
      transport: The connection's asyncio transport.
    """
    if sys.platform != "linux" or transport is None:
        return _UNKNOWN
    connection = transport.get_extra_info("socket")
    if connection is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return _UNKNOWN
    try:
        information = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA_RECV + 4)
    except OSError:
        return _UNKNOWN
    if len(information) < _LAST_DATA_RECV + 4:
        return _UNKNOWN
    age: float = struct.unpack_from("I", information, _LAST_DATA_RECV)[0] / 1000.0
    return Arrival(age if age >= SMALLEST else 0.0, information[0] in _GONE)
