"""One connection of AMQP 0-9-1, and its channels, from the handshake to the close.

    Reader ──> Channel 0: the connection's own methods
           ──> Channel n: replies to calls; messages and confirms go straight to its owner

What is written in one pass of the loop is sent together. A peer that breaks the protocol, or that is silent for two
heartbeats, is left at once: `closed` says why, and every call that waits for a reply ends with it.

Source: AMQP 0-9-1 sections 2.2.4 (handshake), 4.2.7 (heartbeats), 4.10 (errors); RabbitMQ: connection.blocked.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol, cast

from hasten.events._errors import BrokerError, BrokerUnavailable
from hasten.events.brokers import _amqp_methods as amqp
from hasten.events.brokers._amqp_channel import REPLY_SUCCESS, Channel, ConnectionLost, Owner, look_away
from hasten.events.brokers._amqp_frames import HEARTBEAT_FRAME, PROTOCOL_HEADER, Reader, Sink, method_frame
from hasten.events.brokers._amqp_table import Garbled
from hasten.events.brokers._amqp_url import Place

CONNECT_SECONDS = 5.0
"""To connect to one host, with the handshake."""
CLOSE_SECONDS = 2.0
"""Until the server has answered that we go; then we go anyway."""
FRAME_MAX = 2**17
"""Bytes of a frame at most: what RabbitMQ offers by default."""
HIGH_WATER = 2**18
"""Bytes that wait for the socket; who publishes waits then."""
_FRAME_ERROR = 501
_PROPERTIES = {
    "product": "hasten",
    "platform": "Python",
    "capabilities": {
        "authentication_failure_close": True,
        "basic.nack": True,
        "connection.blocked": True,
        "consumer_cancel_notify": True,
        "publisher_confirms": True,
    },
}


class Flow(Protocol):
    """Who publishes over a connection."""

    def on_flow(self) -> None:
        """Look again whether there is room: `connection.has_room()` has changed."""


class Connection(asyncio.Protocol):
    """A connection that is open, or was.

    Attributes:
      name: The broker's, for messages.
      closed: Done with the reason when the connection is over.
      blocked: Why the broker takes no messages now: short of memory or disk; empty when it does.
      frame_max: Bytes of a frame, as agreed.
      flow: Told when there is room again, or none any more.
    """

    def __init__(self, place: Place) -> None:
        self.name = place.name
        self.blocked = ""
        self.frame_max = FRAME_MAX
        self.flow: Flow | None = None
        self._place = place
        self._loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = self._loop.create_future()
        self.opened.add_done_callback(look_away)
        self.closed: asyncio.Future[str] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._reader = Reader()
        self._reader.sinks[0] = _Control(self)
        self._channels: dict[int, Channel] = {}
        self._channel_max = 2047
        self._next_number = 2  # 1 is asked for by its number
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self._before_flush: list[Callable[[], bytes]] = []
        self._size = 0
        self._is_due = False
        self._is_full = False
        self._heard = self._said = True
        self._silent = 0
        self._tick: asyncio.TimerHandle | None = None
        self._reason = ""

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        self._transport.set_write_buffer_limits(HIGH_WATER)
        self._transport.write(PROTOCOL_HEADER)

    def data_received(self, data: bytes) -> None:
        self._heard = True
        try:
            self._reader.feed(data)
        except Garbled as error:
            self._refuse(str(error))

    def _refuse(self, problem: str) -> None:
        """Leave a peer that breaks the protocol."""
        if self._transport is not None and not self._transport.is_closing():
            text = f"FRAME_ERROR - {problem}".encode()[:255]
            self._transport.write(method_frame(0, amqp.CONNECTION_CLOSE(_FRAME_ERROR, text, 0, 0)))
        self.abort(f"the server broke the protocol: {problem}")

    def connection_lost(self, error: Exception | None) -> None:
        if self._tick is not None:
            self._tick.cancel()
        self._finish(self._reason or (f"the connection was lost: {error}" if error else "the server hung up"))
        if not self._ended.done():
            self._ended.set_result(None)

    def _finish(self, reason: str) -> None:
        """Let all who wait know that the connection is over."""
        if self.closed.done():
            return
        self.closed.set_result(reason)
        if not self.opened.done():
            self.opened.set_exception(BrokerUnavailable(self.name, reason))
        lost = ConnectionLost(self.name, reason)
        for channel in self._channels.values():
            channel.end(lost)
        self._channels.clear()
        self._out.clear()

    def pause_writing(self) -> None:
        self._is_full = True
        self._tell_flow()

    def resume_writing(self) -> None:
        self._is_full = False
        self._tell_flow()

    def _tell_flow(self) -> None:
        if self.flow is not None and not self.closed.done():
            self.flow.on_flow()

    def has_room(self) -> bool:
        """Whether messages may be published now."""
        return not (self._is_full or self.blocked)

    # ---- writing

    def write(self, frames: bytes) -> None:
        """Send frames at the end of this pass of the loop."""
        self._out.append(frames)
        self._size += len(frames)
        if self._size > HIGH_WATER:
            self.flush()  # which learns whether the socket takes it
        elif not self._is_due:
            self._is_due = True
            self._loop.call_soon(self.flush)

    def before_flush(self, frames: Callable[[], bytes]) -> None:
        """Have frames made when this pass's are sent, once."""
        self._before_flush.append(frames)
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        self._is_due = False
        self._size = 0
        if self._transport is None or self.closed.done() or self._transport.is_closing():
            self._before_flush.clear()
            self._out.clear()
            return
        if self._before_flush:
            self._out += [frames() for frames in self._before_flush]
            self._before_flush.clear()
        data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        self._out.clear()
        if data:
            self._said = True
            self._transport.write(data)

    # ---- opening

    def on_start(self, mechanisms: bytes) -> None:
        """Say who we are."""
        if b"PLAIN" not in mechanisms.split():
            self.abort(f"the server takes none but {mechanisms.decode(errors='replace')} for passwords; we have PLAIN")
            return
        login = b"\0" + self._place.user.encode() + b"\0" + self._place.password.encode()
        self.write(method_frame(0, amqp.CONNECTION_START_OK(_PROPERTIES, "PLAIN", login, "en_US")))

    def on_tune(self, channel_max: int, frame_max: int, heartbeat: int) -> None:
        """Agree on limits, and ask for the vhost."""
        self.frame_max = min(frame_max or FRAME_MAX, FRAME_MAX)
        self._channel_max = channel_max or 65535
        if self.frame_max < 4096:
            raise Garbled(f"frames of {frame_max} bytes at most, where AMQP wants 4096")
        seconds = min(self._place.heartbeat, heartbeat or self._place.heartbeat)
        self._reader.most = self.frame_max
        self.write(method_frame(0, amqp.CONNECTION_TUNE_OK(self._channel_max, self.frame_max, int(seconds))))
        self.write(method_frame(0, amqp.CONNECTION_OPEN(self._place.vhost, "", False)))  # noqa: FBT003  reserved
        self._beat(seconds / 2)

    def on_open(self) -> None:
        """Be open."""
        if not self.opened.done():
            self.opened.set_result(None)

    def _beat(self, every: float) -> None:
        """Show signs of life when nothing else does, and look for the peer's: four beats without are the end.

        Beats are counted, not seconds: when this process itself was stopped, what came meanwhile is read before.
        """
        self._silent = 0 if self._heard else self._silent + 1
        self._heard = False
        if self._silent >= 4:
            self.abort(f"the server was silent for {4 * every:g} s")
            return
        if not self._said and self._transport is not None:
            self._transport.write(HEARTBEAT_FRAME)
        self._said = False
        self._tick = self._loop.call_later(every, self._beat, every)

    # ---- channels

    async def channel(self, owner: Owner | None = None, number: int = 0) -> "Channel":
        """Return a new channel.

        Args:
          number: That it must have; any without one.
        Raises:
          BrokerError: the server allows no more, or the connection ends.
        """
        if self.closed.done():
            raise ConnectionLost(self.name, self.closed.result())
        number = number or self._free_number()
        channel = self._channels[number] = Channel(self, number, owner)
        self._reader.sinks[number] = channel
        await channel.call(amqp.CHANNEL_OPEN(""), amqp.CHANNEL_OPEN_OK)
        return channel

    def _free_number(self) -> int:
        """Return a number that no channel has; each in turn, so that what comes late for an old one finds none."""
        for _ in range(self._channel_max):
            number, self._next_number = self._next_number, self._next_number % self._channel_max + 1
            if number not in self._reader.sinks:
                return number
        raise BrokerError(self.name, f"all {self._channel_max} channels are in use")

    @asynccontextmanager
    async def temporary(self, owner: Owner | None = None) -> "AsyncIterator[Channel]":
        """Give a channel for a block: an error of AMQP's closes it, and harms no other."""
        channel = await self.channel(owner)
        try:
            yield channel
        finally:
            channel.close_nowait()

    def forget(self, number: int) -> None:
        """Have no such channel any more."""
        self._channels.pop(number, None)
        self._reader.forget(number)

    # ---- closing

    def on_blocked(self, reason: str) -> None:
        """Publish nothing until the broker has memory again."""
        self.blocked = reason or "for an unknown reason"
        self._tell_flow()

    def on_unblocked(self) -> None:
        """Go on publishing."""
        self.blocked = ""
        self._tell_flow()

    def on_close(self, code: int, text: str) -> None:
        """Leave, because the server says so."""
        self._reason = f"the server closed the connection: {text} ({code})"
        if self._transport is not None:
            self._transport.write(method_frame(0, amqp.CONNECTION_CLOSE_OK()))
            self._transport.close()
        self._finish(self._reason)

    def on_close_ok(self) -> None:
        """Leave, because the server knows that we do."""
        if self._transport is not None:
            self._transport.close()

    def abort(self, reason: str) -> None:
        """Leave at once."""
        self._reason = self._reason or reason
        if self._transport is not None:
            self._transport.abort()
        self._finish(self._reason)

    async def aclose(self) -> None:
        """Send what is to be sent, tell the server, and wait until it knows, for CLOSE_SECONDS at most."""
        if self._transport is None:
            return
        if not self.closed.done():
            self.flush()
            self._reason = "closed"
            self.write(method_frame(0, amqp.CONNECTION_CLOSE(REPLY_SUCCESS, "", 0, 0)))
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await asyncio.shield(self._ended)
        except TimeoutError:
            pass
        finally:
            self._transport.abort()
            self._finish("closed")


class _Control(Sink):
    """Channel 0: what the server says of the connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def on_method(self, kind: bytes, arguments: bytes) -> None:
        connection = self._connection
        if kind == amqp.CONNECTION_START.kind:
            connection.on_start(amqp.CONNECTION_START.read(arguments)[3])
        elif kind == amqp.CONNECTION_TUNE.kind:
            connection.on_tune(*amqp.CONNECTION_TUNE.read(arguments))
        elif kind == amqp.CONNECTION_OPEN_OK.kind:
            connection.on_open()
        elif kind == amqp.CONNECTION_BLOCKED.kind:
            connection.on_blocked(*amqp.CONNECTION_BLOCKED.read(arguments))
        elif kind == amqp.CONNECTION_UNBLOCKED.kind:
            connection.on_unblocked()
        elif kind == amqp.CONNECTION_CLOSE.kind:
            code, text, _, _ = amqp.CONNECTION_CLOSE.read(arguments)
            connection.on_close(code, text)
        elif kind == amqp.CONNECTION_CLOSE_OK.kind:
            connection.on_close_ok()
        else:
            raise Garbled(f"the method {kind.hex()} for the whole connection")

    def on_content(self, kind: bytes, arguments: bytes, header: bytes, body: bytes) -> None:
        raise Garbled("a message on channel 0")

    def on_confirm(self, tag: int, multiple: bool, accepted: bool) -> None:  # noqa: FBT001  the sink's
        raise Garbled("a confirm on channel 0")


async def connect(place: Place, host: str, port: int) -> Connection:
    """Return an open connection to one host, within CONNECT_SECONDS.

    Raises:
      BrokerUnavailable: it does not answer, or refuses us.
    """
    connection: Connection | None = None
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            name = host if place.tls is not None else None
            _, connection = await loop.create_connection(
                lambda: Connection(place), host, port, ssl=place.tls, server_hostname=name
            )
            await asyncio.shield(connection.opened)
    except TimeoutError as error:
        raise BrokerUnavailable(place.name, f"{host}:{port} did not answer in {CONNECT_SECONDS:g} s") from error
    except OSError as error:
        raise BrokerUnavailable(place.name, f"{host}:{port}: {error.strerror or error}") from error
    finally:
        if connection is not None and (not connection.opened.done() or connection.opened.exception() is not None):
            connection.abort("it was never open")
    return connection
