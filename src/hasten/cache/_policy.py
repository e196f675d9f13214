"""How long values live, and what happens around their end."""

import math
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from hasten._core.errors import ConfigurationError
from hasten.cache._checks import check_range, check_seconds, checked_tags

V = TypeVar("V")
_SECONDS = ("ttl", "stale", "stale_if_error", "soft_timeout", "hard_timeout")
_SHORTEST_LEASE, _USUAL_LEASE, _LONGEST_LEASE = 0.1, 10.0, 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How long a value is fresh, how long it may be served stale, and how it is loaded; durations in seconds.

    Attributes:
      ttl: It is fresh so long.
      stale: Then it is served for so long while one load renews it (stale-while-revalidate, RFC 5861 section 3).
      stale_if_error: Then, or if this is longer, it is served for so long when loading fails (RFC 5861 section 4).
      none_ttl: How long None is fresh, which says that there is no such thing; None treats it like any value.
      jitter: Part of `ttl` that is taken off by chance, so that what was loaded together does not end together.
      early: Weight of the time that a load takes in refreshing ahead (beta of XFetch); 0 refreshes only what is stale.
      soft_timeout: A caller waits so long for the load if there is something to serve instead, by `stale_if_error`.
      hard_timeout: A load takes so long at most, and never longer than the ambient deadline of who waits for it.
      lease: How long other processes wait for a load of this one before they load themselves; a load that takes longer
        is not written to the second tier. If not given it is `hard_timeout`, but from 0.1 to 10 s.
    Raises:
      ConfigurationError: a field is no number or out of bounds, or `soft_timeout` has nothing to serve.
    """

    ttl: float
    stale: float = 0.0
    stale_if_error: float = 0.0
    none_ttl: float | None = None
    jitter: float = 0.05
    early: float = 1.0
    soft_timeout: float = math.inf
    hard_timeout: float = math.inf
    lease: float = None  # type: ignore[assignment]  # who reads it gets a float: see `_lease_for`

    def __post_init__(self) -> None:
        for name in _SECONDS:
            check_seconds("cache policy", name, getattr(self, name))
        if self.none_ttl is not None:
            check_seconds("cache policy", "none_ttl", self.none_ttl)
        check_range("cache policy", "jitter", self.jitter, 0.0, 1.0)
        check_range("cache policy", "early", self.early, 0.0, math.inf)
        object.__setattr__(self, "lease", _lease_for(self.lease, self.hard_timeout))
        check_seconds("cache policy", "lease", self.lease, _SHORTEST_LEASE, _LONGEST_LEASE)
        if self.soft_timeout < math.inf and self.stale_if_error <= self.stale:
            where, remedy = f"cache policy soft_timeout={self.soft_timeout}", "give stale_if_error=, longer than stale="
            raise ConfigurationError(where, "there is nothing to serve when it is over", remedy)


def _lease_for(given: float | None, hard_timeout: float) -> float:
    # A process that is killed leaves its lease behind: no longer than a load may take.
    return min(max(hard_timeout, _SHORTEST_LEASE), _USUAL_LEASE) if given is None else given


class Loaded(msgspec.Struct, Generic[V], frozen=True, kw_only=True):
    """What a loader returns when it knows more than the policy: `return Loaded(value=page, ttl=5, tags=["news"])`.

    Attributes:
      value: What the caller gets.
      ttl, stale, stale_if_error: Instead of the policy's.
      tags: Beside those that are known without loading.
      store: Keep it; what is not kept is not given to others who wait for the same load either: each loads itself.
    Raises:
      ConfigurationError: `tags` is one text, or has what is no text.
    """

    value: V
    ttl: float | None = None
    stale: float | None = None
    stale_if_error: float | None = None
    tags: tuple[str, ...] = ()
    store: bool = True

    def __post_init__(self) -> None:
        if self.tags:
            checked_tags(self.tags, "Loaded(tags=)")
