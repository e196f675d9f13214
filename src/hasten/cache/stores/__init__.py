"""Second tiers: one module for each, imported by the URL's scheme or by the user, with its driver at its top.

    from hasten.cache.stores.redis import redis_store       redis://, rediss://, unix://, redis+cluster://, redis+sentinel://
    from hasten.cache.stores.memcached import memcached_store
    from hasten.cache.stores.memory import MemoryStore      in this process, for tests

The contract is `hasten.cache.Store`; all of them pass tests/cache/stores/test_contract.py.
"""

from hasten.cache.stores.memory import MemoryStore

__all__ = ("MemoryStore",)
