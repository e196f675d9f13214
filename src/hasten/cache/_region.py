"""A named part of a cache: the values of one function, of explicit keys, of HTTP responses.

A lookup that the caller's own look at `entries` could not answer comes here: `load` serves what is stale, follows a
load that is under way, or leads one (`hasten.cache._loading`).
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Collection, Hashable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from hasten.cache._backplane import UNTRUSTED_SECONDS
from hasten.cache._codec import Codec, CodecError
from hasten.cache._entry import Entry
from hasten.cache._flight import LeaderGone, NotShared
from hasten.cache._loading import NOTHING, Loading, Nothing
from hasten.cache._policy import Loaded, Policy
from hasten.cache._statistics import Counts

if TYPE_CHECKING:
    from hasten.cache._core import Core

V = TypeVar("V")
Loader = Callable[[], Awaitable[V | Loaded[V]]]

_RENEW_AGAIN = 1.0  # seconds after a renewal began or failed until another may: readers do not hammer an ill source
_MOST_FOUND_TAGS = 10_000  # keys whose tags are noted
_MOST_TAGS = 256  # noted for a key, or as many as one load finds


class Region(Generic[V]):
    """A part of a cache with a name and a policy; `Cache.region` makes it.

    Attributes:
      entries: What the memory has, by key; callers look here before they call `load`.
      by_text: The same by the second tier's keys.
      memory: Where the entries live.
      codec: Makes bytes for the second tier; without one the region has the memory alone.
      text_of: Makes a key of the second tier.
      second_text_of: The same, but an empty text in a cache of memory alone.
      decode: Returns the value of bytes from the second tier, or raises CodecError.
      counts: What happened.
      flights: Loads under way.
      looks: Looks into the second tier alone that are under way.
      found_tags: Tags that loaders have found, for the next load of the key.
      second: Where its values go, too; None if they stay in this process.
    """

    def __init__(
        self, core: "Core", name: str, policy: Policy, codec: Codec[V] | None, text_of: Callable[[Hashable], str]
    ) -> None:
        self.name = name
        self.policy = policy
        self.codec = codec
        self.text_of = text_of
        self.second_text_of = text_of if core.second is not None or core.backplane is not None else _no_text
        self.core = core
        self.memory = core.memory
        self.entries: dict[Hashable, Entry[V]] = {}
        self.by_text: dict[str, Entry[V]] = {}
        self.counts = Counts()
        self.flights: dict[Hashable, Loading[V]] = {}
        self.looks: set[Loading[V]] = set()
        self.found_tags: dict[Hashable, tuple[str, ...]] = {}
        self.second = core.second if codec is not None else None
        self.decode = _undecodable if codec is None else codec.decode

    # ---- lookups

    def peek(self, key: Hashable) -> Entry[V] | None:
        """Return what memory may serve now, fresh or stale while it is renewed; None otherwise. Nothing is loaded."""
        now = time.monotonic()
        entry = self._current(key, now)
        return entry if entry is not None and now < entry.stale_until else None

    async def load(self, key: Hashable, loader: Loader[V], tags: Sequence[str] = (), policy: Policy | None = None) -> V:
        """Return the value under a key: from memory, from the second tier, or by the loader.

        Args:
          loader: Loads the value, in the caller's task if this is the first that wants it.
          tags: Of the value, as far as they are known before it is loaded.
          policy: In the place of the region's.
        Raises:
          LoadTimeout: the loader took longer than the policy allows.
          DeadlineExceeded: the ambient deadline passed.
          Exception: what the loader raised; everybody who waited for it gets an exception of their own.
        Cancellation: cancelling one caller harms nobody else; if it led, another caller loads anew.
        """
        now = time.monotonic()
        entry = self._current(key, now) if key in self.entries else None
        if entry is not None and now < entry.stale_until:
            if now >= entry.calm_until and now >= entry.renew_at and key not in self.flights:
                self.renew_behind(key, loader, tags, policy or self.policy, entry.stamp)
            return self._serve(entry, now)
        self.counts.misses += 1
        if entry is not None and now < entry.error_until:
            if now < entry.renew_at:  # loading has just failed
                return self._stale_on_error(entry)
            return await self._renewed_or_stale(
                entry, Loading(self, key, loader, tags, policy or self.policy, newer_than=entry.stamp)
            )
        loading = Loading(self, key, loader, tags, policy or self.policy)
        flight = self.flights.get(key)
        if flight is None:
            return await loading.lead()  # not by `_fly`: each coroutine on this way costs 0.3 µs
        if flight.newer_than is not None:  # what is renewed is served meanwhile, also if memory has no room for it
            value = await self._look(loading)
            if value is not NOTHING:
                return value
        return await self._fly(loading)

    async def get(self, key: Hashable) -> V | None:
        """Return the value under a key, fresh or stale, from memory or from the second tier; None without one.

        Nothing is loaded, so a value that is None looks like none; of two that ask at once both ask the second tier.
        """
        entry = self.peek(key)
        if entry is not None:
            self.counts.hits += 1
            return entry.value
        self.counts.misses += 1
        value = await self._look(Loading(self, key, _no_loader, (), self.policy))
        return None if value is NOTHING else value

    async def refresh(
        self, key: Hashable, loader: Loader[V], tags: Sequence[str] = (), policy: Policy | None = None
    ) -> V:
        """Load anew, whatever is there, and return the value; see `load`."""
        self.detach(key)  # what is under way began before
        return await self._fly(Loading(self, key, loader, tags, policy or self.policy, forced=True))

    # ---- changes

    async def store(self, key: Hashable, value: V | Loaded[V], tags: Sequence[str] = ()) -> bool:
        """Put a value under a key, in the place of what every process has there.

        Returns:
          Whether every process knows; False while the second tier is ill.
        """
        return await Loading(self, key, _no_loader, tags, self.policy).put(value)

    def encode(self, value: V) -> bytes:
        """Return a value's bytes for the second tier.

        Raises:
          CodecError: it has none.
        """
        assert self.codec is not None
        return self.codec.encode(value)

    async def invalidate(self, *keys: Hashable) -> bool:
        """Drop keys in every process; loads under way give their values to those who wait, and store none.

        Returns:
          True when no process serves the old values any more; False when the others could not be told yet: they are
          told as soon as possible.
        Cancellation: what was sent is sent; this process has dropped the keys.
        """
        self.drop(keys)
        done = await self.core.invalidate([self.text_of(key) for key in keys], ())
        self.drop(keys)
        return done

    def drop(self, keys: Sequence[Hashable]) -> None:
        """Drop keys from this process's memory, and detach their loads."""
        for look in self.looks:
            look.detached = True
        for key in keys:
            self.detach(key)
            entry = self.entries.get(key)
            if entry is not None:
                self.memory.remove(entry)

    def detach(self, key: Hashable) -> None:
        """Let a load under way end for those who wait, and store nothing."""
        flight = self.flights.pop(key, None)
        if flight is not None:
            flight.detached = True

    def detach_all(self) -> None:
        """Detach all loads under way."""
        for key in list(self.flights):
            self.detach(key)
        for look in self.looks:
            look.detached = True

    def apply(self, texts: Collection[str], tags: Collection[str]) -> None:
        """Drop what an invalidation names: entries by their keys, loads by keys and by tags that have changed."""
        for text in texts:
            entry = self.by_text.get(text)
            if entry is not None:
                self.memory.remove(entry)
        for look in self.looks:
            look.detached |= look.text in texts
        for key, flight in list(self.flights.items()):
            if flight.text in texts or not self.core.tags.are_current(flight.versions):
                self.detach(key)
            elif tags:
                flight.overtaken_by = flight.overtaken_by.union(tags)

    def renew_behind(self, key: Hashable, loader: Loader[V], tags: Sequence[str], policy: Policy, stamp: float) -> None:
        """Load anew while what there is, from the load of `stamp`, goes on being served."""
        flight = self.flights.get(key)
        if flight is not None and flight.newer_than is not None:
            return
        entry = self.entries.get(key)
        if entry is not None:
            entry.renew_at = time.monotonic() + _RENEW_AGAIN
        self.core.spawn(self._renew(Loading(self, key, loader, tags, policy, newer_than=stamp)))

    def remember_tags(self, key: Hashable, found: Sequence[str], before: Sequence[str] = ()) -> None:
        """Note tags that a loader has found, so that the next load asks for their versions before it begins.

        Args:
          before: Found by earlier loads: as many are noted as there is room for, since tags may come and go.
        """
        self.found_tags[key] = tuple(dict.fromkeys((*found, *before)))[: max(len(found), _MOST_TAGS)]
        if len(self.found_tags) > _MOST_FOUND_TAGS:
            del self.found_tags[next(iter(self.found_tags))]

    # ---- how a value is found

    def _current(self, key: Hashable, now: float) -> Entry[V] | None:
        """Return a key's entry if nothing can have made it invalid."""
        if now >= self.memory.trusted_until:
            return None
        entry = self.entries.get(key)
        if entry is None:
            return None
        if entry.epoch is not self.memory.epoch:
            if entry.tags is not None and not self.core.tags.are_current(entry.tags):
                self.memory.remove(entry)
                return None
            entry.epoch = self.memory.epoch
        return entry

    def _serve(self, entry: Entry[V], now: float) -> V:
        entry.visited = True
        if now < entry.fresh_until:
            self.counts.hits += 1
        else:
            self.counts.stale += 1
            self._note_age(entry, now)
        return entry.value

    async def _look(self, loading: Loading[V]) -> V | Nothing:
        """Return what the second tier has, fresh or stale."""
        self.looks.add(loading)
        try:
            return await loading.look()
        finally:
            self.looks.discard(loading)

    async def _renew(self, loading: Loading[V]) -> None:
        try:
            await self._fly(loading)
        except Exception as error:
            self.core.log_failure(self.name, error)

    async def _renewed_or_stale(self, entry: Entry[V], loading: Loading[V]) -> V:
        """Load anew; serve what there is when that fails, or takes longer than the soft timeout."""
        task = self.core.spawn(self._fly(loading))
        soft_timeout = loading.policy.soft_timeout
        await asyncio.wait([task], timeout=None if soft_timeout == math.inf else soft_timeout)
        error = task.exception() if task.done() and not task.cancelled() else None
        if task.done() and not task.cancelled() and error is None:
            return task.result()
        now = time.monotonic()
        if error is not None and now >= entry.renew_at:  # the first one of those who waited for this load
            entry.renew_at = now + _RENEW_AGAIN
            self.core.log_failure(self.name, error)
        return self._stale_on_error(entry)

    def _stale_on_error(self, entry: Entry[V]) -> V:
        self.counts.stale_on_error += 1
        self._note_age(entry, time.monotonic())
        return entry.value

    def _note_age(self, entry: Entry[V], now: float) -> None:
        self.counts.most_stale = max(self.counts.most_stale, now - entry.fresh_until)

    async def _fly(self, loading: Loading[V]) -> V:
        """Follow the load that is under way, or lead one.

        Without trust a load that began before we asked may have read what is invalid by now, and so may one that finds
        a tag that was invalidated before we asked. It is waited for all the same, so that the source has one load of a
        key at a time: the next one is shared by all who have asked by then.
        """
        asked = time.monotonic()
        while (flight := self.flights.get(loading.key)) is not None:
            will_do = flight.began >= asked or asked < self._followed_until(flight.began)
            overtaken_by = flight.overtaken_by  # before we asked
            self.counts.joined += 1
            try:
                value = await flight.join()
            except LeaderGone:
                continue
            except NotShared:
                return await loading.alone()
            if will_do and overtaken_by.isdisjoint(flight.found):
                return value
        return await loading.lead()

    def _followed_until(self, began: float) -> float:
        """Return until when those who ask may have what a load brings that began then: as if memory had it already."""
        until = self.memory.trusted_until
        return min(until, began + UNTRUSTED_SECONDS) if self.core.lives_shortly else until


def _no_text(_: Hashable) -> str:
    return ""


def _undecodable(_: bytes) -> Any:
    raise CodecError("a value of memory alone")


async def _no_loader() -> Loaded[V]:
    raise NotImplementedError
