"""A client for REST between services: HTTP/1.1 on connections that are kept, with deadlines, retries, hedges, breakers.

`Client` makes the calls of one service. Its parts meet like this: `_request` makes bytes of a call, `_calls` attempts
of it, `_host` chooses the host of each, `_pool` finds or makes a connection, `_connection` writes to it and reads, by
`_parser` and `_head`, which know no sockets; `_exchange` is what becomes of an attempt. With a cache,
`_cached` is between the client and its calls, `_cache` holds what `_kept` makes of answers.

A GET of 1 KB of JSON costs the client 24 µs of CPU at 64 in flight and 26 at 1. aiohttp 3.14 takes 79 and 95, httpx
0.28 1,210 and 870 (uvloop, the same bare server, one run, medians of 7 rounds on a shared 2-core machine); a bare
protocol that neither pools nor parses takes 10. So the client stands on a protocol of its own. So does its parser:
httptools' is as quick (12 and 14 µs a call in a prototype, the difference within noise), but cannot be told that an
answer is HEAD's, and takes bytes behind an answer for the next one.
"""

from hasten.http.client._cache import PrivateCache, PrivateCacheStatistics
from hasten.http.client._client import Client
from hasten.http.client._errors import (
    BodyTooLarge,
    ConnectFailed,
    ConnectionLost,
    DecodeFailed,
    HttpError,
    HttpStatusError,
    ProtocolError,
)
from hasten.http.client._fields import Fields
from hasten.http.client._host import host_breaker
from hasten.http.client._limits import Limits
from hasten.http.client._request import CallOptions
from hasten.http.client._response import Response
from hasten.http.client._statistics import ClientStatistics, HostStatistics
from hasten.http.client._stream import StreamedResponse, Streaming

__all__ = (
    "BodyTooLarge",
    "CallOptions",
    "Client",
    "ClientStatistics",
    "ConnectFailed",
    "ConnectionLost",
    "DecodeFailed",
    "Fields",
    "HostStatistics",
    "HttpError",
    "HttpStatusError",
    "Limits",
    "PrivateCache",
    "PrivateCacheStatistics",
    "ProtocolError",
    "Response",
    "StreamedResponse",
    "Streaming",
    "host_breaker",
)
