"""Connections to one server: opened on demand up to a bound, requests waiting in line for a free one.

The most recently used idle connection goes first, so that a quiet pool keeps few connections warm and the
server closes the others in its own time. The line is first in, first out: what is due first is sent first.
"""

import asyncio
import contextlib
import errno
import random
from collections import deque

from hasten.load._client import Client, Outcome
from hasten.load._connection import Connection, ErrorKind, Exchange
from hasten.load._http1 import HeadCache
from hasten.load._message import MessageTemplate
from hasten.load._reach import allow_open_files, tls_context, unreachable
from hasten.load._request_kind import RequestKind
from hasten.load._target import Target

# The generator's own limits, no failure of the server: out of files, out of local ports.
_OWN_LIMITS = (errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM)
_OTHER_FILES = 128  # that the process may hold open besides its connections


class Pool(Client):
    """The client for HTTP/1.1.

    Attributes:
      open_count: Connections open now.
    """

    def __init__(
        self,
        target: Target,
        limit: int,
        outcome: Outcome,
        *,
        timeout: float,
        verify: bool,
        request_ids: bool,
    ) -> None:
        self._target = target
        self._tls = tls_context("http/1.1", verify=verify) if target.secure else None
        self._request_ids = request_ids
        self._limit = limit
        self._outcome = outcome
        self._loop = asyncio.get_running_loop()
        self._heads = HeadCache()
        self._address = target.host
        self._idle: list[Connection] = []
        self._connections: set[Connection] = set()
        self._waiting: deque[Exchange] = deque()
        self._repeating: deque[Exchange] = deque()
        self._opening: set[asyncio.Task[None]] = set()
        self._opening_count = 0
        self._emptied: asyncio.Future[None] | None = None
        self._timeout = timeout
        self.open_count = 0
        self.peak = 0
        self.repeats = 0
        self.own_limit = ""

    async def probe(self) -> None:
        """Open the first connection and settle on the address that answered; no later one asks the resolver.

        Raises:
          TargetUnreachable: no address of the target accepts a connection.
        """
        allow_open_files(self._limit + _OTHER_FILES)
        try:
            async with asyncio.timeout(self._timeout):
                connection = await self._connect()
        except OSError as error:  # TimeoutError is one
            raise unreachable(self._target.origin, error, self._timeout) from error
        self._address = connection.peer_address() or self._target.host
        if not connection.closed:
            self._adopt(connection)

    def template(self, index: int, kind: RequestKind, source: random.Random) -> MessageTemplate:
        return MessageTemplate(kind, self._target, source, request_ids=self._request_ids)

    def submit(self, exchange: Exchange) -> None:
        """Send a request now if a connection is free, else as soon as one is."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if not connection.closed:
                connection.send(exchange)
                return
        self._waiting.append(exchange)
        self._grow()

    def expire(self, exchange: Exchange) -> None:
        """Give up a request whose time is over, with its connection, and report it."""
        connection = exchange.connection
        if connection is not None:
            connection.abort()
        self._outcome.failed(exchange, "timeout")

    async def aclose(self) -> None:
        """Close all connections at once, whatever is on them; nothing is reported any more."""
        self._limit = 0  # so that none is opened for those that close
        for task in self._opening:
            task.cancel()
        for connection in list(self._connections):
            connection.abort()
        await asyncio.gather(*self._opening, return_exceptions=True)
        for connection in list(self._connections):  # one may have opened while its task was being cancelled
            connection.abort()
        if self._connections:
            self._emptied = self._loop.create_future()
            with contextlib.suppress(TimeoutError):  # a transport that never says it is closed
                await asyncio.wait_for(self._emptied, 1.0)

    # What a connection reports (connection.Owner):

    def answered(self, connection: Connection, exchange: Exchange, status: int) -> None:
        self._outcome.answered(exchange, status)
        if connection.closed:
            self._grow()
            return
        waiting = self._waiting
        while waiting:
            following = waiting.popleft()
            if following.open:
                connection.send(following)
                return
        self._idle.append(connection)

    def broken(self, connection: Connection, exchange: Exchange, kind: ErrorKind, *, resend: bool) -> None:
        if not resend:
            self._outcome.failed(exchange, kind)
            return
        self.repeats += 1
        exchange.repeated = True
        self._repeating.append(exchange)

    def lost(self, connection: Connection) -> None:
        if connection in self._connections:  # else it was lost before it was adopted
            self._connections.discard(connection)
            self.open_count -= 1
            self._grow()
            if self._emptied is not None and not self._connections and not self._emptied.done():
                self._emptied.set_result(None)

    def _grow(self) -> None:
        """Open a connection for each waiting request that none is being opened for, up to the bound."""
        waiting = self._waiting
        while waiting and not waiting[0].open:
            waiting.popleft()
        lacking = len(waiting) + len(self._repeating) - self._opening_count
        for _ in range(min(lacking, self._limit - self.open_count - self._opening_count)):
            self._opening_count += 1
            task = self._loop.create_task(self._open())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _open(self) -> None:
        """Open a connection for whichever request is first in line by then; that one fails if it fails."""
        failure: ErrorKind | None = None
        connection = None
        try:
            async with asyncio.timeout(self._timeout):
                connection = await self._connect()
        except TimeoutError:
            pass  # the request it was opened for has run out of time by itself
        except OSError as error:
            failure = "connect"
            if error.errno in _OWN_LIMITS:
                self.own_limit = error.strerror or str(error)
        finally:
            self._opening_count -= 1
        if connection is not None and connection.closed:
            failure = "reset"  # accepted, and closed before anything could be sent
        elif connection is not None:
            self._adopt(connection)
            return
        if failure is not None and (exchange := self._next_in_line()) is not None:
            self._outcome.failed(exchange, failure)
        self._grow()

    async def _connect(self) -> Connection:
        name = self._target.host if self._tls else None
        _, connection = await self._loop.create_connection(
            self._connection, self._address, self._target.port, ssl=self._tls, server_hostname=name
        )
        return connection

    def _connection(self) -> Connection:
        return Connection(self, self._heads)

    def _adopt(self, connection: Connection) -> None:
        """Count a new connection in and put it to work."""
        self._connections.add(connection)
        self.open_count += 1
        self.peak = max(self.peak, self.open_count)
        exchange = self._next_in_line()
        if exchange is not None:
            connection.send(exchange)
        else:
            self._idle.append(connection)

    def _next_in_line(self) -> Exchange | None:
        """Take the next request that still wants an answer: first those that need a fresh connection."""
        for line in (self._repeating, self._waiting):
            while line:
                exchange = line.popleft()
                if exchange.open:
                    return exchange
        return None
