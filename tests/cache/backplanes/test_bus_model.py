"""The bus's backplane on a broker that delivers in every order that the contract of a broadcast leaves to it.

What is sent reaches each listener's queue at another moment, only in the order of each sender; it is confirmed when it
is in all of them; a queue may be lost and made anew. Hypothesis chooses what happens next.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st

from hasten.cache._backplane import Invalidation, Listener
from hasten.cache.backplanes._bus_membership import Broadcast
from hasten.cache.backplanes.bus import BusBackplane
from tests.cache.backplanes.conftest import PATIENT
from tests.cache.backplanes.listening import keys

MEMBERS = 3


@dataclass(eq=False)
class Sent:
    """A message on its way."""

    body: bytes
    missing: "set[Queue]"
    confirmed: "asyncio.Future[None]"

    def arrive(self, queue: "Queue") -> None:
        self.missing.discard(queue)
        if not self.missing and not self.confirmed.done():
            self.confirmed.set_result(None)


@dataclass(eq=False)
class Queue:
    """What one listener is to receive, and what is on its way to it, from each sender."""

    receive: Callable[[bytes], None]
    missed: Callable[[], None]
    bodies: deque[bytes] = field(default_factory=deque)
    coming: "dict[FakeBroadcast, deque[Sent]]" = field(default_factory=dict)


class Broker:
    """All queues."""

    def __init__(self) -> None:
        self.queues: list[Queue] = []

    def possible(self) -> list[Callable[[], None]]:
        """Return what may happen next, without losses."""
        steps: list[Callable[[], None]] = []
        for queue in self.queues:
            steps += [partial(_enqueue, queue, coming) for coming in queue.coming.values() if coming]
            if queue.bodies:
                steps.append(partial(_receive, queue))
        return steps

    def lose(self, queue: Queue) -> None:
        """Make a queue anew: what it has, and what is on its way to it, is gone."""
        for coming in queue.coming.values():
            for sent in coming:
                sent.arrive(queue)
            coming.clear()
        queue.bodies.clear()
        queue.missed()


def _receive(queue: Queue) -> None:
    queue.receive(queue.bodies.popleft())


def _enqueue(queue: Queue, coming: deque[Sent]) -> None:
    sent = coming.popleft()
    queue.bodies.append(sent.body)
    sent.arrive(queue)


class FakeBroadcast(Broadcast):
    """One process's connection."""

    name = "model"

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.queue: Queue | None = None

    async def listen(self, receive: Callable[[bytes], None], missed: Callable[[], None]) -> None:
        self.queue = Queue(receive, missed)
        self._broker.queues.append(self.queue)

    async def send(self, body: bytes) -> None:
        sent = Sent(body, set(self._broker.queues), asyncio.get_running_loop().create_future())
        for queue in self._broker.queues:
            queue.coming.setdefault(self, deque()).append(sent)
        await sent.confirmed

    async def aclose(self) -> None:
        if self.queue in self._broker.queues:
            self._broker.lose(self.queue)
            self._broker.queues.remove(self.queue)


class Memory(Listener):
    """What a member would serve: the announcements that it need not heed any more."""

    def __init__(self) -> None:
        self.trusting = False
        self.heeded: set[str] = set()  # announced, and applied here
        self.announced: set[str] = set()  # all that have begun; shared
        self.trusted = 0

    def apply(self, invalidation: Invalidation) -> None:
        self.heeded.update(invalidation.keys)

    def trust(self, until: float) -> None:
        self.trusting = True
        self.trusted += 1

    def distrust(self) -> None:
        self.trusting = False
        self.heeded |= self.announced  # what is loaded from now on is newer

    def alone(self, until: float) -> None:
        raise AssertionError("nobody can know that")

    def may_serve(self, key: str) -> bool:
        """Whether what was loaded before this key was announced may be answered."""
        return self.trusting and key not in self.heeded


class World:
    """Members that start, announce, and lose their queues; the first one is there from the beginning."""

    def __init__(self) -> None:
        self.broker = Broker()
        self.broadcasts = [FakeBroadcast(self.broker) for _ in range(MEMBERS)]
        self.members = [BusBackplane(each, trust_seconds=PATIENT, settled=True) for each in self.broadcasts]
        self.memories = [Memory() for _ in range(MEMBERS)]
        self.announced: set[str] = set()
        for memory in self.memories:
            memory.announced = self.announced
        self.announcements: list[asyncio.Task[None]] = []
        self.started = 0
        self.unheard = False  # an announcement, by somebody whose beat may have been heard

    async def start_next(self) -> None:
        if self.started < MEMBERS:
            number, self.started = self.started, self.started + 1
            self.unheard |= any(not task.done() for task in self.announcements)
            await self.members[number].start(self.memories[number])

    def announce(self) -> None:
        """By the first member, who has heard of everybody since it began."""
        key = f"k{len(self.announcements)}"
        self.announced.add(key)
        self.announcements.append(asyncio.create_task(self._announce(key)))

    async def _announce(self, key: str) -> None:
        assert await self.members[0].announce(keys(key))
        assert not [number for number, memory in enumerate(self.memories) if memory.may_serve(key)]

    def lose(self, number: int) -> None:
        queue = self.broadcasts[number].queue
        if queue is not None:
            self.unheard = True
            self.broker.lose(queue)

    async def route(self, sender: int, *to: int) -> None:
        """Let everything that one member has sent come into the queues of some."""
        for number in to:
            queue = self.queue(number)
            while coming := queue.coming.get(self.broadcasts[sender]):
                _enqueue(queue, coming)
                await self.settle()

    async def deliver(self, to: int) -> None:
        """Let a member receive what is in its queue."""
        while self.queue(to).bodies:
            _receive(self.queue(to))
            await self.settle()

    def queue(self, number: int) -> Queue:
        queue = self.broadcasts[number].queue
        assert queue is not None
        return queue

    async def settle(self, passes: int = 6) -> None:
        """Let everybody do what there is to do now."""
        for _ in range(passes):
            await asyncio.sleep(0)

    async def finish(self) -> None:
        """Deliver all: every announcement has ended then, unless somebody has not got it and would be waited out."""
        await self.settle(30)
        while steps := self.broker.possible():
            for step in steps:
                step()
            await self.settle(30)
        assert self.unheard or all(task.done() for task in self.announcements)
        self.check()

    def check(self) -> None:
        """Raise what went wrong in an announcement."""
        for task in self.announcements:
            if task.done():
                task.result()

    async def aclose(self) -> None:
        for task in self.announcements:
            task.cancel()
        await self.settle()
        closing = asyncio.gather(*(member.aclose() for member in self.members))
        while not closing.done():
            for step in self.broker.possible():
                step()
            await self.settle()
        await closing


async def play(early: int, choices: list[int]) -> None:
    world = World()
    for _ in range(early):
        await world.start_next()
    await world.finish()
    try:
        for choice in choices:
            await step(world, choice)
            world.check()
        await world.finish()
    finally:
        await world.aclose()


async def step(world: World, choice: int) -> None:
    """Do one of the things that may happen next, most often a delivery."""
    kind, which = choice % 16, choice // 16
    steps = world.broker.possible()
    if kind == 15:
        await world.start_next()
    elif kind == 14:
        world.announce()
    elif kind == 13 and which % 4 == 0:
        world.lose(1 + which // 4 % (MEMBERS - 1))
    elif steps:
        steps[which % len(steps)]()
    await world.settle()


@settings(max_examples=200)
@given(st.integers(1, MEMBERS), st.lists(st.integers(0, 4095), min_size=40, max_size=150))
def test_nobody_serves_what_was_announced(early: int, choices: list[int]) -> None:
    """Whatever is delivered when: when an announcement is complete no member may serve what was loaded before it."""
    asyncio.run(play(early, choices))


@asynccontextmanager
async def two_members() -> AsyncIterator[World]:
    """One member has joined, and another one has just begun to listen."""
    world = World()
    await world.start_next()
    await world.finish()
    await world.start_next()
    await world.settle()
    try:
        yield world
    finally:
        await world.aclose()


def test_a_member_that_was_not_heard_yet() -> None:
    """Whose beats wait in the announcer's queue is waited for: an echo comes behind them."""

    async def main() -> None:
        async with two_members() as world:
            while not world.memories[1].trusting:
                await world.route(1, 0, 1)
                await world.deliver(1)
            world.announce()
            await world.settle()
            await world.route(0, 0, 1)
            assert not world.announcements[0].done()
            await world.deliver(0)
            await world.route(0, 0, 1)
            await world.deliver(0)
            assert not world.announcements[0].done()
            await world.deliver(1)
            await world.route(1, 0)
            await world.deliver(0)
            assert world.announcements[0].done()
            world.check()

    asyncio.run(main())


def test_a_beat_that_not_all_have() -> None:
    """It gives no trust, though it has come back: whoever announces does not know of it, and does not wait."""

    async def main() -> None:
        async with two_members() as world:
            await world.route(1, 1)
            await world.deliver(1)
            world.announce()
            await world.settle()
            for _ in range(3):
                await world.route(0, 0, 1)
                await world.deliver(0)
            assert world.announcements[0].done()
            world.check()
            await world.route(1, 0, 1)
            await world.deliver(1)
            assert world.memories[1].trusting
            assert "k0" in world.memories[1].heeded

    asyncio.run(main())
