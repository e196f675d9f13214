"""What the regions of a cache share: the tiers, the tags, the backplane, and how an invalidation goes through them all.

An invalidation drops the values here, then in the second tier, then in every process; only then is it complete. What
the second tier or the others could not be told is kept and told again, and nothing that is pending is read from the
second tier meanwhile.
"""

import asyncio
import contextlib
import contextvars
import dataclasses
import itertools
import logging
import math
import random
import time
from collections.abc import Collection, Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from hasten._core.ambient import AMBIENT
from hasten._core.errors import ConfigurationError
from hasten._core.signals import CacheHook, CacheLoaded
from hasten.cache._backplane import Backplane, Invalidation
from hasten.cache._memory import Memory
from hasten.cache._second import Ill, SecondTier
from hasten.cache._statistics import CacheStatistics
from hasten.cache._store import UNKNOWN, StoreError
from hasten.cache._tags import TagTable

if TYPE_CHECKING:
    from hasten.cache._region import Region

Result = TypeVar("Result")
_FIRST_RETRY, _LAST_RETRY = 0.05, 1.0  # seconds between tries to tell what is pending
_MOST_AT_ONCE = 1000
_LAST_WORDS = 5.0  # seconds for loads and writes under way when the cache is closed
_logger = logging.getLogger("hasten.cache")


class Core:
    """The state of one cache, and the listener of its backplane.

    Attributes:
      keeps: The memory takes values: what makes them invalid will be heard.
      lives_shortly: Nobody tells us what other processes make invalid, so the memory keeps values for a second only:
        there is no backplane, or it is away for everybody and we are alone.
      load_slots: Bounds the loaders that run at once; None without a bound.
    """

    def __init__(
        self,
        memory: Memory,
        tags: TagTable,
        second: SecondTier | None,
        backplane: Backplane | None,
        load_slots: asyncio.Semaphore | None,
        hooks: Iterable[CacheHook] = (),
    ) -> None:
        self.memory = memory
        self.tags = tags
        # What is loaded from now on carries the newer versions: it must not be made of values of the older ones.
        tags.on_newer = lambda newer: self._drop((), newer)
        self.second = second
        if second is not None:
            second.spawn = self.spawn
        self.backplane = backplane
        self.load_slots = load_slots
        self.hooks = list(hooks)
        self.keeps = backplane is None
        self.lives_shortly = second is not None and backplane is None
        memory.trusted_until = math.inf if backplane is None else -math.inf
        self.regions: dict[str, Region[Any]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._pending: dict[tuple[str, str], object] = {}
        self._telling: asyncio.Task[None] | None = None
        self._starting: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    # ---- invalidation

    async def invalidate(self, texts: Sequence[str], tags: Sequence[str]) -> bool:
        """Make values invalid by their keys in the second tier and by their tags; see `Cache.invalidate_tags`."""
        self._renew(texts, tags)
        if self.second is None and self.backplane is None:
            return True
        # A task of its own: who commits a change and is cancelled then must not leave the old value behind.
        return await asyncio.shield(self.spawn(self._tell_or_keep(tuple(texts), tuple(tags))))

    async def _tell_or_keep(self, texts: tuple[str, ...], tags: tuple[str, ...]) -> bool:
        try:
            if await self._tell(texts, tags):
                return self.backplane is not None  # without one, others serve it for UNTRUSTED_SECONDS at most
        except StoreError:
            self._keep_pending(texts, tags)
            raise
        self._keep_pending(texts, tags)
        return False

    async def _tell(self, texts: tuple[str, ...], tags: tuple[str, ...]) -> bool:
        """Tell the second tier and the other processes; return whether they know."""
        self.start()
        if self.second is None:
            return await self.announce(Invalidation(texts, tuple((tag, UNKNOWN) for tag in tags)))
        try:
            versions = await self.second.invalidate(texts, tags)
        except Ill:
            return False
        return await self.announce(Invalidation(texts, versions))

    async def announce(self, invalidation: Invalidation) -> bool:
        """Drop in every process what the second tier does not have any more; return whether they were told."""
        if self.backplane is None:
            self.apply(invalidation)
            return True
        if self._starting is not None and not self._starting.done():
            await asyncio.wait([self._starting])
        announced = await self.backplane.announce(invalidation)  # which applies it here first
        self.apply(invalidation)  # loads that began between may have read the old value
        return announced

    def _keep_pending(self, texts: Sequence[str], tags: Sequence[str]) -> None:
        """Tell later; what was read meanwhile is dropped."""
        token = object()
        self._pending.update(
            dict.fromkeys([*(("text", text) for text in texts), *(("tag", tag) for tag in tags)], token)
        )
        self._renew(texts, tags)
        if self._telling is None:
            self._telling = self.spawn(self._tell_again())

    async def _tell_again(self) -> None:
        pause = _FIRST_RETRY
        try:
            while self._pending:
                await asyncio.sleep(pause * random.uniform(0.5, 1.5))
                pause = min(2 * pause, _LAST_RETRY)
                some = dict(itertools.islice(self._pending.items(), _MOST_AT_ONCE))
                texts = tuple(name for kind, name in some if kind == "text")
                tags = tuple(name for kind, name in some if kind == "tag")
                with contextlib.suppress(StoreError):
                    if await self._tell(texts, tags):
                        self._forget_pending(some)
                        pause = _FIRST_RETRY
        finally:
            self._telling = None

    def _forget_pending(self, told: dict[tuple[str, str], object]) -> None:
        for name, token in told.items():
            if self._pending.get(name) is token:  # not asked for again meanwhile
                del self._pending[name]

    def is_pending(self, text: str, tags: Sequence[str]) -> bool:
        """Whether the second tier may hold what is invalid."""
        if not self._pending:
            return False
        return ("text", text) in self._pending or any(("tag", tag) in self._pending for tag in tags)

    def _renew(self, texts: Collection[str], tags: Collection[str]) -> None:
        """Drop here what is invalid, without knowing the tags' new versions."""
        for tag in tags:
            self.tags.renew(tag)
        self._drop(texts, tags)

    def _drop(self, texts: Collection[str], tags: Collection[str]) -> None:
        if tags:
            self.memory.epoch = object()
        texts = frozenset(texts)
        for region in self.regions.values():
            region.apply(texts, tags)

    # ---- Listener

    def apply(self, invalidation: Invalidation) -> None:
        for tag, version in invalidation.tags:
            if version == UNKNOWN:  # without a second tier tags have versions of each process's own
                self.tags.renew(tag)
            else:
                self.tags.learn(tag, version)
        self._drop(invalidation.keys, [tag for tag, _ in invalidation.tags])

    def trust(self, until: float) -> None:
        self.keeps = True
        self.memory.trusted_until = until

    def distrust(self) -> None:
        self.keeps = self.lives_shortly = False
        self.memory.trusted_until = -math.inf
        self._forget()

    def alone(self, until: float) -> None:
        if not self.lives_shortly or time.monotonic() >= self.memory.trusted_until:
            self._forget()  # also what loads that began before would keep
        self.keeps = self.lives_shortly = True
        self.memory.trusted_until = until

    @property
    def trusted(self) -> bool:
        """Whether what is here may be served: nothing that makes it invalid was missed."""
        return not self.lives_shortly and time.monotonic() < self.memory.trusted_until

    def _forget(self) -> None:
        self.memory.clear()
        for region in self.regions.values():
            region.detach_all()

    # ---- tasks

    def start(self) -> None:
        """Join the backplane, in the loop of the first use.

        Raises:
          ConfigurationError: this is another loop; connections belong to the one that they were made in.
        """
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return
        if self._loop is not None and (self.second is not None or self.backplane is not None):
            raise ConfigurationError("cache", "is used in a second event loop", "make a Cache in each, or use one loop")
        self._loop = loop
        if self.backplane is not None:
            self._starting = self.spawn(self.backplane.start(self))

    def spawn(self, work: Coroutine[Any, Any, Result]) -> "asyncio.Task[Result]":
        """Run something that no caller's cancellation or deadline ends."""
        context = contextvars.copy_context()
        context.run(AMBIENT.set, None)
        task = asyncio.get_running_loop().create_task(work, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def tell(self, signal: CacheLoaded) -> None:
        """Hand a signal to the hooks."""
        for hook in self.hooks:
            try:
                hook(signal)
            except Exception as error:
                asyncio.get_running_loop().call_exception_handler(
                    {"message": "hasten.cache: a hook raised", "exception": error}
                )

    def statistics(self) -> CacheStatistics:
        """Return what has happened until now, in any thread."""
        return CacheStatistics(
            regions={name: dataclasses.replace(region.counts) for name, region in list(self.regions.items())},
            entries=len(self.memory),
            size_bytes=self.memory.size_bytes,
            evicted=self.memory.evicted,
            tags=len(self.tags),
            second="" if self.second is None else self.second.store.name,
            second_failures=0 if self.second is None else self.second.failures,
            pending=len(self._pending),
            trusted=self.trusted,
        )

    def log_failure(self, region: str, error: BaseException | None) -> None:
        """Say what failed where nobody is there to be told."""
        _logger.warning("%s: %s: %s", region, type(error).__name__, error)

    async def aclose(self) -> None:
        """Let writes and invalidations under way end, leave the backplane, close the second tier."""
        if self._telling is not None:
            self._telling.cancel()
        if self._pending:
            count = len(self._pending)
            _logger.warning("%d invalidations could not be told to the second tier and to other processes", count)
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=_LAST_WORDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self.backplane is not None:
            await self.backplane.aclose()
        if self.second is not None:
            await self.second.store.aclose()
        self._forget()
        self._loop = None
