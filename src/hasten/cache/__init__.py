"""A cache of two tiers, the process's memory and Redis or Memcached, that never serves what was invalidated.

`Cache` holds the tiers; `Cache.cached` makes a function's results stay, `Cache.region` is the part that both use.
"""

from hasten._core.signals import CacheHook, CacheLoaded
from hasten.cache._backplane import Backplane, Invalidation, Listener
from hasten.cache._cache import Cache
from hasten.cache._cached import CachedFunction
from hasten.cache._codec import Codec, CodecError, codec_for
from hasten.cache._loading import LoadTimeout
from hasten.cache._policy import Loaded, Policy
from hasten.cache._region import Region
from hasten.cache._statistics import CacheStatistics, Counts
from hasten.cache._store import Lease, Read, Store, StoreError, StoreTimeout, TooLarge

__all__ = (
    "Backplane",
    "Cache",
    "CacheHook",
    "CacheLoaded",
    "CacheStatistics",
    "CachedFunction",
    "Codec",
    "CodecError",
    "Counts",
    "Invalidation",
    "Lease",
    "Listener",
    "LoadTimeout",
    "Loaded",
    "Policy",
    "Read",
    "Region",
    "Store",
    "StoreError",
    "StoreTimeout",
    "TooLarge",
    "codec_for",
)
