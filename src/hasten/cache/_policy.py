"""How long values live, and what happens around their end."""

import math
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from hasten._core.errors import ConfigurationError

V = TypeVar("V")


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
      soft_timeout: A caller waits so long for the load if there is something stale to serve instead.
      hard_timeout: A load takes so long at most, and never longer than the ambient deadline of who waits for it.
      lease: How long other processes wait for a load of this one before they load themselves.
    """

    ttl: float
    stale: float = 0.0
    stale_if_error: float = 0.0
    none_ttl: float | None = None
    jitter: float = 0.05
    early: float = 1.0
    soft_timeout: float = math.inf
    hard_timeout: float = math.inf
    lease: float = 10.0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("ttl", 0.0, math.inf),
            ("stale", 0.0, math.inf),
            ("stale_if_error", 0.0, math.inf),
            ("jitter", 0.0, 1.0),
            ("early", 0.0, math.inf),
            ("soft_timeout", 0.0, math.inf),
            ("hard_timeout", 0.0, math.inf),
            ("lease", 0.1, 3600.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigurationError(f"cache policy {name}={value}", f"must be from {low:g} to {high:g}")


class Loaded(msgspec.Struct, Generic[V], frozen=True, kw_only=True):
    """What a loader returns when it knows more than the policy: `return Loaded(value=page, ttl=5, tags=["news"])`.

    Attributes:
      value: What the caller gets.
      ttl, stale, stale_if_error: Instead of the policy's.
      tags: Beside those that are known without loading.
      store: Keep it; what is not kept is not given to others who wait for the same load either: each loads itself.
    """

    value: V
    ttl: float | None = None
    stale: float | None = None
    stale_if_error: float | None = None
    tags: tuple[str, ...] = ()
    store: bool = True
