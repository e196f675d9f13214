"""Idempotent consumers: a group handles a message once, however often it is delivered.

A message is delivered again when its consumer dies or loses its connection before the broker has heard that it was
handled. `once=` remembers the ids of what a group has handled. What that is worth depends on where it is kept:

- `SqlOnce` in the transaction of the effect itself: the effect and the note that it happened are one. Exactly once.
- `MemoryOnce`, `RedisOnce`: the note follows the effect. A process that is killed between the two leaves an effect
  without a note, and the message is handled again when its claim has ended. At least once.

A claim keeps others away while a message is handled, and ends by itself, so that a dead consumer's message is handled
all the same. It carries a token: a consumer whose claim has ended cannot end that of the next one.

Adapters: hasten.events.once; one contract suite (tests/events/once).
"""

import enum
from typing import Protocol

import msgspec

from hasten._core.errors import HastenError


class Standing(enum.Enum):
    """What a group may do with a message."""

    OURS = enum.auto()
    """Handle it: nobody has, and nobody does now."""
    BUSY = enum.auto()
    """Another consumer handles it, or has died doing so: look again later."""
    DONE = enum.auto()
    """It was handled."""


class Claim(msgspec.Struct, frozen=True):
    """The answer to who asks to handle a message.

    Attributes:
      standing: What it may do.
      token: Of this claim alone, if it is ours.
    """

    standing: Standing
    token: str = ""


BUSY = Claim(Standing.BUSY)
DONE = Claim(Standing.DONE)


class AlreadyDone(HastenError):
    """Raised when an effect was noted before, in the transaction that was to have it; roll back, and let it pass."""


class OnceUnavailable(HastenError):
    """Raised when the place where handled messages are remembered does not answer, or refuses; see the reason."""

    exit_code = 3


class Once(Protocol):
    """Remembers what a group has handled.

    When a claim fails the message is retried as if its handler had failed. When a note fails it passes: its effect has
    happened, and to handle it again would have another.
    """

    async def claim(self, group: str, message_id: str) -> Claim:
        """Ask to handle a message; what is claimed is claimed for a while only."""

    async def done(self, group: str, message_id: str, claim: Claim) -> None:
        """Note that a message was handled.

        Also if the claim has ended, since the effect has happened: the next one, if it fails, need not try again.
        """

    async def release(self, group: str, message_id: str, claim: Claim) -> None:
        """Give a claim back: the message was not handled. One that has ended is nobody's to give."""

    async def aclose(self) -> None:
        """Close what it has opened; whoever uses it again opens it again. The bus does so when it is left."""
