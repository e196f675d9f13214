"""What a cache has done, as numbers."""

from dataclasses import dataclass

from hasten.resilience import BreakerStatistics


@dataclass(slots=True)
class Counts:
    """What happened in a region since it was made; plain numbers, so that a hit counts itself in 20 ns.

    Attributes:
      hits, stale: Answers from memory, fresh and while a load renews them.
      misses: Lookups that memory could not answer.
      joined: Of these, those that waited for the load of another.
      second_hits: Loads that the second tier answered.
      loads, load_errors, load_seconds: Calls of the loader, those that raised, and their time in all.
      stale_on_error: Stale answers because loading failed or took too long.
      detached: Loads that an invalidation overtook.
      most_stale: Seconds since its freshness ended of the oldest value that was served.
    """

    hits: int = 0
    stale: int = 0
    misses: int = 0
    joined: int = 0
    second_hits: int = 0
    loads: int = 0
    load_errors: int = 0
    load_seconds: float = 0.0
    stale_on_error: int = 0
    detached: int = 0
    most_stale: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStatistics:
    """A cache at one moment.

    Attributes:
      regions: The counts of each region, by its name.
      entries, size_bytes, evicted: Of the memory; bytes are counted where it has a bound of them.
      tags: How many tags are known here.
      second: Name of the second tier; empty without one.
      second_failures: Its failures and timeouts.
      breaker: Whether it is asked just now, and what its answers were like; None without one.
      pending: Invalidations that the second tier or the other processes have not got yet.
      trusted: Whether the memory is believed: what other processes make invalid is heard.
    """

    regions: dict[str, Counts]
    entries: int
    size_bytes: int
    evicted: int
    tags: int
    second: str
    second_failures: int
    breaker: BreakerStatistics | None = None
    pending: int
    trusted: bool
