"""The second tier as the cache sees it: quick, or not there.

Each answer takes `timeout` seconds at most. The first one that does not come in time, or fails, opens a breaker: from
then on the cache goes on without the second tier at no cost, until a probe succeeds.
"""

import logging
import time
from collections.abc import Coroutine, Sequence
from typing import Any, Literal, TypeVar

from hasten.cache._payload import Stored, pack, unpack
from hasten.cache._store import UNKNOWN, Lease, Store, StoreError
from hasten.cache._tags import TagTable, Versions
from hasten.resilience import Breaker, DeadlineExceeded, deadline, expired

OnError = Literal["serve", "raise"]
Answer = TypeVar("Answer")
_logger = logging.getLogger("hasten.cache")


class Ill(Exception):
    """Raised when the second tier does not answer, or is not asked because it did not; it never leaves this package."""


class SecondTier:
    """A store with its timeout, its breaker and the tags' versions.

    Args:
      on_error: "serve": whoever asks gets Ill, and goes on without the store; "raise": StoreError.
    Attributes:
      failures: Failures and timeouts of the store.
    """

    def __init__(self, store: Store, tags: TagTable, *, timeout: float, on_error: OnError, breaker: Breaker) -> None:
        self.store = store
        self.breaker = breaker
        self.failures = 0
        self._tags = tags
        self._timeout = timeout
        self._raises = on_error == "raise"

    async def read(self, text: str, tags: tuple[str, ...]) -> Stored | None:
        """Return a value whose tags are current; None if there is none."""
        read = await self._ask(self.store.read(text, tags))
        stored = unpack(read.payload) if read.payload is not None else None
        if stored is None:
            return None
        if stored.tags != tags:
            read = await self._ask(self.store.read(text, stored.tags))
        if UNKNOWN in read.versions or read.versions != stored.versions:
            return None
        return stored if self._tags.are_current(self._tags.learn_all(stored.tags, stored.versions)) else None

    async def lease(self, text: str, seconds: float, tags: Sequence[str]) -> Lease | None:
        """Return the right to load; None while another process has it."""
        lease = await self._ask(self.store.lease(text, seconds, tags))
        if lease is not None:
            self._tags.learn_all(tags, lease.versions)
        return lease

    async def write(self, text: str, stored: Stored, seconds: float, token: bytes) -> bool:
        """Store a value and end its lease; False when the lease had ended."""
        return await self._ask(self.store.write(text, pack(stored), seconds, token))

    async def release(self, text: str, token: bytes) -> None:
        """End a lease without a value."""
        await self._ask(self.store.release(text, token))

    async def invalidate(self, texts: Sequence[str], tags: Sequence[str]) -> Versions:
        """Delete values and raise tags; return the tags with their new versions."""
        return self._tags.learn_all(tags, await self._ask(self.store.invalidate(texts, tags)))

    async def _ask(self, question: Coroutine[Any, Any, Answer]) -> Answer:
        """Return the store's answer, if there is one in time."""
        if not (self.breaker.closed or self.breaker.allows()):
            question.close()
            raise self._ill("it has failed, and is tried again soon")
        began = time.monotonic()
        try:
            async with deadline(self._timeout):
                answer = await question
        except DeadlineExceeded as error:
            if expired():  # the caller's own time is over
                raise
            self.breaker.timed_out()
            raise self._failed(f"no answer within {self._timeout:g} s") from error
        except StoreError as error:
            self.breaker.failed()
            raise self._failed(error.reason) from error
        self.breaker.succeeded(time.monotonic() - began)
        return answer

    def _failed(self, reason: str) -> Exception:
        self.failures += 1
        _logger.warning("%s: %s", self.store.name, reason)
        return self._ill(reason)

    def _ill(self, reason: str) -> Exception:
        return StoreError(self.store.name, reason) if self._raises else Ill(reason)


def versions_of(stored: Stored) -> Versions:
    """Return a stored value's tags with their versions."""
    return tuple(zip(stored.tags, stored.versions, strict=True))
