"""The connections to one host."""

import asyncio
import contextvars
import ssl
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TYPE_CHECKING

from hasten.http.client._address import Address
from hasten.http.client._connecting import connect
from hasten.http.client._connection import Connection
from hasten.http.client._errors import ConnectFailed, ConnectionLost
from hasten.http.client._head import Heads
from hasten.http.client._limits import Limits

if TYPE_CHECKING:
    from hasten.http.client._exchange import Exchange

_MOST_CONNECTING = 8
"""Connections that are made at the same time: so many a host that has gone costs at once, whoever waits."""


class Pool:
    """Keeps connections, makes new ones, and lets requests wait in order. One event loop's.

    The connection that was used last is taken first, so that those which are not needed grow old and are closed. A new
    one is made beside the requests, in a task of its own: who gives up while it is made harms nobody.

    If a connection cannot be made while there is no other, all who wait fail: none of them would have one sooner.

    Attributes:
      name: Of the host.
      path, own_fields: That each request has.
      alive: Connections whose transports are not closed yet.
      address, limit: Where it connects to, and how often at a time.
      resent: Requests that were sent anew, because a kept connection was closed on them.
    """

    def __init__(
        self,
        address: Address,
        own_fields: bytes,
        limits: Limits,
        heads: Heads,
        context: Callable[[], Awaitable[ssl.SSLContext | None]],
    ) -> None:
        self.name = address.name
        self.path = address.path.encode("ascii")
        self.own_fields = own_fields
        self.heads = heads
        self.most_bytes, self.idle = limits.most_bytes, limits.idle
        self.alive: set[Connection] = set()
        self.address, self.limit, self.resent = address, limits.connections, 0
        self._limits, self._context = limits, context
        self._idle: list[Connection] = []
        self._waiting: OrderedDict[Exchange, None] = OrderedDict()
        self._open: set[Connection] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._empty: asyncio.Future[None] | None = None
        self._closed = False

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """How many connections are open, idle, being made; how many requests wait."""
        return len(self._open), len(self._idle), len(self._connecting), len(self._waiting)

    # ---- requests

    def submit(self, exchange: "Exchange") -> None:
        """Send a request on a connection that is free, or as soon as one is."""
        idle = self._idle
        now = monotonic() if idle else 0.0
        while idle:
            connection = idle.pop()
            if now < connection.usable_until and connection.is_fit:
                connection.send(exchange)
                return
            connection.abort()
        self._wait(exchange)

    def submit_again(self, exchange: "Exchange") -> None:
        """Send a request anew that a kept connection was closed on; never on another that was idle meanwhile."""
        self.resent += 1
        self._wait(exchange, first=True)

    def forget(self, exchange: "Exchange") -> None:
        """Let a request wait no more."""
        exchange.pool = None
        self._waiting.pop(exchange, None)

    def _wait(self, exchange: "Exchange", *, first: bool = False) -> None:
        if self._closed:
            exchange.fail(ConnectionLost(self.name, "the client is closed", may_be_processed=False))
            return
        exchange.pool = self
        self._waiting[exchange] = None
        if first:
            self._waiting.move_to_end(exchange, last=False)
        self._grow()

    # ---- connections

    def release(self, connection: Connection) -> None:
        """Take back a connection that is free again."""
        if self._waiting:
            self._serve(connection)
            return
        idle = self._idle
        idle.append(connection)
        if len(idle) > 1 and idle[0].usable_until < monotonic():
            idle[0].abort()

    def gone(self, connection: Connection) -> None:
        """Count a connection no more."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if self._waiting:
            self._grow()

    def lost(self) -> None:
        """Note that a connection's transport is closed."""
        if self._empty is not None and not self.alive and not self._empty.done():
            self._empty.set_result(None)

    def _serve(self, connection: Connection) -> None:
        exchange, _ = self._waiting.popitem(last=False)
        connection.send(exchange)

    def _grow(self) -> None:
        """Begin to make connections for those who wait, as many as may be."""
        if self._closed:
            return
        connecting = self._connecting
        while len(connecting) < min(len(self._waiting), _MOST_CONNECTING):
            if len(self._open) + len(connecting) >= self.limit:
                if not self._idle:
                    return
                self._idle[0].abort()  # only those who may not have an idle one wait while there is one
                continue
            # In nobody's context: it outlives the request that it is begun for.
            task = asyncio.get_running_loop().create_task(self._connect(), context=contextvars.Context())
            connecting.add(task)
            task.add_done_callback(connecting.discard)

    async def _connect(self) -> None:
        address, task = self.address, asyncio.current_task()
        made: list[Connection] = []

        def make() -> Connection:
            made.append(Connection(self))
            return made[-1]

        try:
            context = await self._context() if address.tls else None
            connection = await connect(make, address.host, address.port, context, self._limits.connect_timeout)
        except BaseException as error:
            self.alive.difference_update(made)  # uvloop does not tell one of its end that was made, and given up then
            self.lost()
            self._connecting.discard(task)
            if not isinstance(error, Exception):
                raise
            self._failed(error)  # whatever it is, those who wait have to know
        else:
            self._connecting.discard(task)
            self._opened(connection)

    def _opened(self, connection: Connection) -> None:
        if self._closed or not connection.is_fit:
            connection.abort()
            return
        self._open.add(connection)
        connection.usable_until = monotonic() + self.idle
        self.release(connection)
        if self._waiting:
            self._grow()

    def _failed(self, error: Exception) -> None:
        if self._open:
            return  # those who wait will have one of these; to try again at once could be for ever
        reason = self._reason(error)
        waiting, self._waiting = self._waiting, OrderedDict()
        for exchange in waiting:
            exchange.pool = None
            failure = ConnectFailed(self.name, reason)
            failure.__cause__ = error
            exchange.fail(failure)

    def _reason(self, error: Exception) -> str:
        if isinstance(error, ssl.SSLError):
            return f"TLS fails: {error}"
        if isinstance(error, TimeoutError):
            return f"no connection within {self._limits.connect_timeout:g} s"
        return f"no connection: {error}"

    async def aclose(self) -> None:
        """Close every connection; what is under way fails.

        Cancellation: the connections are closed all the same, nobody waits until they are.
        """
        self._closed = True
        waiting, self._waiting = self._waiting, OrderedDict()
        connecting = list(self._connecting)
        for task in connecting:
            task.cancel()
        under_way = [connection.exchange for connection in self._open]
        for connection in list(self.alive):
            connection.abort()
        for exchange in (*waiting, *under_way):
            if exchange is not None:
                exchange.pool = None
                exchange.fail(ConnectionLost(self.name, "the client was closed", may_be_processed=exchange.written))
        if connecting:
            await asyncio.wait(connecting)
        if self.alive:
            self._empty = self._empty or asyncio.get_running_loop().create_future()
            await asyncio.shield(self._empty)
