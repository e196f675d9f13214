"""The deliveries of one subscription: a channel of its own, whose loss is mended, and acknowledgements in batches.

A message costs 20 to 29 µs of CPU from its bytes to its acknowledgement, where aio-pika takes 300 to 340 in the same
run. Settlements of one pass of the loop are told together, as "all up to this one" where they can.

Each channel numbers its deliveries from 1. Here a delivery's tag has the number of the channel above it, so that what
came over a channel that is lost is not known any more, and settling it does nothing.
"""

import asyncio
import logging
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from hasten.events._broker import Delivery, Intake, Receive, Subscription
from hasten.events._errors import BrokerError
from hasten.events.brokers import _amqp_methods as amqp
from hasten.events.brokers._amqp_channel import Channel, ChannelClosed, Owner
from hasten.events.brokers._amqp_connection import Connection
from hasten.events.brokers._amqp_copies import Copies
from hasten.events.brokers._amqp_envelope import MessageReader
from hasten.events.brokers._amqp_frames import method_frame
from hasten.events.brokers._amqp_link import Link
from hasten.events.brokers._amqp_renewal import Renewal
from hasten.events.brokers._amqp_table import Garbled
from hasten.events.brokers._amqp_topology import declare_group, group_queue

if TYPE_CHECKING:
    from collections.abc import Callable

_CHANNEL_BITS = 48
_TAG = (1 << _CHANNEL_BITS) - 1
_MOST_PREFETCH = 2**16 - 1  # the protocol's
_BEFORE_TAG = 11  # bytes of an acknowledgement's frame before its tag
_TAG_OF_DELIVERY = struct.Struct(">Q").unpack_from
_PATIENCE = 1.0
"""Seconds at least until a message comes again whose copy the broker has not taken."""
_logger = logging.getLogger("hasten.events")


class RabbitIntake(Intake, Owner):
    """One consumer.

    Args:
      link: Of the consuming side.
      copies: Stores messages anew, for a retry or as dead letters.
      exchange: The broker's.
      receive: Gets the deliveries.
      left: Called when it is closed.
    """

    def __init__(
        self,
        subscription: Subscription,
        receive: Receive,
        *,
        link: Link,
        copies: Copies,
        exchange: str,
        left: "Callable[[RabbitIntake], None]",
    ) -> None:
        self.subscription = subscription
        self._receive = receive
        self._copies = copies
        self._exchange = exchange
        self._left = left
        self._read = MessageReader(subscription.topic)
        self._channel: Channel | None = None
        self._ack_head = b""
        self._base = 0  # the number of the channel, above the tags of its deliveries
        self._unsettled: dict[int, None] = {}  # tags, in the order of their delivery
        self._accepted: list[int] = []  # to be told to the broker
        self._renewal = Renewal(link, self.open)
        self._later: dict[int, asyncio.TimerHandle] = {}  # messages that are given back after a while
        self._opened = False  # once: from then on it is mended here
        self._stopped = False
        self._closed = False

    # ---- consuming

    async def open(self, connection: Connection) -> None:
        """Have the group, and consume from its queue.

        Raises:
          BrokerError: the broker refuses.
        """
        subscription = self.subscription
        await declare_group(connection, self._exchange, subscription)
        self.lose()
        channel = await connection.channel(self)
        try:
            self._channel = channel
            self._ack_head = method_frame(channel.number, amqp.BASIC_ACK(0, False))[:_BEFORE_TAG]  # noqa: FBT003
            prefetch = min(subscription.prefetch, _MOST_PREFETCH)
            await channel.call(amqp.BASIC_QOS(0, prefetch, False), amqp.BASIC_QOS_OK)  # noqa: FBT003  not the channel
            queue = group_queue(self._exchange, subscription.topic, subscription.group)
            payload = amqp.BASIC_CONSUME(0, queue, _CONSUMER, False, False, False, False, {})  # noqa: FBT003
            await channel.call(payload, amqp.BASIC_CONSUME_OK)
            if self._channel is not channel:  # closed, or cancelled, in the same read in which it was granted
                raise channel.error or BrokerError(channel.connection.name, f"the consumer of {queue} was cancelled")
            self._opened = True
        except BaseException:
            self.lose()
            channel.close_nowait()
            raise

    def renew(self) -> None:
        """Consume again, as soon as it can be done."""
        self.lose()
        if self._opened and not self._stopped:
            self._renewal.begin()

    def lose(self) -> None:
        """Know nothing of what came over the channel so far."""
        self._channel = None
        self._base += 1 << _CHANNEL_BITS
        self._unsettled.clear()
        self._accepted.clear()
        for handle in self._later.values():
            handle.cancel()
        self._later.clear()

    # ---- what the broker says

    def on_content(self, kind: bytes, arguments: bytes, header: bytes, body: bytes) -> None:
        """Take a delivery."""
        behind = 1 + arguments[0]
        if kind != _DELIVER or len(arguments) < behind + 8:
            raise Garbled("what is no delivery, to a consumer")
        tag = self._base | _TAG_OF_DELIVERY(arguments, behind)[0]
        self._unsettled[tag] = None
        if self._stopped:
            if not self.subscription.ordered:
                self._give_back(tag)
            return
        envelope, returned = self._read(header, body)
        self._receive(Delivery(envelope, returned, tag))

    def on_confirm(self, tag: int, multiple: bool, accepted: bool) -> None:  # noqa: FBT001  the contract's
        """Publish nothing here."""
        raise Garbled("a confirm to a consumer")

    def on_cancel(self) -> None:
        """Consume again: the queue was deleted, or its node has left the cluster."""
        _logger.warning("%s: the consumer of %s was cancelled", self.subscription.topic, self.subscription.group)
        if self._channel is not None:
            self._channel.close_nowait()
        self.renew()

    def on_channel_closed(self, error: ChannelClosed) -> None:
        """Consume again over a new channel."""
        _logger.warning("%s", error)
        self.renew()

    # ---- settling

    def accept(self, delivery: Delivery) -> None:
        tag = delivery.tag
        if tag not in self._unsettled:
            return
        del self._unsettled[tag]
        if not self._accepted and self._channel is not None:
            self._channel.connection.before_flush(self._settlements)
        self._accepted.append(tag)

    def _settlements(self) -> bytes:
        """Return the acknowledgements of what was accepted, as few as will do."""
        if self._channel is None or not self._accepted:
            return b""
        head, accepted = self._ack_head, self._accepted
        self._accepted = []
        if len(accepted) == 1:
            return head + (accepted[0] & _TAG).to_bytes(8, "big") + _ALONE
        # All up to the newest of those that are older than what is not settled yet; the others one by one.
        oldest = next(iter(self._unsettled), self._base + (1 << _CHANNEL_BITS))
        older = max((tag for tag in accepted if tag < oldest), default=0)
        frames = [head + (tag & _TAG).to_bytes(8, "big") + _ALONE for tag in accepted if tag > older]
        if older:
            frames.append(head + (older & _TAG).to_bytes(8, "big") + _ALL_BEFORE)
        return b"".join(frames)

    async def retry(self, delivery: Delivery, seconds: float, *, attempt: int, reason: str) -> None:
        envelope = msgspec.structs.replace(delivery.envelope, attempt=attempt)
        try:
            await self._copies.retry(self.subscription, envelope, seconds)
        except BrokerError:
            self._give_back_after(delivery, seconds)
            raise
        self.accept(delivery)

    async def bury(self, delivery: Delivery, reason: str) -> None:
        envelope = msgspec.structs.replace(delivery.envelope, reason=reason)
        try:
            await self._copies.bury(self.subscription, envelope)
        except BrokerError:
            self._give_back_after(delivery, _PATIENCE)
            raise
        self.accept(delivery)

    def _give_back_after(self, delivery: Delivery, seconds: float) -> None:
        """Have a message delivered again that could be settled in no other way; not at once, or it would spin."""
        tag = delivery.tag
        if tag in self._unsettled:
            loop = asyncio.get_running_loop()
            self._later[tag] = loop.call_later(max(_PATIENCE, seconds), self._give_back, tag)

    def _give_back(self, tag: int) -> None:
        self._later.pop(tag, None)
        if self._channel is not None and tag in self._unsettled:
            del self._unsettled[tag]
            self._channel.write(amqp.BASIC_NACK(tag & _TAG, False, True))  # noqa: FBT003  this one, requeue

    # ---- leaving

    async def stop(self) -> None:
        """Ask for no more.

        The consumer of an ordered group stays the one of its queue until it is closed: another one would get the
        messages behind those that are still handled here.
        """
        self._stopped = True
        self._renewal.end()
        if self._channel is None or self.subscription.ordered:
            return
        with suppress(BrokerError):  # then nothing comes any more
            await self._channel.call(amqp.BASIC_CANCEL(_CONSUMER, False), amqp.BASIC_CANCEL_OK)  # noqa: FBT003

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = self._stopped = True
        self._renewal.end()
        self._left(self)
        channel = self._channel
        if channel is not None:
            channel.connection.flush()
            with suppress(BrokerError):  # lost: what it did not hear of is delivered again
                await channel.aclose()
        self.lose()


_CONSUMER = "hasten"  # of a channel of its own
_DELIVER = amqp.BASIC_DELIVER.kind
_ALONE, _ALL_BEFORE = b"\0\xce", b"\1\xce"
