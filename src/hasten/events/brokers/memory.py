"""A broker within the process, with the semantics of a real one: `memory://`.

For tests, for a service that needs no more, and for the shop when no broker is there. What is published is gone with
the process. Buses of one process share a broker that they are all given; each `Bus("memory://")` has its own.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

import msgspec

from hasten._core.errors import ConfigurationError
from hasten.events._broker import Backlog, Broker, Delivery, Inspection, Intake, Receive, Subscription
from hasten.events._envelope import Envelope
from hasten.events._errors import BrokerError, PublishTimeout, Unroutable

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_WAITING = 100_000
"""Messages of a group that wait to be delivered; who publishes more waits until there is room."""
_logger = logging.getLogger("hasten.events")


class MemoryBroker(Broker, Inspection):
    """Messages in the memory of one process, for the buses that share it; of one event loop.

    Args:
      most_waiting: Messages that wait in a group, at most.
    """

    name = "memory"
    connected = True

    def __init__(self, *, most_waiting: int = MOST_WAITING) -> None:
        self.groups: dict[str, dict[str, Group]] = {}
        self._most_waiting = most_waiting
        self._users = 0

    async def start(self) -> None:
        self._users += 1

    async def publish(self, envelope: Envelope, *, deadline: float, delay: float = 0.0, mandatory: bool = True) -> None:
        groups = self.groups.get(envelope.topic)
        if not groups:
            if mandatory:
                raise Unroutable(self.name, envelope.topic)
            return
        for group in groups.values():
            await self._room_in(group, deadline)
        for group in groups.values():
            group.put(envelope, delay)

    async def _room_in(self, group: "Group", deadline: float) -> None:
        while len(group.waiting) >= self._most_waiting:
            group.has_room.clear()
            try:
                async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                    await group.has_room.wait()
            except TimeoutError as error:
                raise PublishTimeout(self.name, f"{len(group.waiting)} messages wait in {group.name}") from error

    async def subscribe(self, subscription: Subscription, receive: Receive) -> Intake:
        groups = self.groups.setdefault(subscription.topic, {})
        group = groups.setdefault(subscription.group, Group(f"{subscription.topic} {subscription.group}"))
        intake = MemoryIntake(group, subscription, receive)
        group.intakes.append(intake)
        group.deliver_soon()
        return intake

    async def backlog(self, topic: str, group: str) -> Backlog:
        found = self._group(topic, group)
        return Backlog(found.count, len(found.dead))

    async def dead_letters(self, topic: str, group: str, most: int) -> list[Envelope]:
        return self._group(topic, group).dead[:most]

    async def replay(self, topic: str, group: str, chosen: Callable[[Envelope], bool], most: int) -> int:
        found = self._group(topic, group)
        again = [envelope for envelope in found.dead[:most] if chosen(envelope)]
        for envelope in again:
            found.dead.remove(envelope)
            found.put(msgspec.structs.replace(envelope, attempt=1, reason=""))
        return len(again)

    def _group(self, topic: str, group: str) -> "Group":
        found = self.groups.get(topic, {}).get(group)
        if found is None:
            raise BrokerError(self.name, f"{topic} has no group {group}")
        return found

    async def aclose(self) -> None:
        """Keep what is there for who starts again; it is gone with this object."""
        self._users -= 1
        left = sum(group.count for groups in self.groups.values() for group in groups.values())
        if left and self._users <= 0:
            _logger.warning("memory: closed with %d messages that were not handled", left)


class Group:
    """A group's messages.

    Attributes:
      waiting: To be delivered, the next one first, with how often each came back.
      dead: Its dead letters, the oldest first.
      intakes: Its consumers; an ordered group has one that gets everything, the others wait to take its place.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.waiting: deque[tuple[Envelope, int]] = deque()
        self.dead: list[Envelope] = []
        self.intakes: list[MemoryIntake] = []
        self.has_room = asyncio.Event()
        self._later: list[tuple[float, int, Envelope]] = []
        self._sequence = count()
        self._timer: asyncio.TimerHandle | None = None
        self._turn = 0
        self._is_due = False

    @property
    def count(self) -> int:
        """Messages that nobody has handled, those that come later included."""
        return len(self.waiting) + len(self._later)

    def put(self, envelope: Envelope, delay: float = 0.0) -> None:
        """Add a message that is new, or that is tried again, to be delivered after so many seconds."""
        if delay > 0.0:
            heappush(self._later, (time.monotonic() + delay, next(self._sequence), envelope))
        else:
            self.waiting.append((envelope, 0))
        self.deliver_soon()

    def put_back(self, deliveries: list[Delivery]) -> None:
        """Add messages that were delivered and not settled, in their old places."""
        self.waiting.extendleft((each.envelope, each.returned + 1) for each in reversed(deliveries))
        self.deliver_soon()

    def deliver_soon(self) -> None:
        """Deliver in the next pass of the loop: a consumer is not called by who publishes."""
        if not self._is_due and self.intakes and (self.waiting or self._later):
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._deliver)

    def _deliver(self) -> None:
        self._is_due = False
        self._take_due()
        while self.waiting and (intake := self._next()) is not None:
            envelope, returned = self.waiting.popleft()
            intake.take(Delivery(envelope, returned, None))
        self.has_room.set()

    def _take_due(self) -> None:
        """Let those wait no longer whose time has come, and look again when it has for the next."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            self.waiting.append((heappop(self._later)[2], 0))
        if self._later and self.intakes:
            self._timer = asyncio.get_running_loop().call_later(self._later[0][0] - now, self.deliver_soon)

    def _next(self) -> "MemoryIntake | None":
        """Return who gets the next message: the consumers with room take turns, but for an ordered group."""
        for intake in self._in_turn():
            if intake.has_room:
                return intake
        return None

    def _in_turn(self) -> "Iterator[MemoryIntake]":
        if self.intakes and self.intakes[0].subscription.ordered:
            yield self.intakes[0]
            return
        for _ in self.intakes:
            self._turn = (self._turn + 1) % len(self.intakes)
            yield self.intakes[self._turn]


class MemoryIntake(Intake):
    """One consumer of a group."""

    def __init__(self, group: Group, subscription: Subscription, receive: Receive) -> None:
        self.subscription = subscription
        self._group = group
        self._receive = receive
        self._unsettled: dict[int, Delivery] = {}
        self._stopped = False

    @property
    def has_room(self) -> bool:
        return not self._stopped and len(self._unsettled) < self.subscription.prefetch

    def take(self, delivery: Delivery) -> None:
        """Get a message."""
        self._unsettled[id(delivery)] = delivery
        self._receive(delivery)

    def accept(self, delivery: Delivery) -> None:
        if self._unsettled.pop(id(delivery), None) is not None:
            self._group.deliver_soon()

    async def retry(self, delivery: Delivery, seconds: float, *, attempt: int, reason: str) -> None:
        again = msgspec.structs.replace(delivery.envelope, attempt=attempt)
        if self._unsettled.pop(id(delivery), None) is not None:
            self._group.put(again, seconds)

    async def bury(self, delivery: Delivery, reason: str) -> None:
        if self._unsettled.pop(id(delivery), None) is not None:
            self._group.dead.append(msgspec.structs.replace(delivery.envelope, reason=reason))
            self._group.deliver_soon()

    async def stop(self) -> None:
        self._stopped = True

    async def aclose(self) -> None:
        self._stopped = True
        if self in self._group.intakes:
            self._group.intakes.remove(self)
            self._group.put_back(list(self._unsettled.values()))
            self._unsettled.clear()


def memory_broker(url: str) -> MemoryBroker:
    """Return the broker of `memory://`.

    Raises:
      ConfigurationError: the URL says more.
    """
    if url != "memory://":
        raise ConfigurationError(url, "memory:// has no address", "leave the rest out")
    return MemoryBroker()
