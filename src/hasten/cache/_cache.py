"""The cache that users hold: `Cache("memory://?max_entries=100000", "redis://localhost:6379/0")`."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeVar, get_args, overload
from urllib.parse import parse_qsl

from hasten._core.errors import ConfigurationError
from hasten._core.signals import CacheHook
from hasten.cache._backplane import Backplane
from hasten.cache._cached import Decorator, Tags, cached
from hasten.cache._checks import check_seconds, checked_namespace, checked_tags, split_address, without_password
from hasten.cache._codec import Codec, codec_for
from hasten.cache._core import Core
from hasten.cache._keys import text_key
from hasten.cache._memory import Memory
from hasten.cache._policy import Loaded, Policy
from hasten.cache._region import Region
from hasten.cache._regions import add_region
from hasten.cache._second import OnError, SecondTier
from hasten.cache._statistics import CacheStatistics
from hasten.cache._store import Store
from hasten.cache._tags import TagTable, plain_tags
from hasten.resilience import Breaker

V = TypeVar("V")
Default = TypeVar("Default")

_logger = logging.getLogger("hasten.cache")
_KEYS = "keys"
"""The region of the explicit keys."""
_MOST_POLICIES = 128


class Cache:
    """Values in this process's memory and, if a second tier is given, in one that processes share.

    With a backplane and no second tier each process loads for itself, and invalidations reach all of them.

    It is made without a loop, and belongs to the loop of its first use.

    Args:
      memory: `memory://?max_entries=100000&max_bytes=67108864`: the bounds of the first tier.
      second: The second tier: `redis://`, `rediss://`, `unix://`, `redis+cluster://`, `redis+sentinel://`,
        `memcached://`, or a `Store`.
      backplane: How invalidations reach other processes; Redis brings its own. Without one (Memcached) what the memory
        keeps lives for a second at most, because other processes' invalidations cannot end it.
      namespace: Part of all keys and tags of the second tier: caches with the same one share their values. Printable
        text without braces.
      on_error: "serve" goes on without the second tier when it fails; "raise" raises StoreError.
      timeout: Seconds in which the second tier must answer; the first answer that is late costs that, none after it.
      max_loads: Loaders that run at once, at least 1; None is no bound.
      size_of: Estimates the bytes of a value, for `max_bytes`.
      hooks: Called with a `CacheLoaded` for each value that the memory had not, in the loop's thread; they must return
        within microseconds. One that raises harms nobody: the error goes to the loop's exception handler.
    Raises:
      ConfigurationError: an argument is wrong; the message says which, and shows no password.
      MissingDependency: the second tier's driver is not installed.
    """

    def __init__(
        self,
        memory: str = "memory://",
        second: str | Store | None = None,
        *,
        backplane: Backplane | None = None,
        namespace: str = "hasten",
        on_error: OnError = "serve",
        timeout: float = 0.05,
        max_loads: int | None = None,
        size_of: Callable[[Any], int] | None = None,
        hooks: Sequence[CacheHook] = (),
    ) -> None:
        # More than 8 parameters: all but two have a default that is right for nearly everybody.
        _check_options(on_error=on_error, timeout=timeout, max_loads=max_loads)
        self.namespace = checked_namespace(namespace)
        tags = TagTable()
        store = _store_at(second, namespace) if isinstance(second, str) else second
        if backplane is None and isinstance(second, str):
            backplane = _backplane_at(second, namespace)
        if store is not None and backplane is None:
            _logger.warning(
                "%s: no backplane: memory keeps values for 1 s at most; give backplane= to keep them longer", store.name
            )
        breaker = Breaker(slow=timeout / 2)
        self._core = Core(
            _memory_at(memory, size_of),
            tags,
            None if store is None else SecondTier(store, tags, timeout=timeout, on_error=on_error, breaker=breaker),
            backplane,
            None if max_loads is None else asyncio.Semaphore(max_loads),
            hooks,
        )
        self._keys: Region[Any] = self.region(_KEYS, Policy(ttl=60.0), codec=codec_for(Any))
        self._policy_of = lru_cache(_MOST_POLICIES)(_policy_of)  # 0.1 µs, where a new one takes 1.7

    def region(
        self,
        name: str,
        policy: Policy,
        *,
        codec: Codec[V] | None = None,
        text_of: Callable[[Hashable], str] | None = None,
    ) -> Region[V]:
        """Return a part of the cache with a name of its own.

        Args:
          codec: Makes bytes for the second tier; without one the region has the memory alone.
          text_of: Makes keys of the second tier.
        Raises:
          ConfigurationError: the name is taken.
        """

        def text(key: Hashable) -> str:
            return text_key(self.namespace, name, "", key)

        region: Region[V] = Region(self._core, name, policy, codec, text_of or text)
        add_region(self._core, region)
        return region

    @overload
    def cached(
        self,
        ttl: float,
        *,
        stale: float = 0.0,
        stale_if_error: float = 0.0,
        none_ttl: float | None = None,
        soft_timeout: float = math.inf,
        hard_timeout: float = math.inf,
        tags: Tags | None = None,
        key: Callable[..., Any] | None = None,
        name: str | None = None,
        version: str = "",
        codec: Codec[Any] | None = None,
        shared: bool = True,
    ) -> Decorator: ...
    @overload
    def cached(
        self,
        *,
        policy: Policy,
        tags: Tags | None = None,
        key: Callable[..., Any] | None = None,
        name: str | None = None,
        version: str = "",
        codec: Codec[Any] | None = None,
        shared: bool = True,
    ) -> Decorator: ...
    def cached(
        self,
        ttl: float | None = None,
        *,
        stale: float = 0.0,
        stale_if_error: float = 0.0,
        none_ttl: float | None = None,
        soft_timeout: float = math.inf,
        hard_timeout: float = math.inf,
        policy: Policy | None = None,
        tags: Tags | None = None,
        key: Callable[..., Any] | None = None,
        name: str | None = None,
        version: str = "",
        codec: Codec[Any] | None = None,
        shared: bool = True,
    ) -> Decorator:
        """Return a decorator that keeps what an `async def` function returns: `@cache.cached(ttl=30)`.

        The function keeps its signature and its types, and gets `peek`, `refresh`, `invalidate` and `key`, which take
        the same arguments. A hit costs 0.18 µs.

        Args:
          ttl, stale, stale_if_error, none_ttl, soft_timeout, hard_timeout: See `Policy`; seconds.
          policy: All of these, and what else a policy says, in their place.
          tags: Of the values: texts, or a function of the arguments that returns some.
          key: A function of the arguments that tell the values apart; all of them without it.
          name: Of the region; the function's module and qualified name by default.
          version: Change it when values in the second tier must not be read any more.
          codec: Makes bytes of the values, instead of the one that follows from the return annotation.
          shared: False keeps the values in this process's memory, beside a second tier. Invalidations reach them all
            the same, in every process.
        Raises:
          ConfigurationError: the function cannot be cached so; the message says why.
        """
        # More than 8 parameters: users write this line, and a policy object would be one more to learn.
        _refuse_function(ttl)
        times = {
            "stale": stale,
            "stale_if_error": stale_if_error,
            "none_ttl": none_ttl,
            "soft_timeout": soft_timeout,
            "hard_timeout": hard_timeout,
        }
        policy = _policy_of("cached", ttl, policy, **times)
        return cached(self, policy, tags=tags, key=key, name=name, version=version, codec=codec, shared=shared)

    @property
    def has_second(self) -> bool:
        """Whether there is a second tier."""
        return self._core.second is not None

    @property
    def has_backplane(self) -> bool:
        """Whether invalidations reach other processes."""
        return self._core.backplane is not None

    # ---- explicit keys

    async def get(self, key: str, default: Default = None) -> Any | Default:  # type: ignore[assignment]
        """Return the value that was set under a key, `default` without one; nothing is loaded."""
        value = await self._keys.get(key)
        return default if value is None else value

    async def set(self, key: str, value: Any, ttl: float, *, stale: float = 0.0, tags: Sequence[str] = ()) -> bool:
        """Put a value under a key for every process; return whether all know; see `Region.store`."""
        check_seconds("Cache.set", "ttl", ttl)
        check_seconds("Cache.set", "stale", stale)
        if tags:
            tags = checked_tags(tags, "Cache.set(tags=)")
        return await self._keys.store(key, Loaded(value=value, ttl=ttl, stale=stale), tags)

    @overload
    async def get_or_set(
        self,
        key: str,
        loader: Callable[[], Awaitable[V]],
        ttl: float,
        *,
        stale: float = 0.0,
        tags: Sequence[str] = (),
    ) -> V: ...
    @overload
    async def get_or_set(
        self, key: str, loader: Callable[[], Awaitable[V]], *, policy: Policy, tags: Sequence[str] = ()
    ) -> V: ...
    async def get_or_set(
        self,
        key: str,
        loader: Callable[[], Awaitable[V]],
        ttl: float | None = None,
        *,
        stale: float = 0.0,
        policy: Policy | None = None,
        tags: Sequence[str] = (),
    ) -> V:
        """Return the value under a key, loaded once if it is not there; see `Region.load`.

        Args:
          ttl, stale: See `Policy`; seconds.
          policy: These, and what else a policy says, in their place.
        """
        if tags:
            tags = checked_tags(tags, "Cache.get_or_set(tags=)")
        chosen = self._policy_of("get_or_set", ttl, policy, stale=stale)
        value: V = await self._keys.load(key, loader, tags, chosen)
        return value

    async def invalidate(self, *keys: str) -> bool:
        """Drop explicit keys in every process; see `Region.invalidate`."""
        return await self._keys.invalidate(*keys)

    async def invalidate_tags(self, *tags: str) -> bool:
        """Make every value with one of these tags invalid, in every process.

        Returns:
          True when no process serves such a value any more; False when the others could not be told yet: they are told
          as soon as possible, and this process serves none.
        Cancellation: the invalidation goes on.
        """
        return await self._core.invalidate((), plain_tags(checked_tags(tags, "Cache.invalidate_tags")))

    # ---- the whole

    def add_hook(self, hook: CacheHook) -> None:
        """Have one more hook called from now on."""
        self._core.hooks.append(hook)

    def statistics(self) -> CacheStatistics:
        """Return what the cache has done until now, in any thread."""
        second = self._core.second
        breaker = None if second is None else second.breaker.statistics()
        return replace(self._core.statistics(), breaker=breaker)

    async def aclose(self) -> None:
        """Finish writes and invalidations under way, leave the other processes, close the connections."""
        await self._core.aclose()


# ---- what users give


def _check_options(
    *,
    on_error: OnError,
    timeout: float,
    max_loads: int | None,
) -> None:
    if on_error not in get_args(OnError):
        words = " or ".join(map(repr, get_args(OnError)))
        raise ConfigurationError(f"Cache(on_error={on_error!r})", f"must be {words}")
    check_seconds("Cache", "timeout", timeout)
    if not 0.0 < timeout < math.inf:
        raise ConfigurationError(f"Cache(timeout={timeout})", "must be above 0 and finite", "for example timeout=0.05")
    if max_loads is not None and max_loads < 1:
        raise ConfigurationError(f"Cache(max_loads={max_loads})", "must be at least 1", "None is no bound")


def _refuse_function(ttl: object) -> None:
    """Tell who has written `@cache.cached` without parentheses, so that the function came in the place of `ttl`."""
    if callable(ttl):
        name = getattr(ttl, "__qualname__", repr(ttl))
        raise ConfigurationError(f"cached {name}", "its values have no ttl", "write @cache.cached(ttl=30)")


def _policy_of(who: str, ttl: float | None, policy: Policy | None, **times: Any) -> Policy:
    """Return the policy that is given, or that the times make."""
    if policy is None and ttl is None:
        raise ConfigurationError(who, "its values have no ttl", "give ttl=, for example ttl=30, or policy=")
    given = Policy(ttl=0.0 if ttl is None else ttl, **times)
    if policy is None:
        return given
    if ttl is not None or given != Policy(ttl=0.0):
        raise ConfigurationError(who, "policy= takes the place of the times", "put them into the policy")
    return policy


def _memory_at(address: str, size_of: Callable[[Any], int] | None) -> Memory:
    where, parts = f"cache {without_password(address)}", split_address(address)
    if parts.scheme != "memory" or parts.netloc or parts.path:
        problem = "the first tier is memory://?max_entries=N&max_bytes=N"
        raise ConfigurationError(where, problem, 'the second one stands behind it: Cache("memory://", second)')
    bounds: dict[str, int] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in {"max_entries", "max_bytes"}:
            raise ConfigurationError(where, f"{name} is unknown", "it has max_entries and max_bytes")
        try:
            bounds[name] = int(value)
        except ValueError as error:
            raise ConfigurationError(where, f"{name}={value} is no whole number") from error
    return Memory(**bounds, size_of=size_of)


def _store_at(address: str, namespace: str) -> Store:
    scheme = split_address(address).scheme
    prefix = f"{namespace}:"
    if scheme in _REDIS:
        from hasten.cache.stores.redis import redis_store

        return redis_store(address, prefix=prefix)
    if scheme == "memcached":
        from hasten.cache.stores.memcached import memcached_store

        return memcached_store(address, prefix=prefix)
    problem = f"no second tier is called {scheme}://"
    raise ConfigurationError(f"cache {without_password(address)}", problem, f"there are {', '.join(_SCHEMES)}")


def _backplane_at(address: str, namespace: str) -> Backplane | None:
    if split_address(address).scheme not in _REDIS:
        return None
    from hasten.cache.backplanes.redis import RedisBackplane

    return RedisBackplane(address, namespace)


_REDIS = ("redis", "rediss", "unix", "redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel")
_SCHEMES = (*(f"{scheme}://" for scheme in _REDIS), "memcached://")
