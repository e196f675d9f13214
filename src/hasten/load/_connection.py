"""One connection to the server and the request on it; no pipelining, so there is at most one."""

import asyncio
import time
from typing import Literal, Protocol, cast

from hasten.load._http1 import HeadCache, ProtocolError, ResponseParser

ErrorKind = Literal["connect", "reset", "timeout", "protocol", "status"]
_clock = time.perf_counter


class Exchange:
    """One request and what became of it; made once per request, so slotted and plain.

    Attributes:
      due: Intended send time, by time.perf_counter.
      sent: When it was given to a connection, the last time if it was sent again; 0.0 before.
      kind: Index of its kind in the plan.
      number: Counts all requests of the run from 0.
      counted: It is due in the measured part, not in the warm-up.
      open: Neither answered nor failed.
      repeated: It was sent again on a fresh connection.
      connection: The one that carries it; None while it waits and once it is closed.
    """

    __slots__ = (
        "connection",
        "counted",
        "due",
        "head_only",
        "idempotent",
        "kind",
        "message",
        "number",
        "open",
        "repeated",
        "sent",
    )

    def __init__(self, due: float, kind: int, number: int, message: bytes) -> None:
        self.due = due
        self.sent = 0.0
        self.kind = kind
        self.number = number
        self.message = message
        self.head_only = False
        self.idempotent = False
        self.counted = True
        self.open = True
        self.repeated = False
        self.connection: Connection | None = None


class Owner(Protocol):
    """What a connection reports to; every call comes from the event loop."""

    def answered(self, connection: "Connection", exchange: Exchange, status: int) -> None:
        """The response is complete; the connection may be used again if it is not `closed`."""

    def broken(self, connection: "Connection", exchange: Exchange, kind: ErrorKind, *, resend: bool) -> None:
        """The response will not come; `resend` when RFC 9112 section 9.3.1 lets the client try once more."""

    def lost(self, connection: "Connection") -> None:
        """The connection is gone."""


class Connection(asyncio.Protocol):
    """Sends one request at a time; whatever the server does becomes a call to its owner, no exception."""

    __slots__ = ("_owner", "_parser", "_transport", "_used", "_write", "closed", "exchange")

    def __init__(self, owner: Owner, heads: HeadCache) -> None:
        self._owner = owner
        self._parser = ResponseParser(heads)
        self._transport: asyncio.Transport | None = None
        self._used = False
        self.exchange: Exchange | None = None
        self.closed = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._write = self._transport.write
        self.closed = False

    def peer_address(self) -> str:
        """Return the IP address at the other end; "" if unknown, or link-local."""
        name = self._transport.get_extra_info("peername") if self._transport is not None else None
        if not isinstance(name, tuple) or (len(name) == 4 and name[3]):
            return ""
        return str(name[0])

    def send(self, exchange: Exchange) -> None:
        """Send a request; the connection must be open and carry none."""
        self.exchange = exchange
        exchange.connection = self
        self._parser.begin(no_body=exchange.head_only)
        exchange.sent = _clock()
        self._write(exchange.message)

    def data_received(self, data: bytes) -> None:
        try:
            complete = self._parser.feed(data)
        except ProtocolError:
            self._break("protocol")
            return
        if complete:
            self._complete()
        elif self.exchange is None:  # bytes that answer nothing: whose answer came next would be a guess
            self.abort()

    def eof_received(self) -> None:
        if self._parser.finish() and self.exchange is not None:
            self._complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._transport = None
        self._break("reset")
        self._owner.lost(self)

    def abort(self) -> None:
        """Close at once and drop the request on it, if any, unreported."""
        self.closed = True
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.connection = None
        if self._transport is not None:
            self._transport.abort()

    def _complete(self) -> None:
        exchange = self.exchange
        if exchange is None:
            return
        self.exchange = exchange.connection = None
        self._used = True
        if not self._parser.keep_alive and self._transport is not None:
            self.closed = True
            self._transport.close()
        self._owner.answered(self, exchange, self._parser.status)

    def _break(self, kind: ErrorKind) -> None:
        exchange = self.exchange
        self.abort()
        if exchange is not None:
            resend = kind == "reset" and self._used and not self._parser.touched and not exchange.repeated
            self._owner.broken(self, exchange, kind, resend=resend and exchange.idempotent)
