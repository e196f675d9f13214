"""Numbers that are published to a consumer, what has come of each, and whether the consumer said that it was ready."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count, pairwise
from math import inf
from pathlib import Path
from time import monotonic

from hasten.drill.subjects.consumer import Handled, read_handled

_RATE = 200.0  # numbers a second
_PATIENCE, _LOOK = 20.0, 0.05  # seconds after which what has not come never does, and between two looks


@dataclass(slots=True)
class Flow:
    """Numbers that are published to one consumer.

    Attributes:
      publish: Returns when the broker has a number for good.
      file: Of what was handled.
      confirmed: Numbers that the broker has.
      longest: Seconds of the longest publish, however it has ended.
      handled: What was handled when it was read last.
    """

    publish: Callable[[int], Awaitable[object]]
    file: Path
    confirmed: set[int] = field(default_factory=set)
    longest: float = 0.0
    handled: Sequence[Handled] = ()

    async def drive(self, over: asyncio.Event) -> None:
        """Publish numbers, each when it is due, until it is over; then wait for the last of them."""
        began = monotonic()
        async with asyncio.TaskGroup() as group:
            for number in count():
                if (wait := began + number / _RATE - monotonic()) > 0.0:
                    await asyncio.sleep(wait)
                if over.is_set():
                    return
                group.create_task(self._publish(number))

    async def _publish(self, number: int) -> None:
        began = monotonic()
        with suppress(Exception):  # that it is not confirmed is noted, whatever its client calls that
            await self.publish(number)
            self.confirmed.add(number)
        self.longest = max(self.longest, monotonic() - began)

    async def moves(self) -> bool:
        """Wait until one more is handled; tell whether it was, in the end."""
        before = self._size()
        return await comes(lambda: self._size() > before)

    async def settle(self) -> None:
        """Wait until all that was confirmed is handled, or nothing is any more."""
        while not self._is_settled() and await self.moves():
            pass

    def _size(self) -> int:
        return self.file.stat().st_size

    def _is_settled(self) -> bool:
        self.read()
        return not self.lost

    def read(self) -> None:
        """Read what was handled so far."""
        self.handled = read_handled(self.file)

    @property
    def lost(self) -> int:
        """Numbers that were confirmed, and never handled."""
        return len(self.confirmed - {one.number for one in self.handled})

    @property
    def again(self) -> int:
        """How often a number was handled that had been handled before."""
        return len(self.handled) - len({one.number for one in self.handled})

    def until_handled(self, since: float) -> float:
        """Return the seconds from then until a number was handled; infinite if none was."""
        return min((one.at - since for one in self.handled if one.at > since), default=inf)


@dataclass(frozen=True, slots=True)
class Look:
    """Whether a consumer said that it was ready.

    Attributes:
      at: When, by `time.monotonic()`.
    """

    at: float
    ready: bool


def seconds_ready(looks: Sequence[Look], since: float, until: float) -> float:
    """Return for how many of these seconds it was ready: from a look that says so until the next one."""
    return sum(max(0.0, min(then.at, until) - max(one.at, since)) for one, then in pairwise(looks) if one.ready)


def until_ready(looks: Sequence[Look], since: float) -> float:
    """Return the seconds from then until it said that it was ready; infinite if it never did."""
    return min((look.at - since for look in looks if look.ready and look.at >= since), default=inf)


async def comes(holds: Callable[[], bool]) -> bool:
    """Wait until something holds; tell whether it did, in the end."""
    until = monotonic() + _PATIENCE
    while not holds():
        if monotonic() > until:
            return False
        await asyncio.sleep(_LOOK)
    return True
