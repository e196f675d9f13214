"""The backplane's contract: how processes tell each other what their memory must not serve any more.

An invalidation is complete when each process that could serve the old value from its memory has dropped it. So members
acknowledge, and one that cannot be reached is waited out: its own clock ends its trust in its memory, at the latest
TRUST_SECONDS after it last heard from the others.

- A member trusts its memory until TRUST_SECONDS after the moment at which it *sent* the last ping that came back behind
  everything that was announced before.
- Without trust what a member keeps in memory lives UNTRUSTED_SECONDS at most.
- Who announces waits for the acknowledgements of all members, and for max(TRUST_SECONDS, UNTRUSTED_SECONDS) at most.
"""

from dataclasses import dataclass
from typing import Protocol

TRUST_SECONDS = 1.0
UNTRUSTED_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Invalidation:
    """What is not to be served any more.

    Attributes:
      keys: The values under these keys of the second tier.
      tags: The values with one of these tags that were loaded at an earlier version than the one given.
    """

    keys: tuple[str, ...] = ()
    tags: tuple[tuple[str, int], ...] = ()


class Listener(Protocol):
    """What a backplane tells the cache; called in the loop, must not wait."""

    def apply(self, invalidation: Invalidation) -> None:
        """Drop what is invalid; when this returns the backplane acknowledges."""

    def trust(self, until: float) -> None:
        """Believe the memory until then, by `time.monotonic()`."""

    def distrust(self) -> None:
        """The backplane is lost, or what was announced may have been missed: empty the memory."""


class Backplane(Protocol):
    """Carries invalidations to every process that has the same cache.

    Attributes:
      name: For messages and metrics.
    """

    name: str

    async def start(self, listener: Listener) -> None:
        """Join the members and stay one, through reconnects, until `aclose`; return without waiting for the first.

        The listener hears `distrust` at each loss, and `trust` again and again while the backplane stands.
        """

    async def announce(self, invalidation: Invalidation) -> bool:
        """Tell every member, ourselves too, and wait until none of them can serve what is invalid.

        Returns:
          False if it could not be told to the others now; who calls tells it again later.
        Cancellation: what was sent is sent; the others apply it.
        """

    async def aclose(self) -> None:
        """Leave the members, so that nobody waits for us."""
