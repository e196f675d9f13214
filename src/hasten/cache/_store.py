"""The second tier's contract: bytes under keys, versions of tags, and leases that fence late writers off.

How the parts keep a value from being served after it was invalidated:

- A tag has a version, which each invalidation raises. A value is stored with its tags' versions as they stood before it
  was loaded, so a load that an invalidation has overtaken leaves a value that no reader takes.
- Whoever loads holds the key's lease, one in the cluster. Invalidating a key ends the lease with the value, and a
  writer whose lease has ended writes nothing.

Adapters: hasten.cache.stores. All of them pass one contract suite (tests/cache/stores).
"""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from hasten._core.errors import HastenError

UNKNOWN = 0
"""The version of a tag that the store does not have: no stored value with this tag is to be believed."""


class StoreError(HastenError):
    """Raised when a second tier fails to do its work: refused, cut off, out of memory; the cache goes on without it.

    Args:
      store: The store's name.
      reason: What it said.
    """

    def __init__(self, store: str, reason: str) -> None:
        super().__init__(f"{store}: {reason}")
        self.store = store
        self.reason = reason


class StoreTimeout(StoreError):
    """Raised when a second tier has not answered in time: it is frozen, overloaded, or out of reach."""


class TooLarge(StoreError):
    """Raised for a value that is larger than the second tier takes; it is well otherwise."""


class Read(msgspec.Struct, frozen=True, gc=False):
    """What a store has under a key.

    Attributes:
      payload: The value's bytes; None if there is none.
      versions: Of the tags that were asked for, in their order; UNKNOWN for those that the store does not have.
    """

    payload: bytes | None
    versions: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to load a key and to write it.

    Attributes:
      token: What `write` proves it with; unlike any other lease's.
      versions: Of the tags that were asked for, at a moment before the load: to be stored with the value.
    """

    token: bytes
    versions: tuple[int, ...] = ()


class Store(Protocol):
    """A second tier: shared by processes, no part of anybody's memory.

    Keys and tags are text of at most 200 printable ASCII characters without spaces. Versions grow: of two versions of a
    tag the larger one is the later one, also after the store has lost its data. Methods raise StoreError when the
    store fails, and let CancelledError pass; a call that is cancelled leaves the connection fit for others.

    Attributes:
      name: For messages and metrics: `redis localhost:6379`.
      timeout: Seconds in which `read` answers or raises StoreTimeout; the cache that has the store sets its own. The
        other methods are ended by the cache.
    """

    name: str
    timeout: float

    def read(self, key: str, tags: Sequence[str] = ()) -> Awaitable[Read]:
        """Return a key's value and the versions of tags; reads of one pass of the loop share a round trip.

        A plain function where an adapter can: a coroutine more would be a tenth of what such a read costs.
        """

    async def lease(self, key: str, seconds: float, tags: Sequence[str] = ()) -> Lease | None:
        """Return the right to load a key for so many seconds; None while another holds it.

        The versions are taken after the lease; tags that the store does not have get one that was never theirs.
        """

    async def write(self, key: str, payload: bytes, seconds: float, token: bytes | None = None) -> bool:
        """Store a value for so many seconds, and end its lease.

        Args:
          token: Of the lease under which it was loaded; without one the value is stored whatever was before, and ends
            a lease that somebody holds.
        Returns:
          Whether it was stored; False if the lease has ended, or the key was invalidated or written meanwhile.
        Raises:
          TooLarge: the value is larger than the store takes; the lease has ended.
        """

    async def release(self, key: str, token: bytes) -> None:
        """End a lease without a value, if it is still held: the next one may load."""

    async def invalidate(self, keys: Sequence[str] = (), tags: Sequence[str] = ()) -> tuple[int, ...]:
        """Delete values and their leases, and raise tags' versions; return the new versions, in the tags' order.

        When it returns, no later `read` gives one of these values, and no earlier lease writes one.
        """

    async def aclose(self) -> None:
        """Close the connections."""
