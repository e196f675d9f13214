"""Listeners that remember, and members that listen with one."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic

from hasten.cache._backplane import Backplane, Invalidation, Listener


@dataclass(frozen=True, slots=True)
class Alone:
    """That nobody can announce anything, and until when to believe what is loaded from now on."""

    until: float


Told = Invalidation | Alone | float | None


@dataclass(frozen=True, slots=True)
class Event:
    """What a listener was told, and when by `time.monotonic()`.

    Attributes:
      told: An invalidation; a moment until which to trust; None to distrust; that we are alone.
    """

    told: Told
    at: float


class Remembering(Listener):
    """Remembers everything it is told, in order."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._told = asyncio.Event()

    def apply(self, invalidation: Invalidation) -> None:
        self._note(invalidation)

    def trust(self, until: float) -> None:
        self._note(until)

    def distrust(self) -> None:
        self._note(None)

    def alone(self, until: float) -> None:
        self._note(Alone(until))

    def _note(self, told: Told) -> None:
        self.note(Event(told, monotonic()))

    def note(self, event: Event) -> None:
        """Remember what was told elsewhere."""
        self.events.append(event)
        self._told.set()

    @property
    def keys(self) -> list[str]:
        """All keys that were made invalid, in order."""
        return [key for event in self.events if isinstance(event.told, Invalidation) for key in event.told.keys]

    @property
    def tags(self) -> list[tuple[str, int]]:
        return [tag for event in self.events if isinstance(event.told, Invalidation) for tag in event.told.tags]

    @property
    def trusts(self) -> list[float]:
        return [event.told for event in self.events if isinstance(event.told, float)]

    @property
    def alones(self) -> list[Event]:
        """When it was told that it is alone."""
        return [event for event in self.events if isinstance(event.told, Alone)]

    @property
    def distrusts(self) -> int:
        return sum(event.told is None for event in self.events)

    @property
    def trusting(self) -> bool:
        """Whether it was told to trust since it was last told not to."""
        told = [event.told for event in self.events if not isinstance(event.told, Invalidation)]
        return bool(told) and isinstance(told[-1], float)

    async def until(self, condition: Callable[["Remembering"], bool]) -> None:
        """Wait until what it has been told fulfils a condition."""
        while not condition(self):
            self._told.clear()
            await self._told.wait()

    async def until_trusting(self) -> None:
        await self.until(lambda heard: heard.trusting)


@dataclass(frozen=True, slots=True)
class Member:
    """A backplane and its listener."""

    backplane: Backplane
    heard: Remembering


@asynccontextmanager
async def joined(*backplanes: Backplane) -> AsyncIterator[list[Member]]:
    """Start backplanes, wait until all have joined, and close them in the end."""
    members = [Member(backplane, Remembering()) for backplane in backplanes]
    try:
        for member in members:
            await member.backplane.start(member.heard)
        for member in members:
            await member.heard.until_trusting()
        yield members
    finally:
        for member in members:
            await member.backplane.aclose()


def keys(*names: str) -> Invalidation:
    """Return the invalidation of some keys."""
    return Invalidation(keys=names)


def timers() -> list[asyncio.TimerHandle]:
    """Return the timers that are to go off in this loop; uvloop does not show its own."""
    scheduled: list[asyncio.TimerHandle] = getattr(asyncio.get_running_loop(), "_scheduled", [])
    return [timer for timer in scheduled if not timer.cancelled()]
