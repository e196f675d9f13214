"""Somebody who hears all messages of a topic while he is there: an exclusive queue, which goes with its connection.

Nothing is acknowledged, so nothing comes twice; what is published while the connection is away is missed. Each opening
has a queue of a name of its own: the broker may keep the last one for as long as it believes in the lost connection.
"""

import logging
import secrets
from collections.abc import Callable
from contextlib import suppress

from hasten.events._broker import Listening
from hasten.events._envelope import Envelope
from hasten.events._errors import BrokerError
from hasten.events.brokers import _amqp_methods as amqp
from hasten.events.brokers._amqp_channel import Channel, ChannelClosed, Owner
from hasten.events.brokers._amqp_connection import Connection
from hasten.events.brokers._amqp_envelope import MessageReader
from hasten.events.brokers._amqp_link import Link
from hasten.events.brokers._amqp_renewal import Renewal
from hasten.events.brokers._amqp_table import Garbled
from hasten.events.brokers._amqp_topology import declare_listening

_CONSUMER = "hasten"  # of a channel of its own
_logger = logging.getLogger("hasten.events")


class RabbitListener(Listening, Owner):
    """A listener.

    Args:
      link: Of the consuming side.
      exchange: The broker's.
      left: Called when it is closed.
    Attributes:
      queue: The name of its present queue.
    """

    def __init__(
        self,
        topic: str,
        receive: Callable[[Envelope], None],
        missed: Callable[[], None],
        *,
        link: Link,
        exchange: str,
        left: "Callable[[RabbitListener], None]",
    ) -> None:
        self.queue = ""
        self._topic = topic
        self._receive = receive
        self._missed = missed
        self._exchange = exchange
        self._left = left
        self._read = MessageReader(topic)
        self._renewal = Renewal(link, self.open)
        self._channel: Channel | None = None
        self._opened = False  # once: from then on it is mended here
        self._closed = False

    async def open(self, connection: Connection) -> None:
        """Hear what is published from now on.

        Raises:
          BrokerError: the broker refuses.
        """
        self.queue = queue = f"{self._exchange}:{self._topic}:listening:{secrets.token_hex(8)}"
        self.lose()
        await declare_listening(connection, self._exchange, self._topic, queue)
        if self._opened:
            self._missed()  # what was published until now; nothing of what is in the new queue has been received
        channel = await connection.channel(self)
        try:
            self._channel = channel
            payload = amqp.BASIC_CONSUME(0, queue, _CONSUMER, False, True, True, False, {})  # noqa: FBT003  no acks
            await channel.call(payload, amqp.BASIC_CONSUME_OK)
            if self._channel is not channel:  # closed, or cancelled, in the same read in which it was granted
                raise channel.error or BrokerError(connection.name, f"the consumer of {queue} was cancelled")
            self._opened = True
        except BaseException:
            self.lose()
            channel.close_nowait()
            raise

    def renew(self) -> None:
        """Hear again, as soon as it can be done."""
        self.lose()
        if self._opened and not self._closed:
            self._renewal.begin()

    def lose(self) -> None:
        """Hear no more of the channel so far."""
        self._channel = None

    # ---- what the broker says

    def on_content(self, kind: bytes, arguments: bytes, header: bytes, body: bytes) -> None:
        """Take a message."""
        if kind != amqp.BASIC_DELIVER.kind:
            raise Garbled("what is no delivery, to a listener")
        if not self._closed:
            self._receive(self._read(header, body)[0])

    def on_confirm(self, tag: int, multiple: bool, accepted: bool) -> None:  # noqa: FBT001  the contract's
        """Publish nothing here."""
        raise Garbled("a confirm to a listener")

    def on_cancel(self) -> None:
        """Hear again: the queue was deleted."""
        _logger.warning("%s: the listener was cancelled", self._topic)
        if self._channel is not None:
            self._channel.close_nowait()
        self.renew()

    def on_channel_closed(self, error: ChannelClosed) -> None:
        """Hear again over a new channel."""
        _logger.warning("%s", error)
        self.renew()

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._renewal.end()
        self._left(self)
        channel = self._channel
        self.lose()
        if channel is not None:
            with suppress(BrokerError):  # lost: its queue is gone as well
                await channel.aclose()
