"""A second tier in Redis: `redis_store("redis://localhost:6379/0")`, or a client of redis-py's in `RedisStore`.

What is in Redis (5 or later), with `hasten:` as the prefix:

    hasten:{k:KEY}          the value                     } one slot of a cluster, so that a script may change both
    hasten:{k:KEY}:lease    the token of who may write    }
    hasten:{t:TAG}          the tag's version, microseconds since the epoch by the server's clock

- A lease ends by itself, or when the value is written or invalidated. A writer's token is compared on the server in the
  script that writes, so a writer that is late writes nothing, however long its command was under way.
- Versions rise above themselves and to the time at each invalidation, so they grow over a loss of data, as long as the
  clocks of a server and of the replica that takes its place do not differ by more than that takes.
- A tag lives TAG_SECONDS, which is longer than a value: each raise starts them anew. Where Redis throws one out earlier
  (`maxmemory`), the values that have it are not believed and loaded again. The same goes for leases: without one
  nothing is written.
- Nothing is looked for with KEYS or SCAN, and everything has an end.
- Replication is asynchronous: a replica that becomes the master may have missed the last invalidations.

How it is asked: `_redis_batch` (one round trip for a pass of the loop), `_redis_servers` (alone, Sentinel, Cluster).
"""

import math
import random
import secrets
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hasten.cache._store import UNKNOWN, Lease, Read, Store, StoreError
from hasten.cache.stores._redis_batch import Batches, Command, Request
from hasten.cache.stores._redis_servers import servers_of
from hasten.cache.stores._redis_url import redis_client

if TYPE_CHECKING:
    from redis.asyncio import Redis, RedisCluster

LONGEST_SECONDS = 27 * 86400.0
"""A value lives so long at most, whatever it is written for."""
TAG_SECONDS = 30 * 86400
"""A tag's version is kept for so long after its last raise, less up to a tenth by chance."""
_TOKEN_BYTES = 16

# EVAL, not EVALSHA: the text is smaller than most payloads, and a server that was restarted needs no second try.
# Each may run twice (a connection was lost, and nobody knows whether before or after): the outcome is the same.
_LEASE = """
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
return redis.call('GET', KEYS[1]) == ARGV[1] and 1 or 0
"""
_WRITE = """
if ARGV[3] and redis.call('GET', KEYS[2]) ~= ARGV[3] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('DEL', KEYS[2])
return 1
"""
_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
"""
_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local versions = {}
for place, key in ipairs(KEYS) do
  local version = tonumber(redis.call('GET', key) or 0) or 0
"""
_RAISE = f"""{_NOW}
  version = math.max(version + 1, now)
  redis.call('SET', key, string.format('%.0f', version), 'EX', ARGV[1])
  versions[place] = version
end
return versions
"""
_MAKE = f"""{_NOW}
  if version == 0 then
    version = now
    redis.call('SET', key, string.format('%.0f', version), 'EX', ARGV[1])
  end
  versions[place] = version
end
return versions
"""


class RedisStore(Store):
    """A second tier on redis-py.

    64 reads at once cost 2.5 µs of CPU each, redis-py's own GET 33; one alone costs 27, that GET 52. 64 at once in a
    cluster of three nodes cost 11 at most.

    Args:
      client: Made for this store, which closes it. Up to 4 of its connections to a server are in use at once. A client
        from a URL, `redis_store`'s, has the settings that serve best: RESP2, 1 s to connect, one try.
      prefix: Before all keys; caches with different prefixes share nothing.
    Raises:
      ConfigurationError: the client has `decode_responses`.
    """

    def __init__(self, client: "Redis | RedisCluster", *, prefix: str = "hasten:") -> None:
        self._servers = servers_of(client)
        self.name = name = self._servers.name
        plain = prefix.replace("%", "%%")
        self._value_of = f"{plain}{{k:%s}}".__mod__
        self._tag_of = f"{plain}{{t:%s}}".__mod__
        self._reading = f"cache GET {name}"
        self._leasing = f"cache LEASE {name}"
        self._writing = f"cache SET {name}"
        self._releasing = f"cache RELEASE {name}"
        self._invalidating = f"cache INVALIDATE {name}"

    @property
    def timeout(self) -> float:
        """Seconds in which `read` answers or raises StoreTimeout."""
        return self._servers.timeout

    @timeout.setter
    def timeout(self, seconds: float) -> None:
        self._servers.timeout = seconds

    def read(self, key: str, tags: Sequence[str] = ()) -> Awaitable[Read]:
        value = self._value_of(key)
        if not tags:
            request = Request(self._reading, key, (value,), _read_of)
            self._servers.of(value).add(request)
            return request
        keys = [value, *map(self._tag_of, tags)]
        groups = self._servers.by_server(keys)
        if len(groups) == 1:
            return self._request(groups[0][0], Request(self._reading, key, keys, _read_of))
        return self._read_from_many(key, keys)

    async def _read_from_many(self, key: str, keys: list[str]) -> Read:
        return _read_of(await self._found(self._ask(self._reading, key, keys)), keys)

    async def lease(self, key: str, seconds: float, tags: Sequence[str] = ()) -> Lease | None:
        name, keys = _lease_of(self._value_of(key)), list(map(self._tag_of, tags))
        token = secrets.token_bytes(_TOKEN_BYTES)
        taking = self._send(self._leasing, key, name, ("EVAL", _LEASE, 1, name, token, _milliseconds(seconds)))
        asking = self._ask(self._leasing, key, keys) if keys else []
        with self._giving_back(key, token, taking):
            if not await taking:
                return None
            versions = {tag: _version(data) for tag, data in (await self._found(asking)).items()}
            missing = [tag for tag, version in versions.items() if version == UNKNOWN]
            if missing:
                versions.update(await self._change_tags(self._leasing, key, _MAKE, missing))
            return Lease(token, tuple(versions[tag] for tag in keys))

    async def write(self, key: str, payload: bytes, seconds: float, token: bytes | None = None) -> bool:
        """Store a value for so many seconds, and end its lease; see `Store.write`.

        One without a token that Redis takes late, after its caller has given up, overwrites what came between; the
        cache always has a token.
        """
        value = self._value_of(key)
        command: Command = ("EVAL", _WRITE, 2, value, _lease_of(value), payload, _milliseconds(seconds))
        if token is None:
            return bool(await self._send(self._writing, key, value, command, len(payload)))
        writing = self._send(self._writing, key, value, (*command, token), len(payload))
        with self._giving_back(key, token, writing):
            return bool(await writing)

    async def release(self, key: str, token: bytes) -> None:
        releasing = self._request(self._servers.of(self._value_of(key)), self._release(key, token))
        with self._giving_back(key, token, releasing):
            await releasing

    async def invalidate(self, keys: Sequence[str] = (), tags: Sequence[str] = ()) -> tuple[int, ...]:
        about = " ".join((*keys[:3], *tags[:3]))
        values, names = list(dict.fromkeys(map(self._value_of, keys))), list(map(self._tag_of, tags))
        deleting = []
        for batches, group in self._servers.by_slot(values):
            command = ("UNLINK", *group, *map(_lease_of, group))
            deleting.append(self._request(batches, Request.to_do(self._invalidating, about, command)))
        versions = await self._change_tags(self._invalidating, about, _RAISE, list(dict.fromkeys(names)))
        for request in deleting:
            await request
        return tuple(versions[name] for name in names)

    async def aclose(self) -> None:
        await self._servers.aclose()

    # ---- asking

    def _request(self, batches: Batches, request: Request) -> Request:
        batches.add(request)
        return request

    def _send(self, wait_name: str, key: str, server_key: str, command: Command, payload_bytes: int = 0) -> Request:
        """Send a command to the server that has a key."""
        return self._request(self._servers.of(server_key), Request.to_do(wait_name, key, command, payload_bytes))

    def _ask(self, wait_name: str, key: str, server_keys: Sequence[str]) -> list[Request]:
        """Ask for values on the servers that have them."""
        groups = self._servers.by_server(server_keys)
        return [self._request(batches, Request(wait_name, key, keys)) for batches, keys in groups]

    async def _found(self, requests: Sequence[Request]) -> dict[str, bytes | None]:
        """Return the values by their keys on the server."""
        found: dict[str, bytes | None] = {}
        for request in requests:
            found.update(zip(request.keys, await request, strict=True))
        return found

    async def _change_tags(self, wait_name: str, about: str, script: str, names: Sequence[str]) -> dict[str, int]:
        """Run a script over tags; return their versions."""
        sent = []
        seconds = int(TAG_SECONDS * random.uniform(0.9, 1.0))  # what was made together does not end together
        for batches, group in self._servers.by_slot(names):
            command = ("EVAL", script, len(group), *group, seconds)
            sent.append((self._request(batches, Request.to_do(wait_name, about, command)), group))
        versions: dict[str, int] = {}
        for request, group in sent:
            versions.update(zip(group, await request, strict=True))
        return versions

    # ---- leases that nobody has

    def _release(self, key: str, token: bytes) -> Request:
        return Request.to_do(self._releasing, key, ("EVAL", _RELEASE, 1, _lease_of(self._value_of(key)), token))

    @contextmanager
    def _giving_back(self, key: str, token: bytes, request: Request) -> Iterator[None]:
        """Release a lease whose caller is cancelled or gets an error: Redis may have given it, now or later.

        Otherwise nobody could load the key until it ends by itself. The release is sent behind what was sent before;
        if that failed, when the server answers again.
        """
        try:
            yield
        except BaseException as error:
            batches, release = self._servers.of(self._value_of(key)), self._release(key, token)
            if not request.ended:
                request.then = release
            elif isinstance(error, StoreError):
                batches.add_later(release)
            else:
                batches.add_now_or_never(release)
            raise


def redis_store(url: str, *, prefix: str = "hasten:") -> RedisStore:
    """Return a second tier in the Redis of a URL (see `redis_client`), not connected yet.

    Raises:
      ConfigurationError: the URL is wrong.
    """
    return RedisStore(redis_client(url), prefix=prefix)


def _lease_of(value: str) -> str:
    """Return the server's key of the lease of a value, by the value's."""
    return f"{value}:lease"


def _read_of(found: dict[str, Any], keys: Sequence[str]) -> Read:
    """Return what a store has: of the first key the value, of the others the versions of tags."""
    payload = found[keys[0]]
    return Read(payload) if len(keys) == 1 else Read(payload, tuple([_version(found[key]) for key in keys[1:]]))


def _version(data: bytes | None) -> int:
    """Return a tag's version; UNKNOWN if it has none, or something else is there."""
    return int(data) if data is not None and data.isdigit() else UNKNOWN


def _milliseconds(seconds: float) -> int:
    """Return a time to live as Redis takes it: 1 at least."""
    return max(1, math.ceil(min(seconds, LONGEST_SECONDS) * 1000.0))
