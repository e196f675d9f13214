"""A second tier in this process: for tests of what uses one, and the model of the contract."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hasten.cache._store import UNKNOWN, Lease, Read, Store


@dataclass(frozen=True, slots=True)
class _Kept:
    """Bytes, and when they end by the store's clock."""

    data: bytes
    ends: float


class MemoryStore(Store):
    """Values, leases and tags in dicts; share one object between caches, as processes share a server.

    It is not bounded, and `aclose` leaves everything as it is, for the other caches that have it.

    Args:
      clock: Seconds since the epoch; a test may move it.
    """

    name = "memory"
    timeout = math.inf  # it answers at once

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._values: dict[str, _Kept] = {}
        self._leases: dict[str, _Kept] = {}
        self._versions: dict[str, int] = {}
        self._tokens = 0

    async def read(self, key: str, tags: Sequence[str] = ()) -> Read:
        kept = self._alive(self._values, key)
        return Read(kept.data if kept else None, tuple(self._versions.get(tag, UNKNOWN) for tag in tags))

    async def lease(self, key: str, seconds: float, tags: Sequence[str] = ()) -> Lease | None:
        if self._alive(self._leases, key):
            return None
        self._tokens += 1
        token = b"%d" % self._tokens
        self._leases[key] = _Kept(token, self._clock() + seconds)
        return Lease(token, tuple(self._versions[tag] if tag in self._versions else self._raise(tag) for tag in tags))

    async def write(self, key: str, payload: bytes, seconds: float, token: bytes | None = None) -> bool:
        if token is not None and not self._holds(key, token):
            return False
        self._values[key] = _Kept(payload, self._clock() + seconds)
        self._leases.pop(key, None)
        return True

    async def release(self, key: str, token: bytes) -> None:
        if self._holds(key, token):
            del self._leases[key]

    async def invalidate(self, keys: Sequence[str] = (), tags: Sequence[str] = ()) -> tuple[int, ...]:
        for key in keys:
            self._values.pop(key, None)
            self._leases.pop(key, None)
        raised = {tag: self._raise(tag) for tag in dict.fromkeys(tags)}
        return tuple(raised[tag] for tag in tags)

    async def aclose(self) -> None:
        """Do nothing: there are no connections."""

    def lose_everything(self) -> None:
        """Forget values, leases and versions, like a server that has lost its memory."""
        self._values.clear()
        self._leases.clear()
        self._versions.clear()

    def _alive(self, kept: dict[str, _Kept], key: str) -> _Kept | None:
        """Return what is kept under a key; what has ended is dropped."""
        one = kept.get(key)
        if one is not None and self._clock() >= one.ends:
            del kept[key]
            return None
        return one

    def _holds(self, key: str, token: bytes) -> bool:
        lease = self._alive(self._leases, key)
        return lease is not None and lease.data == token

    def _raise(self, tag: str) -> int:
        """Give a tag a version above every earlier one, also of those that were lost."""
        version = max(self._versions.get(tag, UNKNOWN) + 1, int(self._clock() * 1e6))
        self._versions[tag] = version
        return version
