"""The queues of a broker, by name and arguments, and their declaration.

Why quorum queues for what waits: a message whose time is over is moved by the broker to its group's queue. A classic
queue does that "at most once": it drops its copy before the other queue has one, so a broker that is killed in between
has lost it. A quorum queue with `x-dead-letter-strategy=at-least-once` (RabbitMQ 3.10) keeps it until the other queue
has confirmed; that wants `x-overflow=reject-publish`. A message that nobody can take (its group's queue was deleted)
stays, and the broker moves 32 at once: so each group has waiting queues of its own, and never stops another's.

Why they have a week in their names: a queue with `x-expires` goes when nobody has used it for so long, whatever is in
it, and for a quorum queue neither publishing nor declaring it again is use. In the next week others are used, and these
go two weeks after the last message has left them.

Why classes: a queue looks at its first message alone, so one that waits for a second must not stand behind one that
waits for an hour. Each message has its exact time; the class is what it waits for at most, if one before it in the
queue is longer: up to twice its pause for a retry, up to a fifth longer for what is published with a delay.

Source: rabbitmq.com/docs/quorum-queues, /docs/dlx, /docs/ttl; rabbit_fifo.erl (last_active).
"""

import asyncio
import math
import time
from typing import Any

from hasten.events._broker import Subscription
from hasten.events._errors import BrokerError
from hasten.events.brokers import _amqp_methods as amqp
from hasten.events.brokers._amqp_channel import ChannelClosed
from hasten.events.brokers._amqp_connection import Connection

LONGEST_DELAY = 28 * 86400.0
"""Seconds; a queue's x-expires has 32 bits of milliseconds, and is three weeks longer."""
YOUNG_SECONDS = 2.0
"""A quorum queue of one node that is killed is lost while it is younger, with what is in it.

RabbitMQ 3.10 writes the list of its Raft members to disk a while later, 1.0 s by measurement; a queue that is not in it
is there after the restart, but takes nothing and gives nothing until somebody deletes it.
"""
_WEEK = 7 * 86400
_SHORTEST_CLASS = 16  # milliseconds; shorter ones would be many queues for little
_QUORUM = {"x-queue-type": "quorum"}
_NO_LIMIT = 10**9  # RabbitMQ 4 drops what came back 20 times, unless it is told otherwise; 3.10 knows no -1


class NoQueue(BrokerError):
    """Raised when a queue is not there."""


def group_queue(exchange: str, topic: str, group: str) -> str:
    """Return the name of a group's queue; ':' is in no name, so that no two groups share one."""
    return f"{exchange}:{topic}:{group}"


def dead_queue(exchange: str, topic: str, group: str) -> str:
    """Return the name of the queue of a group's dead letters."""
    return f"{exchange}:{topic}:{group}:dead"


class Waiting:
    """Queues whose messages wait, and go to one place then.

    Args:
      name: What the names of the queues begin with.
      exchange, key: Where the messages go.
      steps: Classes from one time to its double.
    """

    def __init__(self, name: str, exchange: str, key: str, *, steps: int) -> None:
        self._name = name
        self._target = {"x-dead-letter-exchange": exchange, "x-dead-letter-routing-key": key}
        self._steps = steps

    def queue(self, milliseconds: int, now: float) -> tuple[str, dict[str, Any]]:
        """Return name and arguments of the queue for messages that wait so long.

        Args:
          now: By `time.time()`.
        """
        step = math.ceil(self._steps * math.log2(max(_SHORTEST_CLASS, milliseconds)))
        longest = min(math.ceil(2 ** (step / self._steps)), int(LONGEST_DELAY) * 1000)
        arguments = {
            **_QUORUM,
            **self._target,
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
            "x-message-ttl": longest,
            "x-expires": longest + 3 * _WEEK * 1000,
        }
        return f"{self._name}:{longest}ms:{int(now // _WEEK)}", arguments


def retries_of(exchange: str, topic: str, group: str) -> Waiting:
    """Return the queues in which a group's messages wait for their next attempt."""
    queue = group_queue(exchange, topic, group)
    return Waiting(f"{queue}:retry", "", queue, steps=1)


def delayed_of(exchange: str, topic: str) -> Waiting:
    """Return the queues in which a topic's messages wait that were published with a delay."""
    return Waiting(f"{exchange}:{topic}:delay", exchange, topic, steps=4)


def group_arguments(exchange: str, subscription: Subscription) -> dict[str, Any]:
    """Return the arguments of a group's queue.

    What the broker itself takes out of it (by a policy, or by its limit of deliveries) becomes a dead letter.
    """
    arguments: dict[str, Any] = {
        **_QUORUM,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": dead_queue(exchange, subscription.topic, subscription.group),
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    if subscription.ordered:
        arguments["x-single-active-consumer"] = True
    return arguments


def dead_arguments() -> dict[str, Any]:
    """Return the arguments of a queue of dead letters; operators may look at them as often as they like."""
    return {**_QUORUM, "x-delivery-limit": _NO_LIMIT}


# ---- declaring


async def declare_exchange(connection: Connection, exchange: str) -> None:
    """Have the exchange that messages are published to.

    Raises:
      BrokerError: the broker refuses.
    """
    async with connection.temporary() as channel:
        payload = amqp.EXCHANGE_DECLARE(0, exchange, "topic", False, True, False, False, False, {})  # noqa: FBT003
        await channel.call(payload, amqp.EXCHANGE_DECLARE_OK)


async def declare_queue(connection: Connection, queue: str, arguments: dict[str, Any]) -> None:
    """Have a durable queue.

    Raises:
      BrokerError: the broker refuses: it is there with other arguments.
    """
    async with connection.temporary() as channel:
        payload = amqp.QUEUE_DECLARE(0, queue, False, True, False, False, False, arguments)  # noqa: FBT003
        await channel.call(payload, amqp.QUEUE_DECLARE_OK)


async def declare_dead(connection: Connection, exchange: str, topic: str, group: str) -> None:
    """Have the queue of a group's dead letters.

    Raises:
      BrokerError: the broker refuses.
    """
    await declare_queue(connection, dead_queue(exchange, topic, group), dead_arguments())


async def declare_group(connection: Connection, exchange: str, subscription: Subscription) -> None:
    """Have what a group needs: the exchange, its queue, its dead letters.

    Raises:
      BrokerError: the broker refuses.
    """
    queue = group_queue(exchange, subscription.topic, subscription.group)
    await declare_exchange(connection, exchange)
    await declare_dead(connection, exchange, subscription.topic, subscription.group)
    await declare_queue(connection, queue, group_arguments(exchange, subscription))
    async with connection.temporary() as channel:
        payload = amqp.QUEUE_BIND(0, queue, exchange, subscription.topic, False, {})  # noqa: FBT003
        await channel.call(payload, amqp.QUEUE_BIND_OK)


async def declare_listening(connection: Connection, exchange: str, topic: str, queue: str) -> None:
    """Have a queue of this connection's own, which goes with it or with its consumer, and get a topic's messages.

    Raises:
      BrokerError: the broker refuses.
    """
    await declare_exchange(connection, exchange)
    async with connection.temporary() as channel:
        declare = amqp.QUEUE_DECLARE(0, queue, False, False, True, True, False, {})  # noqa: FBT003  exclusive, auto-delete
        await channel.call(declare, amqp.QUEUE_DECLARE_OK)
        await channel.call(amqp.QUEUE_BIND(0, queue, exchange, topic, False, {}), amqp.QUEUE_BIND_OK)  # noqa: FBT003


async def exists(connection: Connection, queue: str) -> bool:
    """Return whether there is a queue."""
    try:
        await count(connection, queue)
    except NoQueue:
        return False
    return True


async def count(connection: Connection, queue: str) -> int:
    """Return how many messages a queue has to deliver.

    Raises:
      NoQueue: there is no such queue.
    """
    async with connection.temporary() as channel:
        payload = amqp.QUEUE_DECLARE(0, queue, True, True, False, False, False, {})  # noqa: FBT003
        try:
            arguments = await channel.call(payload, amqp.QUEUE_DECLARE_OK)
        except ChannelClosed as error:
            if error.code == 404:
                raise NoQueue(connection.name, f"there is no queue {queue}") from error
            raise
        return int(amqp.QUEUE_DECLARE_OK.read(arguments)[1])


class Declared:
    """What is known to be there over the present connection, so that it is declared once.

    Callers that need the same queue at once wait for the first of them.
    """

    def __init__(self) -> None:
        self._old_at: dict[str, float] = {}  # by `time.monotonic()`
        self._lock = asyncio.Lock()

    async def have(self, connection: Connection, queue: str, arguments: dict[str, Any]) -> float:
        """Have a queue; return from when on, by `time.monotonic()`, it is YOUNG no more.

        Raises:
          BrokerError: the broker refuses.
        """
        if queue not in self._old_at:
            async with self._lock:
                if queue not in self._old_at:
                    is_there = await exists(connection, queue)
                    await declare_queue(connection, queue, arguments)
                    self._old_at[queue] = time.monotonic() + (0.0 if is_there else YOUNG_SECONDS)
        return self._old_at[queue]

    def forget(self, queue: str | None = None) -> None:
        """Declare a queue anew next time; all of them without a name."""
        if queue is None:
            self._old_at.clear()
        else:
            self._old_at.pop(queue, None)
