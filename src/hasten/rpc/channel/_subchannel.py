"""One address of a channel: connected, or trying to be."""

import asyncio
import math
import os
import socket
import ssl
import time
from collections.abc import Callable
from typing import Protocol

import grpc

from hasten.rpc._limits import Limits
from hasten.rpc.channel._backoff import Backoff
from hasten.rpc.channel._balancing import Endpoint
from hasten.rpc.channel._connection import ClientConnection
from hasten.rpc.channel._encoding import RequestEncoder
from hasten.rpc.channel._target import Address

Connectivity = grpc.ChannelConnectivity
_STABLE_SECONDS = 1.0
"""A connection that lived so long is replaced at once when it is lost, a shorter one after the backoff's pause; one
whose stream ids have run out at once too."""


class Owner(Protocol):
    """What a subchannel tells its channel."""

    def subchannel_changed(self, subchannel: "Subchannel") -> None:
        """Its state is another one."""


class Subchannel(Endpoint):
    """An endpoint with its connection; it stays connected once asked to, with growing pauses while that fails.

    Attributes:
      connection: Takes calls; None unless READY.
      state: Of gRPC's connectivity semantics. A lost connection leads to IDLE.
      failure: Why the last attempt failed.
    """

    __slots__ = (
        *(
            "_backoff",
            "_clock",
            "_connected_at",
            "_encoder",
            "_limits",
            "_loop",
            "_open",
            "_owner",
            "_server_name",
            "_task",
            "_tls",
        ),
        *("connection", "failure", "state"),
    )

    def __init__(
        self,
        address: Address,
        owner: Owner,
        loop: asyncio.AbstractEventLoop,
        limits: Limits,
        encoder: RequestEncoder,
        backoff: Backoff,
        *,
        tls: ssl.SSLContext | None,
        server_name: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # More than 8 parameters: all of them are one connection's ingredients, made by its channel alone.
        super().__init__(address)
        self.connection: ClientConnection | None = None
        self.state = Connectivity.IDLE
        self.failure = ""
        self._owner = owner
        self._loop = loop
        self._limits = limits
        self._encoder = encoder
        self._backoff = backoff
        self._tls = tls
        self._server_name = server_name
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._connected_at = -math.inf
        self._open: set[ClientConnection] = set()

    def connect(self) -> None:
        """Connect, unless that is done or under way."""
        if self.state is Connectivity.IDLE and self._task is None:
            self._task = self._loop.create_task(self._connect_until_ready())

    async def _connect_until_ready(self) -> None:
        """Try until a connection stands (gRPC's connection-backoff.md)."""
        while self.connection is None:
            pause = self._backoff.retry_at - self._clock()
            if pause > 0:
                await asyncio.sleep(pause)
            self._change(Connectivity.CONNECTING)
            patience = self._backoff.begin(self._clock())
            try:
                async with asyncio.timeout(patience):
                    connection = await self._connect()
            except (OSError, ValueError) as error:  # ValueError: a name that TLS cannot check
                self.failure = f"{self.address.label}: {_reason(error)}"
                self._change(Connectivity.TRANSIENT_FAILURE)
            else:
                self._task = None
                self._connected_at = self._clock()
                self.forget()
                self.failure = ""
                self.connection = connection
                self._change(Connectivity.READY)
                return

    async def _connect(self) -> ClientConnection:
        """Return a connection whose server's settings have come."""
        ready: asyncio.Future[None] = self._loop.create_future()
        connection = ClientConnection(self._loop, self._limits, self._encoder, _Watcher(self, ready))
        try:
            own = await self._dial()
            server_name = self._server_name if self._tls is not None else None
            await self._loop.create_connection(lambda: connection, sock=own, ssl=self._tls, server_hostname=server_name)
            self._open.add(connection)
            _check_protocol(connection)
            await ready
            if connection.closing:  # since: SETTINGS and GOAWAY may come together
                raise ConnectionError(connection.goaway_reason or "closed as soon as it stood")
        except BaseException:
            connection.abort()
            self._open.discard(connection)  # it may have gone before it was added
            raise
        return connection

    async def _dial(self) -> socket.socket:
        own = socket.socket(self.address.family, socket.SOCK_STREAM)
        try:
            own.setblocking(False)  # noqa: FBT003 - the standard library's
            await self._loop.sock_connect(own, self.address.sockaddr)
        except BaseException:
            own.close()
            raise
        return own

    def _change(self, state: grpc.ChannelConnectivity) -> None:
        if state is not self.state:
            self.state = state
            self.ready = state is Connectivity.READY
            self._owner.subchannel_changed(self)

    def lost(self, connection: ClientConnection) -> None:
        """Note that a connection takes no more calls."""
        if connection is self.connection:
            self.connection = None
            if connection.is_used_up or self._clock() - self._connected_at >= _STABLE_SECONDS:
                self._backoff.reset()
            self._change(Connectivity.IDLE)

    def gone(self, connection: ClientConnection) -> None:
        """Note that a connection is closed."""
        self._open.discard(connection)

    def connections(self) -> frozenset[ClientConnection]:
        """Return all connections that stand, also those that only finish their calls."""
        return frozenset(self._open)

    @property
    def closed_early(self) -> str:
        """What is said of a server that closes without a word; asyncio and grpc-core lose the alert that TLS has."""
        hint = ", as servers do that want another client certificate" if self._tls is not None else ""
        return f"connection closed before the server's settings came{hint}"

    def rest(self) -> None:
        """Be idle again: another address has been chosen. When the next attempt may begin stays as it is."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self.state = Connectivity.IDLE
        self.ready = False
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.retire()

    def shutdown(self) -> None:
        """Try no more, take no more calls; open ones go on, and their connection closes behind them."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self.state = Connectivity.SHUTDOWN
        self.ready = False
        self.connection = None
        for connection in list(self._open):
            connection.retire()


class _Watcher:
    """Passes on what one attempt's connection tells."""

    def __init__(self, subchannel: Subchannel, ready: "asyncio.Future[None]") -> None:
        self._subchannel = subchannel
        self._ready = ready

    def connection_ready(self, connection: ClientConnection) -> None:
        if not self._ready.done():
            self._ready.set_result(None)

    def connection_closing(self, connection: ClientConnection) -> None:
        if not self._ready.done():
            self._ready.set_exception(ConnectionError(connection.goaway_reason or self._subchannel.closed_early))
        self._subchannel.lost(connection)

    def connection_gone(self, connection: ClientConnection) -> None:
        self._subchannel.gone(connection)


def _check_protocol(connection: ClientConnection) -> None:
    """Refuse a TLS server that has not agreed on HTTP/2 (RFC 9113 section 3.2)."""
    tls = connection.get_extra_info("ssl_object")
    if isinstance(tls, ssl.SSLObject | ssl.SSLSocket) and tls.selected_alpn_protocol() != "h2":
        raise ConnectionError("the server does not speak HTTP/2 (ALPN)")


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no connection in time"
    if isinstance(error, OSError) and error.errno and not isinstance(error, ssl.SSLError):
        return os.strerror(error.errno)  # asyncio's own text names the address once more
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
