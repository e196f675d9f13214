"""Messages that are stored anew: those that wait for a retry or were published with a delay, and dead letters.

Each copy is confirmed by the broker before the caller goes on, so that nothing is lost between the two.
"""

import asyncio
import math
import time
from typing import Any

from hasten.events._broker import Subscription
from hasten.events._envelope import Envelope
from hasten.events._errors import BrokerError, PublishTimeout
from hasten.events.brokers._amqp_envelope import Route
from hasten.events.brokers._amqp_link import Link
from hasten.events.brokers._amqp_publisher import CHANNEL, Publisher
from hasten.events.brokers._amqp_table import short_text
from hasten.events.brokers._amqp_topology import (
    LONGEST_DELAY,
    Declared,
    NoQueue,
    Waiting,
    dead_arguments,
    dead_queue,
    delayed_of,
    group_queue,
    retries_of,
)

COPY_SECONDS = 10.0
"""Until a copy must be confirmed; the message it is made of is delivered again otherwise."""


class Copies:
    """Stores messages in queues, which are declared when they are needed.

    Args:
      link: Of the publishing side.
      exchange: The broker's.
    """

    def __init__(self, name: str, link: Link, publisher: Publisher, exchange: str) -> None:
        self._name = name
        self._link = link
        self._publisher = publisher
        self._exchange = exchange
        self._declared = Declared()

    def forget(self) -> None:
        """Declare all anew: the broker may be another one."""
        self._declared.forget()

    async def retry(self, subscription: Subscription, envelope: Envelope, seconds: float) -> None:
        """Have a message delivered to its group after a while.

        It returns when the copy is as safe as the message it is made of: YOUNG_SECONDS later if its queue is new.

        Raises:
          BrokerError: the broker has not taken it.
        """
        topic, group = subscription.topic, subscription.group
        if seconds <= 0.0:
            await self.put(group_queue(self._exchange, topic, group), envelope)
            return
        deadline = time.monotonic() + COPY_SECONDS
        waiting = retries_of(self._exchange, topic, group)
        old_at = await self._wait(waiting, envelope, min(seconds, LONGEST_DELAY), deadline)
        if (young := old_at - time.monotonic()) > 0.0:
            await asyncio.sleep(young)

    async def delay(self, envelope: Envelope, seconds: float, deadline: float) -> None:
        """Publish a message after a while.

        It does not wait until a new queue is old: a message in it may be lost if the broker is killed just then.

        Raises:
          BrokerError: the broker has not taken it.
        """
        if seconds > LONGEST_DELAY:
            raise BrokerError(self._name, f"delay={seconds:g}: must be at most {LONGEST_DELAY:g} seconds")
        await self._wait(delayed_of(self._exchange, envelope.topic), envelope, seconds, deadline)

    async def bury(self, subscription: Subscription, envelope: Envelope) -> None:
        """Put a message among its group's dead letters.

        Raises:
          BrokerError: the broker has not taken it.
        """
        queue = dead_queue(self._exchange, subscription.topic, subscription.group)
        await self._store(queue, dead_arguments(), envelope, time.monotonic() + COPY_SECONDS)

    async def put(self, queue: str, envelope: Envelope) -> None:
        """Put a message into a queue that is there.

        Raises:
          BrokerError: the broker has not taken it.
        """
        await self._publish(queue, envelope, time.monotonic() + COPY_SECONDS)

    async def _wait(self, waiting: Waiting, envelope: Envelope, seconds: float, deadline: float) -> float:
        milliseconds = max(1, math.ceil(seconds * 1000))
        queue, arguments = waiting.queue(milliseconds, time.time())
        return await self._store(queue, arguments, envelope, deadline, short_text(str(milliseconds)))

    async def _store(
        self, queue: str, arguments: dict[str, Any], envelope: Envelope, deadline: float, expiration: bytes = b""
    ) -> float:
        """Put a message into a queue, which is declared if it is not there, or not any more; return when it is old."""
        for _ in range(2):
            old_at = await self._have(queue, arguments, deadline)
            try:
                await self._publish(queue, envelope, deadline, expiration)
            except NoQueue:
                self._declared.forget(queue)
            else:
                return old_at
        raise BrokerError(self._name, f"the queue {queue} goes as soon as it is declared")

    async def _have(self, queue: str, arguments: dict[str, Any], deadline: float) -> float:
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await self._declared.have(await self._link.get(), queue, arguments)
        except TimeoutError as error:
            if isinstance(error, BrokerError):
                raise
            raise PublishTimeout(self._name, f"the queue {queue} was not declared in time") from error

    async def _publish(self, queue: str, envelope: Envelope, deadline: float, expiration: bytes = b"") -> None:
        def missing() -> BrokerError:
            return NoQueue(self._name, f"there is no queue {queue}")

        route = Route(CHANNEL, "", queue, envelope.topic, missing)
        await self._publisher.publish(envelope, route, deadline=deadline, expiration=expiration)
