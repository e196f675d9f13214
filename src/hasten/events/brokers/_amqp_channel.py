"""A channel of a connection of AMQP 0-9-1: calls and their replies, in turn; the rest goes to its owner.

A channel that breaks a rule is closed by the broker, and no other with it: what may be refused is asked over one of
its own.
"""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from hasten.events._errors import BrokerError
from hasten.events.brokers import _amqp_methods as amqp
from hasten.events.brokers._amqp_frames import Sink, method_frame
from hasten.events.brokers._amqp_table import Garbled

if TYPE_CHECKING:
    from hasten.events.brokers._amqp_connection import Connection

REPLY_SUCCESS = 200
Reply = tuple[bytes, ...]
"""A method's kind and arguments; of one that brings a message, the payload of its header and its body too."""


class ConnectionLost(BrokerError):
    """Raised when the connection ended before the broker had answered; it is made again."""


class ChannelClosed(BrokerError):
    """Raised when the broker has closed a channel; its reason says why.

    Args:
      code: Of AMQP: 404 not found, 406 precondition failed.
      method: That was to blame, class and method.
    """

    def __init__(self, broker: str, reason: str, code: int = 0, method: tuple[int, int] = (0, 0)) -> None:
        super().__init__(broker, reason)
        self.code = code
        self.method = method

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.broker, self.reason, self.code, self.method)


class Owner(Protocol):
    """Who uses a channel."""

    def on_content(self, kind: bytes, arguments: bytes, header: bytes, body: bytes) -> None:
        """Take a message."""

    def on_confirm(self, tag: int, multiple: bool, accepted: bool) -> None:  # noqa: FBT001  called for each message
        """Take a publisher confirm."""

    def on_cancel(self) -> None:
        """Learn that the broker has ended a consumer: its queue is gone."""

    def on_channel_closed(self, error: ChannelClosed) -> None:
        """Learn that the broker has closed the channel; not called when the whole connection ends."""


class Channel(Sink):
    """A channel: calls and their replies, in turn; the rest goes to its owner.

    Attributes:
      number: Of it.
      connection: What it belongs to.
      error: Why it is closed; None while it is open.
    """

    def __init__(self, connection: "Connection", number: int, owner: Owner | None) -> None:
        self.number = number
        self.connection = connection
        self.error: BrokerError | None = None
        self._owner = owner
        self._waiting: deque[tuple[frozenset[bytes], asyncio.Future[Reply]]] = deque()
        self._leaving = False
        if owner is not None:
            # Straight to the owner: a call less for each message.
            self.on_content = owner.on_content  # type: ignore[method-assign]
            self.on_confirm = owner.on_confirm  # type: ignore[method-assign]

    # ---- calls

    async def call(self, payload: bytes, reply: amqp.Method) -> bytes:
        """Send a method, and return the arguments of its reply.

        Raises:
          ChannelClosed: the broker refuses.
          ConnectionLost: it went before it answered.
        Cancellation: the reply is awaited all the same, and thrown away.
        """
        return (await self.ask(payload, reply))[1]

    def ask(self, payload: bytes, *replies: amqp.Method) -> "asyncio.Future[Reply]":
        """Send a method, and answer with the reply."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        if self.error is not None:
            future.set_exception(self.error)
            return future
        self._waiting.append((frozenset(reply.kind for reply in replies), future))
        self.write(payload)
        return future

    def write(self, payload: bytes) -> None:
        """Send a method that has no reply."""
        self.connection.write(method_frame(self.number, payload))

    async def aclose(self) -> None:
        """Close it, and return when the broker has seen to all that was sent before."""
        if self.error is None and not self._leaving:
            self._leaving = True
            await self.call(_CLOSE_CHANNEL, amqp.CHANNEL_CLOSE_OK)

    def close_nowait(self) -> None:
        """Close it; its number is free again when the broker has answered."""
        if self.error is None and not self._leaving:
            self._leaving = True
            self.ask(_CLOSE_CHANNEL, amqp.CHANNEL_CLOSE_OK).add_done_callback(look_away)

    # ---- what comes

    def on_method(self, kind: bytes, arguments: bytes) -> None:
        if kind == amqp.CHANNEL_CLOSE.kind:
            self._on_close(*amqp.CHANNEL_CLOSE.read(arguments))
        elif kind == amqp.BASIC_CANCEL.kind:
            if self._owner is not None and not self._leaving:
                self._owner.on_cancel()
        elif kind == amqp.CHANNEL_FLOW.kind:  # RabbitMQ sends none
            self.write(amqp.CHANNEL_FLOW_OK(*amqp.CHANNEL_FLOW.read(arguments)))
        elif kind == amqp.CHANNEL_CLOSE_OK.kind and self._leaving:
            while self._waiting:
                self._answer(kind, arguments)
            self.end(self.error or ChannelClosed(self.connection.name, "the channel is closed"))
            self.connection.forget(self.number)
        elif self._waiting and kind in self._waiting[0][0]:
            self._answer(kind, arguments)
        elif not self._leaving:
            raise Garbled(f"the method {kind.hex()}, which nobody has asked for")

    def _answer(self, *reply: bytes) -> None:
        _, future = self._waiting.popleft()
        if not future.done():
            future.set_result(reply)

    def on_content(self, kind: bytes, arguments: bytes, header: bytes, body: bytes) -> None:
        if self._waiting and kind in self._waiting[0][0]:
            self._answer(kind, arguments, header, body)
        elif not self._leaving:
            raise Garbled("a message that nobody has asked for")

    def on_confirm(self, tag: int, multiple: bool, accepted: bool) -> None:  # noqa: FBT001  the sink's
        if not self._leaving:
            raise Garbled("a confirm that nobody has asked for")

    def _on_close(self, code: int, text: str, class_id: int, method_id: int) -> None:
        error = ChannelClosed(self.connection.name, f"{text} ({code})", code, (class_id, method_id))
        self.write(amqp.CHANNEL_CLOSE_OK())
        self.end(error)
        if not self._leaving:  # otherwise the answer to our own close is still to come
            self.connection.forget(self.number)
        if self._owner is not None and not self._leaving:
            self._owner.on_channel_closed(error)

    def end(self, error: BrokerError) -> None:
        """Answer all who wait with an error."""
        self.error = error
        for _, future in self._waiting:
            if not future.done():
                future.set_exception(error)
        self._waiting.clear()


_CLOSE_CHANNEL = amqp.CHANNEL_CLOSE(REPLY_SUCCESS, "", 0, 0)


def look_away(future: "asyncio.Future[Any]") -> None:
    """Take an error that nobody waits for."""
    if not future.cancelled():
        future.exception()
