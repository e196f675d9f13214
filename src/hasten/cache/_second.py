"""The second tier as the cache sees it: quick, or not there.

Each answer takes `timeout` seconds at most, and no more than half of what the caller's deadline leaves: the rest is for
the loader. The first one that does not come in time, or fails, opens a breaker: from then on the cache goes on without
the second tier at no cost, until a probe succeeds. The probe is a read of our own, or an invalidation: no reader waits
for it.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Literal, ParamSpec, TypeVar

from hasten._core.ambient import AMBIENT
from hasten.cache._payload import Stored, pack, unpack
from hasten.cache._store import UNKNOWN, Lease, Read, Store, StoreError, StoreTimeout, TooLarge
from hasten.cache._tags import TagTable, Versions
from hasten.resilience import Breaker, DeadlineExceeded, deadline, expired, remaining

OnError = Literal["serve", "raise"]
Answer = TypeVar("Answer")
Arguments = ParamSpec("Arguments")
_ENOUGH = 0.25  # part of the timeout after which a missing answer says that the store is ill
_HELD = 1.5  # times its seconds, after which a timeout shows that the loop was held up: the answer may lie unread
_logger = logging.getLogger("hasten.cache")


class Ill(Exception):
    """Raised when the second tier does not answer, or is not asked because it did not; it never leaves this package."""


class SecondTier:
    """A store with its timeout, its breaker and the tags' versions.

    Args:
      on_error: "serve": whoever asks gets Ill, and goes on without the store; "raise": StoreError.
    Attributes:
      failures: Failures and timeouts of the store.
      spawn: Runs a probe as a task.
    """

    def __init__(self, store: Store, tags: TagTable, *, timeout: float, on_error: OnError, breaker: Breaker) -> None:
        self.store = store
        self.breaker = breaker
        self.failures = 0
        self.spawn: Callable[[Coroutine[Any, Any, None]], object] = asyncio.create_task
        self._tags = tags
        self._timeout = store.timeout = timeout
        self._raises = on_error == "raise"

    def is_quick(self, now: float) -> bool:
        """Whether the store itself ends a read in time: it is well, and no caller's deadline comes before its own.

        Who reads may then await the store's own `read`, which costs 2 µs less than ours, and hand its answer to
        `answered`, or its StoreError to `failed`.
        """
        ambient = AMBIENT.get()
        return self.breaker.closed and (ambient is None or ambient.deadline - now >= 2.0 * self._timeout)

    async def read(self, text: str, tags: tuple[str, ...]) -> Stored | None:
        """Return a value whose tags are current; None if there is none."""
        read = await self._ask(self.store.read, text, tags)
        stored = None if read.payload is None else unpack(read.payload)
        if stored is None or not (tags or stored.tags):
            return stored
        return await self.believed(text, tags, stored, read.versions)

    def answered(self, read: Read, began: float) -> Stored | None:
        """Return what the store's answer has, if it is one of `is_quick`."""
        self.breaker.succeeded(time.monotonic() - began)
        return None if read.payload is None else unpack(read.payload)

    async def believed(
        self, text: str, tags: tuple[str, ...], stored: Stored, versions: tuple[int, ...]
    ) -> Stored | None:
        """Return a value that was read with tags of these versions, if it has these tags, and they are current.

        What has other tags is looked at once more.
        """
        if stored.tags != tags:
            versions = (await self._ask(self.store.read, text, stored.tags)).versions
        if not stored.tags:
            return stored
        if UNKNOWN in versions or versions != stored.versions:
            return None
        return stored if self._tags.are_current(self._tags.learn_all(stored.tags, stored.versions)) else None

    async def lease(self, text: str, seconds: float, tags: Sequence[str]) -> Lease | None:
        """Return the right to load; None while another process has it."""
        lease = await self._ask(self.store.lease, text, seconds, tags)
        if lease is not None:
            self._tags.learn_all(tags, lease.versions)
        return lease

    async def write(self, text: str, stored: Stored, seconds: float, token: bytes) -> bool:
        """Store a value and end its lease; False when the lease had ended."""
        return await self._ask(self.store.write, text, pack(stored), seconds, token)

    async def release(self, text: str, token: bytes) -> None:
        """End a lease without a value, also while the store is ill: others would wait until it ends by itself."""
        async with deadline(self._timeout):
            await self.store.release(text, token)

    async def invalidate(self, texts: Sequence[str], tags: Sequence[str]) -> Versions:
        """Delete values and raise tags; return the tags with their new versions."""
        return self._tags.learn_all(tags, await self._ask(self.store.invalidate, texts, tags))

    async def _ask(
        self, method: Callable[Arguments, Awaitable[Answer]], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Answer:
        """Return the store's answer, if there is one in time."""
        self._check_breaker(args[0])
        began, seconds = time.monotonic(), min(self._timeout, 0.5 * remaining())
        try:
            async with deadline(seconds):
                answer = await method(*args, **kwargs)
        except DeadlineExceeded as error:
            if expired():  # the caller's own time is over
                raise
            was_held_up = time.monotonic() - began > _HELD * seconds
            late = StoreTimeout(self.store.name, f"no answer within {seconds:.3g} s")
            raise self.failed(late, blames=seconds >= _ENOUGH * self._timeout and not was_held_up) from error
        except StoreError as error:
            raise self.failed(error, blames=not isinstance(error, TooLarge)) from error
        self.breaker.succeeded(time.monotonic() - began)
        return answer

    def failed(self, error: StoreError, *, blames: bool = True) -> Exception:
        """Note a failure, which says that the store is ill or `blames` it for nothing; return what to raise."""
        self.failures += 1
        level = logging.WARNING if self.breaker.closed else logging.DEBUG  # many fail together: the first one says it
        _logger.log(level, "%s: %s", self.store.name, error.reason)
        if blames and isinstance(error, StoreTimeout):
            self.breaker.timed_out()
        elif blames:
            self.breaker.failed()
        return error if self._raises else Ill(error.reason)

    def _check_breaker(self, asked: object) -> None:
        if self.breaker.closed:
            return
        if self.breaker.allows():
            if not isinstance(asked, str):  # an invalidation, which is to be told as soon as may be
                return
            self.spawn(self._probe(asked))
        reason = "it has failed, and is tried again soon"
        raise StoreError(self.store.name, reason) if self._raises else Ill(reason)

    async def _probe(self, text: str) -> None:
        """Read something for nobody, and note whether the store is well again."""
        began = time.monotonic()
        try:
            await self.store.read(text)
        except StoreError as error:
            self.failed(error)
        else:
            self.breaker.succeeded(time.monotonic() - began)


def versions_of(stored: Stored) -> Versions:
    """Return a stored value's tags with their versions."""
    return tuple(zip(stored.tags, stored.versions, strict=True))
