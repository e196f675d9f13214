"""One connection to a host, and the request on it: no pipelining, so there is at most one."""

import asyncio
import math
import sys
from time import monotonic
from typing import TYPE_CHECKING, cast

from hasten.http.client._errors import BodyTooLarge, ConnectionLost, HttpError, ProtocolError
from hasten.http.client._head import Malformed
from hasten.http.client._parser import ResponseParser, TooLong
from hasten.http.client._request import WHOLE_BYTES

if TYPE_CHECKING:
    from hasten.http.client._exchange import Exchange
    from hasten.http.client._pool import Pool

_HINT_PART = 0.8
"""Of the seconds that a server says it keeps an idle connection: so long it is used again."""


class Connection(asyncio.Protocol):
    """Sends one request at a time; whatever the server does becomes a call to its pool or exchange, no exception.

    Attributes:
      exchange: Under way.
      usable_until: While it is idle, by `time.monotonic()`.
      closed: It carries no further request.
    """

    __slots__ = ("_parser", "_paused", "_pool", "_transport", "_used", "_write", "closed", "exchange", "usable_until")

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool
        self._parser = ResponseParser(pool.heads)
        self._transport: asyncio.Transport | None = None
        self._used = self._paused = False
        self.exchange: Exchange | None = None
        self.usable_until = 0.0
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._write = self._transport.write
        self._pool.alive.add(self)
        if self.closed:  # the pool was closed meanwhile
            self._transport.abort()

    # ---- the request

    def send(self, exchange: "Exchange") -> None:
        """Send a request; the connection must be idle, or new."""
        self.exchange = exchange
        exchange.connection, exchange.pool, exchange.written = self, None, True
        request = exchange.request
        most = self._pool.most_bytes if exchange.body is None else sys.maxsize
        self._parser.begin(no_body=request.method == "HEAD", most_bytes=most)
        pool = self._pool
        self._write(exchange.message(pool.path, pool.own_fields))
        if len(request.body) > WHOLE_BYTES:
            self._write(request.body)

    def pause(self) -> None:
        """Read no more for now: who takes the body is slower than who sends it."""
        if not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self._paused and self._transport is not None:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def abort(self) -> None:
        """Close at once, and drop the request on it, if any, without a word; its place is free from now on."""
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.connection = None
        if not self.closed:
            self.closed = True
            self._pool.gone(self)
        if self._transport is not None:
            self._transport.abort()

    # ---- the answer

    def data_received(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is None:  # nobody has asked: whose answer came next would be a guess
            self.abort()
            return
        try:
            complete = self._parser.feed(data)
        except Malformed as error:
            self._break(exchange, ProtocolError(self._pool.name, str(error)))
            return
        except TooLong:
            self._break(exchange, BodyTooLarge(self._pool.name, self._pool.most_bytes))
            return
        if exchange.body is not None:
            self._pass_on(exchange)
        if complete:
            self._complete(exchange)

    def eof_received(self) -> None:
        exchange = self.exchange
        if exchange is not None and self._parser.finish():
            self._complete(exchange)

    def connection_lost(self, exc: Exception | None) -> None:
        self._pool.alive.discard(self)
        self._transport = None
        exchange = self.exchange
        stale = self._used and not self._parser.touched
        self.abort()
        if exchange is not None:
            if stale and exchange.request.repeatable and not exchange.resent:
                exchange.resent = True
                self._pool.submit_again(exchange)
            else:
                reason = "closed the connection" if exc is None else f"lost the connection ({exc})"
                exchange.fail(ConnectionLost(self._pool.name, f"{reason} before the answer was complete"))
        self._pool.lost()

    def _break(self, exchange: "Exchange", error: HttpError) -> None:
        self.abort()
        exchange.fail(error)

    def _pass_on(self, exchange: "Exchange") -> None:
        """Give what has come of a streamed body to whoever takes it."""
        head, body = self._parser.head, exchange.body
        if head is not None and body is not None:
            if exchange.head is None:
                exchange.answered(head, b"")
            if part := self._parser.take():
                body.feed(part)

    def _complete(self, exchange: "Exchange") -> None:
        parser = self._parser
        head = parser.head
        assert head is not None
        self.exchange = exchange.connection = None
        self._used = True
        content = parser.take()
        if parser.keep_alive and not self.closed:
            if self._paused:
                self.resume()
            pool = self._pool
            seconds = pool.idle if head.idle == math.inf else head.idle * _HINT_PART
            self.usable_until = monotonic() + seconds
            pool.release(self)
        else:
            self._end()
        if exchange.body is None:
            exchange.answered(head, content)
        else:
            if content:
                exchange.body.feed(content)
            exchange.body.end()

    def _end(self) -> None:
        """Close after what was written; the place is free from now on."""
        if not self.closed:
            self.closed = True
            self._pool.gone(self)
        if self._transport is not None:
            self._transport.close()

    @property
    def is_fit(self) -> bool:
        """Whether the transport takes a request."""
        return not self.closed and self._transport is not None and not self._transport.is_closing()
