"""A backplane between caches of one process and one event loop, for tests: with it a test plays what a network does.

ours, theirs = memory_backplanes(2)
theirs.hold()             # what is announced reaches it late, like a process that is frozen
theirs.cut_off()          # it has lost its connection, and is waited out
theirs.restore()          # it is as it was
"""

import asyncio
from collections import deque
from time import monotonic

from hasten.cache._backplane import TRUST_SECONDS, UNTRUSTED_SECONDS, Backplane, Invalidation, Listener
from hasten.cache.backplanes._announcing import MARGIN_SECONDS, Announcing, Batch


class _Bus:
    """Who is a member; what one announces goes into the inbox of each other one, in one order for all."""

    def __init__(self) -> None:
        self.members: dict[str, MemoryBackplane] = {}

    def publish(self, batch: Batch, by: "MemoryBackplane") -> None:
        for member in self.members.values():
            if member is not by:
                member.receive(batch, by)


def memory_backplanes(
    count: int, *, trust_seconds: float = TRUST_SECONDS, untrusted_seconds: float = UNTRUSTED_SECONDS
) -> "list[MemoryBackplane]":
    """Return so many backplanes that hear each other.

    Args:
      trust_seconds, untrusted_seconds: Instead of the contract's periods, so that a test does not wait.
    """
    bus = _Bus()
    return [
        MemoryBackplane(bus, f"memory {number}", trust_seconds, untrusted_seconds) for number in range(1, count + 1)
    ]


class MemoryBackplane(Backplane):
    """One member of a bus within the process; made by `memory_backplanes`."""

    def __init__(self, bus: _Bus, name: str, trust_seconds: float, untrusted_seconds: float) -> None:
        self.name = name
        self._bus = bus
        self._trust_seconds = trust_seconds
        self._announcing = Announcing(max(trust_seconds, untrusted_seconds) + MARGIN_SECONDS)
        self._listener: Listener | None = None
        self._inbox: deque[tuple[Batch, MemoryBackplane]] = deque()
        self._connected = False
        self._held = False
        self._trusted_until = 0.0
        self._beat: asyncio.TimerHandle | None = None

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
        self._bus.members.pop(self.name, None)
        self._lose()
        self._announcing.fail_all()
        self._inbox.clear()
        self._listener = None

    # ---- what a test does

    def cut_off(self) -> None:
        """Lose the connection: nothing is heard any more, announcing fails; the others wait this member out."""
        self._lose()
        self._inbox.clear()

    def hold(self) -> None:
        """Let nothing through until `restore`: nothing is applied nor acknowledged, and trust runs out."""
        self._held = True

    def restore(self) -> None:
        """Undo `hold` and `cut_off`: apply and acknowledge what was held back, join again what was cut off."""
        self._held = False
        if self._connected:
            self._drain()
        else:
            self._inbox.clear()
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

    def _publish(self) -> None:
        for batch in self._announcing.take_all():
            self._bus.publish(batch, self)
            self._announcing.sent(batch, [name for name in self._bus.members if name != self.name])

    def _drain(self) -> None:
        while self._inbox and self._connected and not self._held and self._listener is not None:
            batch, by = self._inbox.popleft()
            self._listener.apply(batch.invalidation())
            by.acknowledged(batch, self.name)

    # ---- trust

    def _join(self) -> None:
        if self._listener is not None:
            self._connected = True
            self._listener.distrust()
            self._keep_trust()

    def _keep_trust(self) -> None:
        """Trust while the bus is heard, as a ping would show it; distrust when it has not been for too long."""
        now = monotonic()
        if not self._held:
            self._drain()
            self._trusted_until = now + self._trust_seconds
            if self._listener is not None:
                self._listener.trust(self._trusted_until)
        elif now >= self._trusted_until:
            self._lose()
            return
        self._beat = asyncio.get_running_loop().call_later(self._trust_seconds / 3, self._keep_trust)

    def _lose(self) -> None:
        if self._beat is not None:
            self._beat.cancel()
        if self._connected and self._listener is not None:
            self._connected = False
            self._listener.distrust()
