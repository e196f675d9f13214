"""Backplanes: how the processes that share a cache tell each other what is invalid.

    memory    caches of one process, for tests
    redis     processes that share a Redis: alone, behind Sentinel, or a Cluster (needs the extra `redis`)
    bus       processes that share a message broker; for a second tier of Memcached

The contract is `hasten.cache.Backplane`; all of them pass one contract suite (tests/cache/backplanes).
"""

from hasten.cache.backplanes.memory import MemoryBackplane, memory_backplanes

__all__ = ("MemoryBackplane", "memory_backplanes")
