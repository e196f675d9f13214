"""A backplane between caches of one process and one event loop, for tests: with it a test plays what a network does.

    ours, theirs = memory_backplanes(2)
    theirs.hold()             # what is announced reaches it late, like a process that is frozen
    theirs.cut_off()          # it has lost its connection
    theirs.restore()          # it is as it was

It is there for somebody always, so nobody is ever alone.
"""

import asyncio
from collections import deque
from time import monotonic

from hasten.cache._backplane import TRUST_SECONDS, Backplane, Invalidation, Listener
from hasten.cache.backplanes._announcing import Announcing, Batch


class _Bus:
    """Who is a member; what one announces goes into the inbox of each other one, in one order for all."""

    def __init__(self) -> None:
        self.members: dict[str, MemoryBackplane] = {}


def memory_backplanes(count: int, *, trust_seconds: float = TRUST_SECONDS) -> "list[MemoryBackplane]":
    """Return so many backplanes that hear each other.

    Args:
      trust_seconds: Instead of the contract's, so that a test does not wait.
    """
    bus = _Bus()
    return [MemoryBackplane(bus, f"memory {number}", trust_seconds) for number in range(1, count + 1)]


class MemoryBackplane(Backplane):
    """One member of a bus within the process; made by `memory_backplanes`."""

    def __init__(self, bus: _Bus, name: str, trust_seconds: float) -> None:
        self.name = name
        self._bus = bus
        self._trust_seconds = trust_seconds
        self._announcing = Announcing(trust_seconds)
        self._listener: Listener | None = None
        self._inbox: deque[tuple[Batch, MemoryBackplane]] = deque()
        self._connected = False
        self._held = False
        self._trusted_until = 0.0
        self._next_beat: asyncio.TimerHandle | None = None

    async def start(self, listener: Listener) -> None:
        """Join the members; heard at once."""
        self._listener = listener
        self._bus.members[self.name] = self
        self._join()

    async def announce(self, invalidation: Invalidation) -> bool:
        """Tell every member; the others hear it in the next pass of the loop."""
        if self._listener is not None:
            self._listener.apply(invalidation)
        if not self._connected:
            return False
        asyncio.get_running_loop().call_soon(self._publish)
        return await self._announcing.add(invalidation)

    async def aclose(self) -> None:
        """Leave the members; what is announced just now returns False."""
        self._lose()
        if self._bus.members.pop(self.name, None) is not None:
            for member in self._bus.members.values():
                member.departed(self.name)
        self._announcing.fail_all()
        self._listener = None

    # ---- what a test does

    def cut_off(self) -> None:
        """Lose the connection: nothing is heard, announcing fails; the others wait until trust would have been over."""
        self._lose()

    def hold(self) -> None:
        """Let nothing through until `restore`: nothing is applied nor acknowledged, and trust runs out."""
        self._held = True

    def restore(self) -> None:
        """Undo `hold` and `cut_off`: apply and acknowledge what was held back, join again what was cut off."""
        self._held = False
        if self._connected:
            self._beat()
        else:
            self._join()

    # ---- the bus

    def receive(self, batch: Batch, by: "MemoryBackplane") -> None:
        """Take what another one announced."""
        if self._connected:
            self._inbox.append((batch, by))
            asyncio.get_running_loop().call_soon(self._drain)

    def acknowledged(self, batch: Batch, by: str) -> None:
        """Note that another one has applied what we announced."""
        self._announcing.acknowledged(by, (batch.number,))

    def departed(self, member: str) -> None:
        """Wait for another one no more."""
        self._announcing.departed(member)

    def may_have_trust(self, now: float) -> bool:
        """Whether others must wait for this member."""
        return now < self._trusted_until

    def _publish(self) -> None:
        now = monotonic()
        others = [member for member in self._bus.members.values() if member is not self]
        for batch in self._announcing.take_all():
            for member in others:
                member.receive(batch, self)
            self._announcing.sent(batch, [member.name for member in others if member.may_have_trust(now)])

    def _drain(self) -> None:
        while self._inbox and not self._held and self._listener is not None:
            batch, by = self._inbox.popleft()
            self._listener.apply(batch.invalidation())
            by.acknowledged(batch, self.name)

    # ---- trust

    def _join(self) -> None:
        if self._listener is not None:
            self._connected = True
            self._listener.distrust()
            self._beat()

    def _beat(self) -> None:
        """Give trust while the bus is heard, and come again."""
        if self._next_beat is not None:
            self._next_beat.cancel()
        self._next_beat = asyncio.get_running_loop().call_later(self._trust_seconds / 3, self._beat)
        if self._held or self._listener is None:
            return
        self._drain()
        self._trusted_until = monotonic() + self._trust_seconds
        self._listener.trust(self._trusted_until)

    def _lose(self) -> None:
        if self._next_beat is not None:
            self._next_beat.cancel()
        self._inbox.clear()
        if self._connected and self._listener is not None:
            self._connected = False
            self._listener.distrust()
