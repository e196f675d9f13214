"""A second tier in Memcached: `memcached_store("memcached://host:port,host:port")`, on emcache.

Memcached carries no messages between processes: it cannot be a cache's backplane (`carries_backplane`).

Why no late writer writes. A key's value and its lease share one item, in one of three states:

    value                    until when it counts, bytes
    value under a lease      the same, with the lease's token and its end
    lease alone              token and end

and the item is changed in three ways only: `add` (nothing -> lease alone), `cas` (from a state that was read to the
next one), and `set` or `delete`, which ask for nothing. Memcached gives an item a new cas id at each change, so a `cas`
succeeds only if nothing has changed the item since it was read; and its commands on one item happen one after another.

- A lease is taken by `add`, or by `cas` from a state whose lease is over (of two who try, one succeeds). A value stays
  in the item and readable; its bytes are sent once more for that.
- A writer reads the item, looks whether its own token is there and its lease not over, and writes by `cas`. If the key
  was invalidated before it read, the item or its token is gone; if between reading and `cas`, there is no item, or one
  with another cas id. The same for another lease, for `write` without a token, and for an item that the server expired
  or threw out. So it writes nothing in every order; and a write that arrives late, after its caller has given up, is
  the same `cas`.
- `release` is a `cas` to the value without lease, or to nothing: an item that is over at once.
- A server that starts anew has no items, and gives cas ids from 1 again. The token decides, not the id alone, which is
  taken just before it is used; it could be mistaken only if the server were replaced between.
- Ends of leases and values are moments by `time.time()`, so processes need clocks that agree to a part of a lease. The
  server's own time, which counts whole seconds, ends them a second or two later at the most, whatever clocks say.

Versions of tags are microseconds since the epoch, put there by `add` and raised by `incr`, so they grow over the loss
of the server's data. They could fall only where a tag is lost within the difference of two processes' clocks after it
was made; each store's clock therefore runs ahead of the versions that it has made or raised. Tags do not expire: the
server throws out those that nobody asks for, which makes the values that have them count for nothing.

`k:PREFIX:KEY` is the item of a key, `t:PREFIX:TAG` that of a tag; PREFIX is a digest of the store's prefix, which is
the namespace of a cache.

Several servers: a key lives on one of them, the one with the highest score (rendezvous hashing), by the server's name
as it stands in the URL. All processes must give the same servers by the same names, in any order. A server that cannot
be reached is not replaced by another: what it has would come back when it does.
"""

import asyncio
import secrets
import time
from collections.abc import Coroutine, Mapping, Sequence
from hashlib import blake2b
from typing import Any, ClassVar
from urllib.parse import urlsplit

from hasten._core.errors import ConfigurationError
from hasten.cache._checks import split_address, without_password
from hasten.cache._store import UNKNOWN, Lease, Read, Store, StoreError, TooLarge
from hasten.cache.stores._memcached_item import TOKEN_BYTES, Item, payload_of, unpack_item
from hasten.cache.stores._memcached_node import Node

_DEFAULT_PORT = 11211
_AT_ONCE = -1
_NEVER = 0
_PREFIX_BYTES = 8
_TRIES = 5  # of a change that others come between


def memcached_store(url: str, *, prefix: str = "hasten:", timeout: float = 1.0) -> "MemcachedStore":
    """Return a store for `memcached://host:port,host:port`; it connects when it is first used.

    Args:
      prefix: Stores with different ones share nothing.
      timeout: Seconds until a command that is not answered fails; the cache above waits less.
    Raises:
      ConfigurationError: the URL is wrong.
      MissingDependency: emcache is not installed (when this module is imported).
    """
    parts = split_address(url)
    has_more = parts.path.strip("/") or parts.query or parts.fragment or "@" in url
    if parts.scheme != "memcached" or not parts.netloc or has_more:
        where, remedy = f"cache {without_password(url)}", "write memcached://host:port,host:port"
        raise ConfigurationError(where, "not a URL of Memcached servers", remedy)
    return MemcachedStore([_address(url, host) for host in parts.netloc.split(",")], prefix=prefix, timeout=timeout)


def _address(url: str, text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigurationError(url, f"{text}: {error}") from error
    if not host:
        raise ConfigurationError(url, "a server has no name", "write memcached://host:port,host:port")
    return host, _DEFAULT_PORT if port is None else port


class MemcachedStore(Store):
    """The store's contract over one or more Memcached servers; used in one event loop.

    A value that the server refuses for its size (1 MiB with the item's head, unless it was started with -I) raises
    TooLarge, and ends its lease.

    Args:
      addresses: Host and port of each server.
      prefix: Stores with different ones share nothing: a digest of it stands in all keys.
      timeout: Seconds until a command that is not answered fails.
    """

    carries_backplane: ClassVar[bool] = False

    def __init__(self, addresses: Sequence[tuple[str, int]], *, prefix: str = "hasten:", timeout: float = 1.0) -> None:
        if len(set(addresses)) < len(addresses) or not addresses:
            raise ConfigurationError("memcached", "a server is named twice, or none is")
        self.name = "memcached " + ",".join(f"{host}:{port}" for host, port in addresses)
        self._nodes = [Node(self.name, host, port, timeout) for host, port in addresses]
        self._newest = 0
        # A digest, because a server's key has 250 bytes at most, and 200 of these are the cache's.
        digest = blake2b(prefix.encode(), digest_size=_PREFIX_BYTES).hexdigest()
        self._items, self._tags = f"k:{digest}:".encode(), f"t:{digest}:".encode()

    @property
    def timeout(self) -> float:
        """Seconds in which `read` answers or raises StoreTimeout."""
        return self._nodes[0].fetch_timeout

    @timeout.setter
    def timeout(self, seconds: float) -> None:
        for node in self._nodes:
            node.fetch_timeout = seconds

    @property
    def wait_name(self) -> str:
        """What the ledger calls a wait for this store."""
        return f"cache {self.name}"

    @property
    def wait_identity(self) -> str:
        """What is equal for equal questions: not known here."""
        return ""

    # ---- the contract

    async def read(self, key: str, tags: Sequence[str] = ()) -> Read:
        """Return a key's value and the versions of tags; reads of one pass of the loop share a round trip."""
        item_key = self._item_key(key)
        if not tags:
            found = await self._fetch((item_key,))
            return Read(payload_of(found.get(item_key), time.time()))
        tag_keys = [self._tag_key(tag) for tag in tags]
        found = await self._fetch((item_key, *tag_keys))
        return Read(
            payload_of(found.get(item_key), time.time()), tuple(_version(found.get(tag_key)) for tag_key in tag_keys)
        )

    async def lease(self, key: str, seconds: float, tags: Sequence[str] = ()) -> Lease | None:
        """Return the right to load a key for so many seconds; None while another holds it.

        One round trip where the server has nothing, three where it has a stale value; one more for tags.
        Cancellation: the lease may have been taken; then it ends with its time.
        """
        token = secrets.token_bytes(TOKEN_BYTES)
        if not await self._take_lease(self._item_key(key), seconds, token):
            return None
        return Lease(token, await self._versions(tags) if tags else ())

    async def write(self, key: str, payload: bytes, seconds: float, token: bytes | None = None) -> bool:
        """Store a value for so many seconds, and end its lease; two round trips with a token, one without.

        Returns:
          Whether it was stored; False if the lease has ended, or the key was invalidated or written meanwhile.
        Raises:
          TooLarge: the server does not take so much; the lease has ended.
          StoreError: the server failed.
        """
        item_key = self._item_key(key)
        node = self._node(item_key)
        now = time.time()
        item = Item(payload, now + seconds)
        if token is None:
            await node.set(item_key, item.pack(), item.exptime(now))
            return True
        held = await self._held(node, item_key, token)
        if held is None or not time.time() < held[0].lease_until:
            return False
        try:
            return await node.cas(item_key, item.pack(), held[1], item.exptime(now))
        except TooLarge:
            await self.release(key, token)
            raise

    async def release(self, key: str, token: bytes) -> None:
        """End a lease without a value, if it is still held: the next one may load."""
        item_key = self._item_key(key)
        node = self._node(item_key)
        held = await self._held(node, item_key, token)
        if held is None:
            return
        item, cas = held
        if item.payload is None:
            await node.cas(item_key, b"", cas, _AT_ONCE)
        else:
            free = Item(item.payload, item.expires_at)
            await node.cas(item_key, free.pack(), cas, free.exptime(time.time()))

    async def invalidate(self, keys: Sequence[str] = (), tags: Sequence[str] = ()) -> tuple[int, ...]:
        """Delete values and their leases, and raise tags' versions; return the new versions, in the tags' order.

        Raises:
          StoreError: a server failed; what could be done on the others is done.
        """
        item_keys = dict.fromkeys(map(self._item_key, keys))
        names = list(dict.fromkeys(tags))  # one that is named twice is raised once
        deletions = [self._node(item_key).delete(item_key) for item_key in item_keys]
        raised: list[Coroutine[Any, Any, int]] = [self._raise_tag(self._tag_key(tag)) for tag in names]
        answers = await asyncio.gather(*deletions, *raised, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        versions = dict(zip(names, answers[len(deletions) :], strict=True))
        return tuple(version for tag in tags if isinstance(version := versions[tag], int))

    async def aclose(self) -> None:
        """Close the connections."""
        await asyncio.gather(*(node.aclose() for node in self._nodes))

    # ---- items

    async def _take_lease(self, item_key: bytes, seconds: float, token: bytes) -> bool:
        node = self._node(item_key)
        for _ in range(_TRIES):
            now = time.time()
            lease = Item(token=token, lease_until=now + seconds)
            if await node.add(item_key, lease.pack(), lease.exptime(now)):
                return True
            found = await node.gets(item_key)
            if found is None:
                continue
            item = unpack_item(found[0], now)
            if now < item.lease_until:
                return False
            taken = Item(item.payload, item.expires_at, token, now + seconds)
            if await node.cas(item_key, taken.pack(), found[1], taken.exptime(now)):
                return True
        return False

    async def _held(self, node: Node, item_key: bytes, token: bytes) -> tuple[Item, int] | None:
        """Return the item that has this lease, and its cas id."""
        found = await node.gets(item_key)
        if found is None:
            return None
        item = unpack_item(found[0], time.time())
        return (item, found[1]) if item.token == token else None

    # ---- tags

    async def _versions(self, tags: Sequence[str]) -> tuple[int, ...]:
        """Return the tags' versions, and give one to those that have none."""
        tag_keys = [self._tag_key(tag) for tag in tags]
        for _ in range(_TRIES):
            found = await self._fetch(tag_keys)
            versions = tuple(_version(found.get(tag_key)) for tag_key in tag_keys)
            if UNKNOWN not in versions:
                self._newest = max(self._newest, *versions)
                return versions
            missing = [tag_key for tag_key, version in zip(tag_keys, versions, strict=True) if version == UNKNOWN]
            await asyncio.gather(*(self._add_tag(tag_key) for tag_key in missing))
        raise StoreError(self.name, "it does not keep the tags that it is given")

    async def _raise_tag(self, tag_key: bytes) -> int:
        """Raise a tag's version and return it; a tag without one gets one that was never its own."""
        for _ in range(_TRIES):
            version = await self._node(tag_key).increment(tag_key)
            if version is not None:
                self._newest = max(self._newest, version)
                return version
            version = await self._add_tag(tag_key)
            if version is not None:
                return version
        raise StoreError(self.name, "it does not keep the tags that it is given")

    async def _add_tag(self, tag_key: bytes) -> int | None:
        """Give a tag its first version and return it; None if it has one."""
        version = self._newest = max(time.time_ns() // 1000, self._newest + 1)
        return version if await self._node(tag_key).add(tag_key, b"%d" % version, _NEVER) else None

    # ---- keys and servers

    def _item_key(self, key: str) -> bytes:
        return self._items + key.encode()

    def _tag_key(self, tag: str) -> bytes:
        return self._tags + tag.encode()

    def _node(self, full_key: bytes) -> Node:
        """Return the server that a key lives on; 1 µs for each where there are several."""
        nodes = self._nodes
        if len(nodes) == 1:
            return nodes[0]
        return max(nodes, key=lambda node: blake2b(full_key, digest_size=8, key=node.seed).digest())

    async def _fetch(self, full_keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        """Return what the servers have under these keys; all are asked at once."""
        if len(self._nodes) == 1:
            return await self._nodes[0].fetch(full_keys)
        by_node: dict[Node, list[bytes]] = {}
        for full_key in full_keys:
            by_node.setdefault(self._node(full_key), []).append(full_key)
        answers = [node.fetch(keys) for node, keys in by_node.items()]
        found: dict[bytes, bytes] = {}
        try:
            for answer in answers:
                found.update(await answer)
        finally:
            for answer in answers:  # after a failure or a cancellation nobody reads the others
                if not answer.cancel() and not answer.cancelled():
                    answer.exception()
        return found


def _version(data: bytes | None) -> int:
    if data is None:
        return UNKNOWN
    try:
        return int(data)
    except ValueError:  # no store has written this
        return UNKNOWN
