"""A group's messages in memory, and its consumers.

What outlives the process is `Keeping`'s: it hears of each message that is put, handed over, changed or handled.
`Forgetting` keeps nothing; hasten.events.brokers._memory_journal keeps a file.
"""

import asyncio
import enum
import logging
import time
from collections import deque
from collections.abc import Awaitable, Iterable, Sequence
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Protocol

import msgspec

from hasten.events._broker import Delivery, Intake, Receive, Subscription
from hasten.events._envelope import Envelope

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_WAITING = 100_000
"""Messages of a group that wait to be delivered; who publishes more waits until there is room."""
_logger = logging.getLogger("hasten.events")


class State(enum.IntEnum):
    """Where a message of a group stands, for who keeps it."""

    IN_LINE = 0
    """As it was published: it was delivered if one behind it was."""
    BACK = 1
    """To be delivered, whatever was: it is delayed, is tried again, or came back."""
    OUT = 2
    """Delivered again."""
    DEAD = 3


class Keeping(Protocol):
    """Where messages are kept beside the memory. All but `add` only note, and what they note is kept soon."""

    name: str
    connected: bool
    is_open: bool

    async def open(self) -> "list[Group]":
        """Return the groups that there are, with their messages.

        Raises:
          ConfigurationError: what is there is not ours.
          BrokerUnavailable: it cannot be opened.
        """

    async def join(self, topic: str, name: str) -> "Group":
        """Return a new group, which is kept.

        Raises:
          BrokerError: it cannot be.
        """

    def add(
        self, envelope: Envelope, groups: "Sequence[Group]", delay: float, deadline: float
    ) -> Awaitable[None] | None:
        """Put a message into groups when it is kept; the answer, None for at once, comes then.

        A place is reserved in each group; it is given back when the message is put, or cannot be.

        Raises:
          BrokerError: it cannot be kept.
          PublishTimeout: it was not by the deadline.
        """

    def hand_over(self, group: "Group", picked: "Sequence[tuple[MemoryIntake, Delivery]]") -> None:
        """Hand deliveries to their consumers when it is kept that they are delivered."""

    def change(self, delivery: Delivery, state: State, delay: float = 0.0) -> None:
        """Note what has become of a message: its envelope and how often it came back, too."""

    def remove(self, delivery: Delivery) -> None:
        """Note that a message was handled."""

    async def aclose(self, left: int) -> None:
        """Keep what was noted, of so many messages that nobody has handled."""


class Forgetting(Keeping):
    """Keeps nothing.

    Args:
      most_waiting: Messages that wait in a group, at most.
    """

    name = "memory"
    connected = True
    is_open = True

    def __init__(self, most_waiting: int = MOST_WAITING) -> None:
        self._most_waiting = most_waiting

    async def open(self) -> "list[Group]":
        return []

    async def join(self, topic: str, name: str) -> "Group":
        return Group(topic, name, self, most_waiting=self._most_waiting)

    def add(self, envelope: Envelope, groups: "Sequence[Group]", delay: float, deadline: float) -> None:
        for group in groups:
            group.reserved -= 1
            group.put(Delivery(envelope, 0, None), delay)

    def hand_over(self, group: "Group", picked: "Sequence[tuple[MemoryIntake, Delivery]]") -> None:
        for intake, delivery in picked:
            intake.take(delivery)

    def change(self, delivery: Delivery, state: State, delay: float = 0.0) -> None:
        pass

    def remove(self, delivery: Delivery) -> None:
        pass

    async def aclose(self, left: int) -> None:
        if left:
            _logger.warning("memory: closed with %d messages that were not handled", left)


class Group:
    """A group's messages.

    Args:
      keeping: Hears what becomes of them.
      number: The keeping's own.
      most_waiting: Messages that wait, at most, but for those that come back.

    Attributes:
      waiting: To be delivered, the next one first.
      reserved: Places for messages that are published now.
      dead: Its dead letters, the oldest first.
      intakes: Its consumers; an ordered group has one that gets everything, the others wait to take its place.
    """

    def __init__(
        self, topic: str, name: str, keeping: Keeping, number: int = 0, *, most_waiting: int = MOST_WAITING
    ) -> None:
        self.topic = topic
        self.name = name
        self.keeping = keeping
        self.number = number
        self.waiting: deque[Delivery] = deque()
        self.reserved = 0
        self.dead: list[Delivery] = []
        self.intakes: list[MemoryIntake] = []
        self._most_waiting = most_waiting
        self._publishers: dict[asyncio.Future[None], None] = {}  # those that wait for a place, in their turn
        self._later: list[tuple[float, int, Delivery]] = []
        self._sequence = count()
        self._timer: asyncio.TimerHandle | None = None
        self._turn = 0
        self._is_due = False

    @property
    def count(self) -> int:
        """Messages that nobody has handled, those that come later included."""
        return len(self.waiting) + len(self._later)

    # ---- places, first come, first served: who publishes without a pause would leave none to others

    @property
    def _has_place(self) -> bool:
        return len(self.waiting) + self.reserved < self._most_waiting

    async def reserve(self, deadline: float) -> None:
        """Wait for a place, until `time.monotonic()` is the deadline.

        Raises:
          TimeoutError: there was none.
        """
        if self._has_place:  # then nobody waits: who does is given what becomes free
            self.reserved += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._publishers[turn] = None
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                await turn
        except BaseException:
            if self._publishers.pop(turn, turn) is turn and not turn.cancelled():
                self.release()  # it has just been given one
            raise

    def release(self) -> None:
        """Give a place back."""
        self.reserved -= 1
        self._admit()

    def _admit(self) -> None:
        while self._publishers and self._has_place:
            turn = next(iter(self._publishers))
            del self._publishers[turn]
            if not turn.done():
                self.reserved += 1
                turn.set_result(None)

    # ---- messages

    def put(self, delivery: Delivery, delay: float = 0.0) -> None:
        """Add a message that is new, or that is tried again, to be delivered after so many seconds."""
        if delay > 0.0:
            heappush(self._later, (time.monotonic() + delay, next(self._sequence), delivery))
            self._admit()  # it takes no place until it is due
        else:
            self.waiting.append(delivery)
        self.deliver_soon()

    def put_back(self, deliveries: Iterable[Delivery]) -> None:
        """Add messages that were to be delivered, or that were and came back, in their old places."""
        back = list(deliveries)
        for delivery in back:
            self.keeping.change(delivery, State.BACK)
        self.waiting.extendleft(reversed(back))
        self.deliver_soon()

    def replay(self, dead: Sequence[Delivery]) -> None:
        """Deliver dead letters anew; they are no longer among them."""
        for each in dead:
            again = Delivery(msgspec.structs.replace(each.envelope, attempt=1, reason=""), 0, each.tag)
            self.keeping.change(again, State.BACK)
            self.put(again)

    def deliver_soon(self) -> None:
        """Deliver in the next pass of the loop: a consumer is not called by who publishes."""
        if not self._is_due and self.intakes and (self.waiting or self._later):
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._deliver)

    def _deliver(self) -> None:
        self._is_due = False
        self._take_due()
        picked = []
        while self.waiting and (intake := self._next()) is not None:
            delivery = self.waiting.popleft()
            intake.expect(delivery)
            picked.append((intake, delivery))
        if picked:
            self.keeping.hand_over(self, picked)
        self._admit()

    def _take_due(self) -> None:
        """Let those wait no longer whose time has come, and look again when it has for the next."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            self.waiting.append(heappop(self._later)[2])
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
        self._expected: dict[int, Delivery] = {}
        self._unsettled: dict[int, Delivery] = {}
        self._stopped = False

    @property
    def has_room(self) -> bool:
        return not self._stopped and len(self._expected) + len(self._unsettled) < self.subscription.prefetch

    def expect(self, delivery: Delivery) -> None:
        """Leave room for a message, which is taken soon."""
        self._expected[id(delivery)] = delivery

    def take(self, delivery: Delivery) -> None:
        """Get a message that is expected; one that no longer is has gone back."""
        if self._expected.pop(id(delivery), None) is not None:
            self._unsettled[id(delivery)] = delivery
            self._receive(delivery)

    def accept(self, delivery: Delivery) -> None:
        if self._unsettled.pop(id(delivery), None) is not None:
            self._group.keeping.remove(delivery)
            self._group.deliver_soon()

    async def retry(self, delivery: Delivery, seconds: float, *, attempt: int, reason: str) -> None:
        if self._unsettled.pop(id(delivery), None) is not None:
            again = Delivery(msgspec.structs.replace(delivery.envelope, attempt=attempt), 0, delivery.tag)
            self._group.keeping.change(again, State.BACK, seconds)
            self._group.put(again, seconds)

    async def bury(self, delivery: Delivery, reason: str) -> None:
        if self._unsettled.pop(id(delivery), None) is not None:
            dead = Delivery(msgspec.structs.replace(delivery.envelope, reason=reason), delivery.returned, delivery.tag)
            self._group.keeping.change(dead, State.DEAD)
            self._group.dead.append(dead)
            self._group.deliver_soon()

    async def stop(self) -> None:
        self._stopped = True
        expected, self._expected = self._expected, {}
        if expected:
            self._group.put_back(expected.values())

    async def aclose(self) -> None:
        await self.stop()
        if self in self._group.intakes:
            self._group.intakes.remove(self)
            unsettled, self._unsettled = self._unsettled, {}
            self._group.put_back(Delivery(each.envelope, each.returned + 1, each.tag) for each in unsettled.values())
