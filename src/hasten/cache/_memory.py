"""The first tier: the process's memory, bounded, shared by the regions of a cache.

Eviction is SIEVE (Zhang, Yang, Yue, Vigfusson, Rashmi: "SIEVE is Simpler than LRU", NSDI 2024): new entries come in at
the head, a hit sets a bit, and the hand goes from the tail to the head, clears bits and evicts the first entry that has
none. A hit writes one attribute, where LRU moves a link, and scans pass through without taking the popular away.
"""

import math
import sys
from collections.abc import Callable, Iterator
from typing import Any

from hasten._core.errors import ConfigurationError
from hasten.cache._entry import Entry

AnyEntry = Entry[Any]


class Memory:
    """Holds the entries of all regions, within its bounds.

    Each region looks its keys up in a dict of its own; here stand the links between all of them and the bounds.

    Args:
      max_entries: Most entries at once; with 0 nobody may add one.
      max_bytes: Most estimated bytes of values at once; None counts no bytes.
      size_of: Estimates a value's bytes; called once a value, where `max_bytes` is set.
    Attributes:
      epoch: Another object after each invalidation of a tag: entries of an older one are looked at again.
      trusted_until: Nothing is served after that, by `time.monotonic()`.
      evicted: Entries that gave way to others.
      size_bytes: Of all values.
    """

    def __init__(
        self, max_entries: int = 100_000, max_bytes: int | None = None, size_of: Callable[[Any], int] | None = None
    ) -> None:
        if max_entries < 0 or (max_bytes is not None and max_bytes < 1):
            raise ConfigurationError("memory://", "max_entries must be at least 0, max_bytes at least 1")
        self.epoch = object()
        self.trusted_until = math.inf
        self.evicted = 0
        self.size_bytes = 0
        self.max_entries = max_entries
        self._max_bytes = max_bytes
        self._size_of = size_of or estimated_size
        self._count = 0
        self._newest: AnyEntry | None = None
        self._oldest: AnyEntry | None = None
        self._hand: AnyEntry | None = None

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[AnyEntry]:
        entry = self._newest
        while entry is not None:
            yield entry
            entry = entry.older

    def add(self, entry: AnyEntry) -> bool:
        """Take an entry in, in the place of the one under its key; evict others where room is wanted.

        Returns:
          False for a value that alone is larger than `max_bytes`: it is not kept.
        """
        old = entry.region.entries.get(entry.key)
        if old is not None:
            self.remove(old)
        if self._max_bytes is not None:
            entry.size_bytes = self._size_of(entry.value)
            if entry.size_bytes > self._max_bytes:
                return False
            while self.size_bytes + entry.size_bytes > self._max_bytes:
                self._evict()
        while self._count >= self.max_entries:
            self._evict()
        self._link(entry)
        return True

    def remove(self, entry: AnyEntry) -> None:
        """Drop an entry that is there."""
        del entry.region.entries[entry.key]
        if entry.text:
            entry.region.by_text.pop(entry.text, None)
        if self._hand is entry:
            self._hand = entry.newer
        older, newer = entry.older, entry.newer
        if newer is None:
            self._newest = older
        else:
            newer.older = older
        if older is None:
            self._oldest = newer
        else:
            older.newer = newer
        entry.older = entry.newer = None  # no chains of dropped entries for the garbage collector
        self._count -= 1
        self.size_bytes -= entry.size_bytes

    def clear(self) -> None:
        """Drop everything."""
        while self._newest is not None:
            self.remove(self._newest)

    def _link(self, entry: AnyEntry) -> None:
        entry.region.entries[entry.key] = entry
        if entry.text:
            entry.region.by_text[entry.text] = entry
        entry.older = self._newest
        if self._newest is None:
            self._oldest = entry
        else:
            self._newest.newer = entry
        self._newest = entry
        self._count += 1
        self.size_bytes += entry.size_bytes

    def _evict(self) -> None:
        entry = self._hand or self._oldest
        while entry is not None and entry.visited:
            entry.visited = False
            entry = entry.newer or self._oldest
        assert entry is not None  # there is one, or there would be room
        self._hand = entry
        self.remove(entry)
        self.evicted += 1


_MOST_PARTS = 1000


def estimated_size(value: object) -> int:
    """Return about how many bytes a value takes: itself and what it holds, the first 1,000 parts of it."""
    total, parts, seen = 0, [value], 0
    while parts and seen < _MOST_PARTS:
        part = parts.pop()
        seen += 1
        total += sys.getsizeof(part)
        if isinstance(part, dict):
            parts += [*part.keys(), *part.values()][: 2 * _MOST_PARTS]
        elif isinstance(part, list | tuple | set | frozenset):
            parts += list(part)[:_MOST_PARTS]
        elif hasattr(part, "__dict__"):
            parts.append(vars(part))
        elif hasattr(part, "__struct_fields__"):
            parts += [getattr(part, name) for name in part.__struct_fields__]
    return total
