"""What a subject has to offer to take part, and where its setup stands."""

import importlib
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

from benchmarks.cache._work import Item, Load


class Tier(StrEnum):
    """Where the values are."""

    MEMORY = "memory"
    REDIS = "redis"
    MEMCACHED = "memcached"


@dataclass(frozen=True, slots=True)
class InMemory:
    """A cache in the process.

    Attributes:
      call: The decorated function.
      put, take: Sets and gets one key, as the library offers it: a coroutine function or a plain one. None where it has
        neither.
    """

    call: Load
    put: Callable[[int, Item], object] | None = None
    take: Callable[[int], Awaitable[Item | None] | Item | None] | None = None


MemorySetup = Callable[[Load, int], AbstractAsyncContextManager[InMemory]]
"""Takes the function to decorate and the most entries."""
RemoteSetup = Callable[[Load, str], AbstractAsyncContextManager[Load]]
"""Takes the function to decorate and the server, `host:port`; yields the decorated one."""

SETUPS: Mapping[Tier, Mapping[str, str]] = {
    Tier.MEMORY: {
        "limit": "limit:in_memory",
        "hasten": "hasten:in_memory",
        "cashews": "cashews:in_memory",
        "cashews-unprotected": "cashews:in_memory_unprotected",
        "aiocache": "aiocache:in_memory",
        "fastapi-cache2": "fastapi_cache2:in_memory",
        "cachebox": "cachebox:in_memory",
        "moka-py": "moka:in_memory",
        "async-lru": "async_lru:in_memory",
        "theine": "theine:in_memory",
        "ordered-dict": "ordered_dict:in_memory",
    },
    Tier.REDIS: {
        "hasten": "hasten:over_redis",
        "hasten-tiers": "hasten:in_both",
        "redis-py": "redis_py:over_redis",
        "cashews": "cashews:over_redis",
        "cashews-local": "cashews:client_side",
        "aiocache": "aiocache:over_redis",
        "fastapi-cache2": "fastapi_cache2:over_redis",
    },
    Tier.MEMCACHED: {
        "limit": "limit:over_memcached",
        "hasten": "hasten:over_memcached",
        "aiocache": "aiocache:over_memcached",
    },
}
"""By tier and subject: a module of `stacks` and its function. The limit over Redis is redis-benchmark."""


def memory_setup(subject: str) -> MemorySetup:
    """Load the subject's library, and return what sets it up."""
    return cast("MemorySetup", _find(Tier.MEMORY, subject))


def remote_setup(tier: Tier, subject: str) -> RemoteSetup:
    """Load the subject's library, and return what sets it up over a server."""
    return cast("RemoteSetup", _find(tier, subject))


def _find(tier: Tier, subject: str) -> object:
    module, function = SETUPS[tier][subject].split(":")
    return getattr(importlib.import_module(f"benchmarks.cache.stacks.{module}"), function)
