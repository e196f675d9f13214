"""Idempotent consumers: a group handles a message once, however often it is delivered.

A message is delivered again when its consumer dies or loses its connection before the broker has heard that it was
handled. `once=` remembers the ids of what a group has handled. What that is worth depends on where it is kept:

- `SqlOnce` in the transaction of the effect itself: the effect and the note that it happened are one. Exactly once.
- `MemoryOnce`, `RedisOnce`: the note follows the effect. A process that is killed between the two leaves an effect
  without a note, and the message is handled again when its claim has ended.

Adapters: hasten.events.once; one contract suite (tests/events/once).
"""

import enum
from typing import Protocol

from hasten._core.errors import HastenError


class Claim(enum.Enum):
    """What a group may do with a message."""

    OURS = enum.auto()
    """Handle it: nobody has, and nobody does now."""
    BUSY = enum.auto()
    """Another consumer handles it, or has died doing so: look again later."""
    DONE = enum.auto()
    """It was handled."""


class AlreadyDone(HastenError):
    """Raised when an effect was noted before, in the transaction that was to have it; roll back, and let it pass."""


class Once(Protocol):
    """Remembers what a group has handled.

    Errors of the place where it remembers are the caller's: the message is then retried as if its handler had failed.
    """

    async def claim(self, group: str, message_id: str) -> Claim:
        """Ask to handle a message; what is claimed is claimed for a while only."""

    async def done(self, group: str, message_id: str) -> None:
        """Note that a message was handled."""

    async def release(self, group: str, message_id: str) -> None:
        """Give a claim back: the message was not handled."""
