"""The contract of a broker: messages to groups of consumers, each at least once.

A message that is published to a topic is kept for each group that has subscribed to it, and delivered to one consumer
of each group, until that one has settled it: accepted, retried later, or buried with the group's dead letters. What is
delivered and not settled when a consumer stops, dies or loses its connection is delivered again.

Adapters: hasten.events.brokers. All of them pass one contract suite (tests/events/brokers).
"""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, runtime_checkable

import msgspec

from hasten.events._envelope import Envelope


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """What one consumer wants of a broker.

    Attributes:
      topic, group: Each message of the topic goes to one consumer of the group.
      prefetch: Deliveries that may be unsettled at once.
      ordered: Messages with one key are delivered in the order of their publishing, to one consumer at a time in the
        whole group. Such a consumer settles in any order, but retries nothing through the broker.
    """

    topic: str
    group: str
    prefetch: int
    ordered: bool = False


class Delivery:
    """A message that is to be settled, once.

    Attributes:
      envelope: The message.
      returned: How often it came back without being settled, as far as the broker knows.
      tag: The adapter's own.
    """

    __slots__ = ("envelope", "returned", "tag")

    def __init__(self, envelope: Envelope, returned: int, tag: Any) -> None:
        self.envelope = envelope
        self.returned = returned
        self.tag = tag


Receive = Callable[[Delivery], None]
"""Takes a delivery in the loop's thread; it must return within microseconds, and raise nothing."""


class Intake(Protocol):
    """The deliveries of one subscription.

    A settlement of what was delivered over a connection that is lost does nothing: the message comes again.
    """

    def accept(self, delivery: Delivery) -> None:
        """Settle what has been handled; it is told to the broker soon, together with others."""

    async def retry(self, delivery: Delivery, seconds: float, *, attempt: int, reason: str) -> None:
        """Settle by having the message delivered again to this group after a while, with that attempt.

        Raises:
          BrokerError: the broker has not taken it: the message stays unsettled.
        """

    async def bury(self, delivery: Delivery, reason: str) -> None:
        """Settle by putting the message among the group's dead letters.

        Raises:
          BrokerError: the broker has not taken it: the message stays unsettled.
        """

    async def stop(self) -> None:
        """Ask for no more deliveries; those that came may still be settled."""

    async def aclose(self) -> None:
        """Tell the broker what was settled; what was not is delivered to others, soon."""


class Broker(Protocol):
    """A broker, seen by one process; of one event loop.

    A lost connection is made again, with jittered pauses, and what is subscribed is subscribed again.

    Attributes:
      name: For messages and metrics: `amqp localhost:5672`, without a password.
      connected: Whether it answers now.
    """

    name: str
    connected: bool

    async def start(self) -> None:
        """Connect.

        Raises:
          BrokerUnavailable: it does not answer, or refuses us.
        """

    def publish(
        self, envelope: Envelope, *, deadline: float, delay: float = 0.0, mandatory: bool = True
    ) -> Awaitable[None]:
        """Publish a message; the answer comes when the broker has it for good.

        A plain function where an adapter can: what is published in one pass of the loop is sent together. While the
        connection is away it waits; what was sent and not confirmed is sent again, so that there may be two of it.

        Args:
          deadline: By `time.monotonic()`: until then the answer must have come.
          delay: Seconds until it is delivered.
          mandatory: A topic that no group has subscribed to is an error, where the broker knows.
        Raises:
          Unroutable: no group has subscribed to the topic, so nobody would ever get it.
          PublishTimeout: it was not confirmed in time; it may have been taken all the same.
          BrokerError: the broker refused it.
        Cancellation: the message may be published all the same.
        """

    async def subscribe(self, subscription: Subscription, receive: Receive) -> Intake:
        """Make the group known, and have its messages delivered.

        Raises:
          BrokerError: the broker refuses: the group is there with other properties, for instance.
        """

    async def aclose(self) -> None:
        """Send what is to be sent, and close."""


class Listening(Protocol):
    """Somebody who listens to a topic."""

    async def aclose(self) -> None:
        """Hear no more; the broker keeps nothing of it."""


@runtime_checkable
class Broadcasting(Protocol):
    """Messages to every process that listens, which are kept for none: for what is of no use later.

    Each listener hears what is published from then on, what one process publishes for one key in the order of its
    publishing. Nothing is settled, and nothing stays at the broker when a listener, or its process, is gone, but for
    the topic and its messages where the broker keeps topics.

    Attributes:
      keeps_topics: Whether it does: then who listens for himself alone should share a topic with others.
    """

    keeps_topics: bool

    async def listen(self, topic: str, receive: Callable[[Envelope], None], missed: Callable[[], None]) -> Listening:
        """Have every message of a topic received, beside its groups, until it is closed.

        A message whose publishing was answered before another one of its key was sent is received before that one.

        Args:
          receive: Takes a message in the loop's thread; it must return within microseconds, and raise nothing.
          missed: Called when messages may have been missed, as after a lost connection: before the first one that comes
            behind the gap.
        Raises:
          BrokerError: the broker refuses, or is not there.
        """


class Backlog(msgspec.Struct, frozen=True):
    """What a group has not handled.

    Attributes:
      waiting: Messages to be delivered, those that are retried later included where the broker counts them.
      dead: Its dead letters.
    """

    waiting: int
    dead: int


@runtime_checkable
class Inspection(Protocol):
    """What an operator asks of a broker; all brokers of ours have it."""

    async def backlog(self, topic: str, group: str) -> Backlog:
        """Return what a group has not handled.

        Raises:
          BrokerError: there is no such group.
        """

    async def groups_of(self, topic: str) -> list[str] | None:
        """Return the groups that have subscribed to a topic, by name; None where the broker has no answer to that."""
        return None

    async def dead_letters(self, topic: str, group: str, most: int) -> list[Envelope]:
        """Return a group's dead letters, the oldest first; they stay where they are."""

    async def replay(self, topic: str, group: str, chosen: Callable[[Envelope], bool], most: int) -> int:
        """Deliver dead letters to their group anew, as if they had never been tried; return how many.

        Args:
          chosen: Which ones; the others stay.
          most: Dead letters that are looked at.
        """
