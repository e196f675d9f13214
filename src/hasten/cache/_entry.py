"""One value in the process's memory."""

from collections.abc import Hashable
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from hasten.cache._region import Region

V = TypeVar("V")


class Entry(Generic[V]):
    """A value with the moments of its life, by `time.monotonic()`.

    Attributes:
      value: What was loaded.
      calm_until: Until then a hit needs no thought: the moment of refreshing ahead, or `fresh_until`.
      fresh_until, stale_until, error_until: It is served as it is; while a load renews it; if loading fails.
      renew_at: No renewal begins before it: when the last one began, plus a second.
      loaded_at, load_seconds: When its load began and how long it took.
      stamp: When its load began, by `time.time()`, the same in every process.
      epoch: The memory's epoch at which its tags were last looked at.
      tags: Its tags with their versions from before the load; None without any.
      text: Its key in the second tier; empty without one.
      size_bytes: Estimated; 0 where bytes are not counted.
      visited: Was read since the hand passed (SIEVE).
    """

    __slots__ = (
        "calm_until",
        "epoch",
        "error_until",
        "fresh_until",
        "key",
        "load_seconds",
        "loaded_at",
        "newer",
        "older",
        "region",
        "renew_at",
        "size_bytes",
        "stale_until",
        "stamp",
        "tags",
        "text",
        "value",
        "visited",
    )

    def __init__(self, region: "Region[V]", key: Hashable, value: V) -> None:
        self.region = region
        self.key = key
        self.value = value
        self.calm_until = self.fresh_until = self.stale_until = self.error_until = 0.0
        self.renew_at = self.loaded_at = self.load_seconds = self.stamp = 0.0
        self.epoch: object = None
        self.tags: tuple[tuple[str, int], ...] | None = None
        self.text = ""
        self.size_bytes = 0
        self.visited = False
        self.newer: Entry[V] | None = None
        self.older: Entry[V] | None = None
