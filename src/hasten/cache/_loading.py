"""One load, step by step: the second tier, its lease, the loader, and what is kept of it where."""

import enum
import math
import random
import time
from collections.abc import Awaitable, Callable, Collection, Hashable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from hasten._core.errors import HastenError
from hasten._core.signals import CacheLoaded
from hasten.cache._backplane import UNTRUSTED_SECONDS, Invalidation
from hasten.cache._codec import CodecError
from hasten.cache._entry import Entry
from hasten.cache._flight import Flight, LeaderGone, NotShared
from hasten.cache._payload import Stored
from hasten.cache._policy import Loaded, Policy
from hasten.cache._second import Ill, SecondTier, versions_of
from hasten.cache._store import Lease, StoreError
from hasten.cache._tags import Versions, plain_tags
from hasten.resilience import DeadlineExceeded, deadline, expired

if TYPE_CHECKING:
    from hasten.cache._region import Region

V = TypeVar("V")


class Nothing(enum.Enum):
    """What there is in the place of a value, of which None is one."""

    NOTHING = enum.auto()


NOTHING: Literal[Nothing.NOTHING] = Nothing.NOTHING

_FIRST_LOOK, _LATER_LOOKS = 0.002, 0.05  # seconds between looks for the value that another process loads
_EARLIEST = 0.5  # part of its life in which a value is never refreshed ahead


class LoadTimeout(HastenError, TimeoutError):
    """Raised when a loader took longer than its policy's `hard_timeout`; the source is slow, or the bound too tight."""

    exit_code = 3

    def __init__(self, region: str, seconds: float) -> None:
        super().__init__(f"{region}: not loaded within {seconds:g} s")
        self.region = region
        self.seconds = seconds

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.region, self.seconds)


class Life(msgspec.Struct, frozen=True, gc=False):
    """The moments of a value by `time.monotonic()`, see `Entry`; `stamp` is when its load began, by `time.time()`."""

    stamp: float
    fresh_until: float
    stale_until: float
    error_until: float


class Loading(Flight[V]):
    """A load of one key for one caller, and for those who follow it if it leads.

    Args:
      newer_than: `Entry.stamp` of the value that is to be renewed: one of the second tier must be younger.
      forced: The second tier's value does not count.
    """

    def __init__(
        self,
        region: "Region[V]",
        key: Hashable,
        loader: Callable[[], Awaitable[V | Loaded[V]]],
        tags: Collection[str],
        policy: Policy,
        *,
        newer_than: float | None = None,
        forced: bool = False,
    ) -> None:
        self.region_name = region.name
        self.text = region.second_text_of(key)
        self._region = region
        self._loader = loader
        self.policy = policy
        self.key = key
        if region.found_tags and (found := region.found_tags.get(key)):
            tags = dict.fromkeys((*tags, *found))
        self.tags = plain_tags(tags) if tags else ()
        self.newer_than = newer_than
        self.forced = forced

    async def lead(self) -> V:
        """Load for all who want the key: return the value, kept where it may be, and tell the followers.

        The second tier's first answer is awaited here: a coroutine more would cost 0.3 µs of 9.
        """
        region = self._region
        core, second, flights = region.core, region.second, region.flights
        flights[self.key] = self
        self.began = began = time.monotonic()  # not before: it may have followed another one that long
        try:
            core.start()
            if second is None:
                return await self._from_source(lives_shortly=False)
            try:
                if core.is_pending(self.text, self.tags) or not second.is_quick(began):
                    stored = await self._read(second)
                else:
                    try:
                        read = await second.store.read(self.text, self.tags)
                    except StoreError as error:
                        raise second.failed(error) from error
                    stored = second.answered(read, began)
                    if stored is not None and (stored.tags or self.tags):
                        stored = await second.believed(self.text, self.tags, stored, read.versions)
                value = self._served(stored, began)
                return await self._by_lease(second, stored) if value is NOTHING else value
            except Ill:
                return await self._from_source(lives_shortly=True)
        except Exception as error:
            # A leader whose own time was over says nothing about the time that its followers have.
            self.fail(LeaderGone() if isinstance(error, DeadlineExceeded) and expired() else error)
            raise
        except BaseException:
            self.fail(LeaderGone())
            raise
        finally:
            if flights.get(self.key) is self:
                del flights[self.key]

    async def look(self) -> V | Nothing:
        """Return the second tier's value, fresh or stale, kept in memory."""
        self._region.core.start()
        second = self._region.second
        if second is None:
            return NOTHING
        began = time.monotonic()
        with suppress(Ill):
            stored = await self._read(second)
            wall = time.time()
            if stored is not None and wall < stored.stale_until:
                return self._take(stored, began, wall)
        return NOTHING

    async def put(self, value: V | Loaded[V]) -> bool:
        """Keep a value without a load, in the place of what every process has; return whether every process knows."""
        region, loaded = self._region, _loaded(value)
        self.tags = tuple(dict.fromkeys((*self.tags, *plain_tags(loaded.tags))))
        region.core.start()
        region.drop([self.key])
        if region.second is None:
            told = await region.core.invalidate([self.text], ())  # the others' own values
            self._finish(loaded, time.monotonic(), region.core.tags.of(self.tags), lives_shortly=False)
            return told
        try:
            await self._put_through(region.second, loaded)
            told = await region.core.announce(Invalidation((self.text,)))
        except Ill:
            told = False
        region.drop([self.key])
        if not told:
            await region.core.invalidate([self.text], ())  # told later, too
        return told and region.core.backplane is not None

    async def _put_through(self, second: SecondTier, loaded: Loaded[V]) -> None:
        """Write a value to the second tier, whatever is there."""
        began = time.monotonic()
        life = self._life(loaded, began, began)
        data = self._region.encode(loaded.value)
        while (lease := await second.lease(self.text, self.policy.lease, self.tags)) is None:
            await second.invalidate([self.text], ())  # ends the lease of who loads
        stored = _stored(data, life, 0.0, self.tags, lease.versions)
        # One that is refused was overtaken by another change, and is as if it had come before that.
        await second.write(self.text, stored, life.error_until - began, lease.token)

    async def alone(self) -> V:
        """Load for one caller, as if there were no cache."""
        return _loaded(await self._call()).value

    # ---- the source

    async def _call(self) -> V | Loaded[V]:
        """Call the loader, within its time and the bound on loads."""
        counts, slots = self._region.counts, self._region.core.load_slots
        began, ok = time.monotonic(), False
        counts.loads += 1
        try:
            if slots is None:
                result = await self._call_in_time()
            else:
                async with slots:
                    result = await self._call_in_time()
            ok = True
            return result
        finally:
            counts.load_errors += not ok
            counts.load_seconds += time.monotonic() - began
            self._tell("loader", began, ok=ok)

    def _tell(self, source: Literal["second", "loader"], began: float, *, ok: bool) -> None:
        core = self._region.core
        if core.hooks:
            core.tell(CacheLoaded(self._region.name, source, ok, time.monotonic() - began))

    async def _call_in_time(self) -> V | Loaded[V]:
        timeout = self.policy.hard_timeout
        if timeout == math.inf:
            return await self._loader()
        try:
            async with deadline(timeout):
                return await self._loader()
        except DeadlineExceeded as error:
            if expired():  # the caller's own time is over
                raise
            raise LoadTimeout(self._region.name, timeout) from error

    async def _from_source(self, *, lives_shortly: bool) -> V:
        """Load without the second tier."""
        core = self._region.core
        self.versions = versions = core.tags.of(self.tags)
        began = time.monotonic()
        loaded = _loaded(await self._call())
        extra = [tag for tag in plain_tags(loaded.tags) if tag not in self.tags]
        if extra:
            self.found = frozenset(extra)
            self.detached |= not self.overtaken_by.isdisjoint(extra)
            versions += core.tags.of(extra)
        self._finish(loaded, began, versions, lives_shortly=lives_shortly)
        return loaded.value

    # ---- the second tier

    async def _read(self, second: SecondTier) -> Stored | None:
        if self._region.core.is_pending(self.text, self.tags):
            raise Ill("it has what is invalid")
        return await second.read(self.text, self.tags)

    async def _by_lease(self, second: SecondTier, stored: Stored | None) -> V:
        """Load under the key's lease, or take what the process has loaded that holds it.

        Args:
          stored: What the second tier has, which will not do.
        """
        give_up = time.monotonic() + self.policy.lease
        pause = _FIRST_LOOK
        while True:
            lease = await second.lease(self.text, self.policy.lease, self.tags)
            if lease is not None:
                return await self._load_or_take(second, lease, stored)
            if time.monotonic() > give_up:
                raise Ill("the lease is kept for too long")
            await self.pause(pause * random.uniform(0.5, 1.5))
            pause = min(2 * pause, _LATER_LOOKS)
            began = time.monotonic()
            stored = await self._read(second)
            value = self._served(stored, began)
            if value is not NOTHING:
                return value

    def _served(self, stored: Stored | None, began: float) -> V | Nothing:
        """Keep and return what the second tier has, if it will do; what is stale is renewed behind."""
        if stored is None or self.forced:
            return NOTHING
        wall = time.time()
        if self.newer_than is None:
            if wall >= stored.stale_until:
                return NOTHING
        elif wall >= stored.fresh_until or stored.loaded_at <= self.newer_than:
            return NOTHING
        value = self._take(stored, began, wall)
        if wall >= stored.fresh_until and value is not NOTHING:
            self._region.renew_behind(self.key, self._loader, self.tags, self.policy, stored.loaded_at)
        return value

    async def _load_or_take(self, second: SecondTier, lease: Lease, stored: Stored | None) -> V:
        """Load under a lease, unless another process has written between our read and the lease."""
        began = time.monotonic()
        if not self.forced:
            try:
                stored = await second.read(self.text, self.tags)
            except BaseException:
                self._region.core.spawn(self._release(second, lease))
                raise
            value = self._served(stored, began)
            if value is not NOTHING:
                self._region.core.spawn(self._release(second, lease))
                return value
        return await self._under_lease(second, lease, stored)

    async def _under_lease(self, second: SecondTier, lease: Lease, stored: Stored | None) -> V:
        core, began = self._region.core, time.monotonic()
        self.versions = versions = tuple(zip(self.tags, lease.versions, strict=True))
        try:
            loaded = _loaded(await self._call())
        except BaseException as error:
            core.spawn(self._release(second, lease))
            wall = time.time()
            if isinstance(error, Exception) and stored is not None and wall < stored.error_until:
                self.found = frozenset(stored.tags)
                value = self._take(stored, began, wall)
                if value is not NOTHING:
                    self._region.counts.stale_on_error += 1
                    core.log_failure(self._region.name, error)
                    return value
            raise
        found = plain_tags(loaded.tags)
        are_known = set(found) <= set(self.tags)
        if not are_known:
            # Their versions from before the load are not known: an invalidation may have come between. Next time.
            self._region.remember_tags(self.key, found, self.tags)
            self.found = frozenset(found)
            self.detached = True
        life = self._finish(loaded, began, versions, lives_shortly=False)
        data = self._encoded(loaded.value) if are_known and life is not None else None
        if data is None or life is None:
            core.spawn(self._release(second, lease))
        else:  # also if it was overtaken: the lease and the versions fence off what is not to be written
            core.spawn(self._pass_on(second, lease, data, life, time.monotonic() - began))
        return loaded.value

    def _encoded(self, value: V) -> bytes | None:
        """Return a value's bytes, made before the caller may change it; None if it has none."""
        try:
            return self._region.encode(value)
        except CodecError as error:
            self._region.core.log_failure(self._region.name, error)
            return None

    async def _pass_on(self, second: SecondTier, lease: Lease, data: bytes, life: Life, load_seconds: float) -> None:
        """Write a loaded value to the second tier."""
        stored = _stored(data, life, load_seconds, self.tags, lease.versions)
        try:
            await second.write(self.text, stored, life.error_until - time.monotonic(), lease.token)
        except (Ill, StoreError):  # the caller has its value
            await self._release(second, lease)

    async def _release(self, second: SecondTier, lease: Lease) -> None:
        with suppress(DeadlineExceeded, StoreError):  # it ends by itself
            await second.release(self.text, lease.token)

    def _take(self, stored: Stored, began: float, wall: float) -> V | Nothing:
        """Return a value of the second tier, kept in memory; NOTHING if it is invalid or means nothing any more.

        Args:
          began: Before it was asked for, by `time.monotonic()`.
          wall: Now, by `time.time()`.
        """
        region = self._region
        core = region.core
        if stored.tags and core.is_pending(self.text, stored.tags):  # by a tag that we have just learned from it
            return NOTHING
        try:
            value = region.decode(stored.data)
        except CodecError as error:
            core.log_failure(region.name, error)
            return NOTHING
        region.counts.second_hits += 1
        if core.hooks:
            self._tell("second", began, ok=True)
        if core.keeps and region.memory.max_entries:
            self._keep_stored(stored, value, began, wall)
        self.succeed(value)
        return value

    def _keep_stored(self, stored: Stored, value: V, began: float, wall: float) -> None:
        now = time.monotonic()
        shift = now - wall
        entry = Entry(self._region, self.key, value)
        entry.stamp = stored.loaded_at
        entry.loaded_at = stored.loaded_at + shift
        entry.load_seconds = stored.load_seconds
        entry.fresh_until = stored.fresh_until + shift
        entry.stale_until = stored.stale_until + shift
        entry.error_until = stored.error_until + shift
        entry.text = self.text
        if stored.tags:
            entry.tags = versions_of(stored)
        self._keep(entry, began, now, lives_shortly=False)

    # ---- what is kept

    def _finish(self, loaded: Loaded[V], began: float, versions: Versions, *, lives_shortly: bool) -> Life | None:
        """Keep a loaded value if it may be kept, and tell the followers; return its life, None if it has none."""
        if not loaded.store:
            self.fail(NotShared())
            return None
        now = time.monotonic()
        life = self._life(loaded, began, now)
        entry = Entry(self._region, self.key, loaded.value)
        entry.loaded_at = began
        entry.load_seconds = now - began
        entry.tags = versions or None
        entry.text = self.text
        entry.stamp = life.stamp
        entry.fresh_until, entry.stale_until, entry.error_until = life.fresh_until, life.stale_until, life.error_until
        self._keep(entry, began, now, lives_shortly=lives_shortly)
        self.succeed(loaded.value)
        return life if life.error_until > now else None

    def _life(self, loaded: Loaded[V], began: float, now: float) -> Life:
        policy = self.policy
        ttl = loaded.ttl
        if ttl is None:
            ttl = policy.ttl if loaded.value is not None or policy.none_ttl is None else policy.none_ttl
            ttl *= 1.0 - policy.jitter * random.random()
        fresh_until = now + ttl
        stale = policy.stale if loaded.stale is None else loaded.stale
        on_error = policy.stale_if_error if loaded.stale_if_error is None else loaded.stale_if_error
        stamp = time.time() - (now - began)
        return Life(stamp, fresh_until, fresh_until + stale, fresh_until + max(stale, on_error))

    def _keep(self, entry: Entry[V], began: float, now: float, *, lives_shortly: bool) -> None:
        """Put an entry into the memory, unless an invalidation has overtaken the load."""
        region = self._region
        core = region.core
        if self.detached or (entry.tags is not None and not core.tags.are_current(entry.tags)):
            region.counts.detached += 1
            return
        is_cut = False
        if lives_shortly or core.lives_shortly:
            limit = began + UNTRUSTED_SECONDS
            is_cut = entry.fresh_until > limit
            entry.fresh_until = min(entry.fresh_until, limit)
            entry.stale_until = min(entry.stale_until, limit)
            entry.error_until = min(entry.error_until, limit)
        if entry.error_until > now and core.keeps and region.memory.max_entries:
            # A life that is cut ends with a look into the second tier, not with a load.
            entry.calm_until = entry.fresh_until if is_cut else self._calm_until(entry, now)
            entry.epoch = region.memory.epoch
            region.memory.add(entry)

    def _calm_until(self, entry: Entry[V], now: float) -> float:
        """Draw the moment of refreshing ahead.

        Source: Vattani, Chierichetti, Lowenstein: "Optimal Probabilistic Cache Stampede Prevention", VLDB 2015: a value
        is refreshed at a random time before its end, earlier the longer a load takes. Each look at the value draws
        there; one draw when it is kept gives each process its moment, and a hit nothing to do.
        """
        ahead = -entry.load_seconds * self.policy.early * math.log(1.0 - random.random())
        return max(entry.fresh_until - ahead, now + _EARLIEST * (entry.fresh_until - now))


def _loaded(result: "V | Loaded[V]") -> Loaded[V]:
    return result if isinstance(result, Loaded) else Loaded(value=result)


def _stored(data: bytes, life: Life, load_seconds: float, tags: tuple[str, ...], versions: tuple[int, ...]) -> Stored:
    shift = time.time() - time.monotonic()
    return Stored(
        data=data,
        loaded_at=life.stamp,
        load_seconds=load_seconds,
        fresh_until=life.fresh_until + shift,
        stale_until=life.stale_until + shift,
        error_until=life.error_until + shift,
        tags=tags,
        versions=versions,
    )
