"""One Memcached server, as the store sees it: commands that answer, fail with StoreError, and never hang.

emcache does the protocol and the connections. What it is used for here and what not (1.3.3, its source read):

- Its autobatching is off: a batch of `gets` with two keys or more fails on the second one (it takes a list's item for
  the list), and a batch that fails by anything but a timeout never answers. `Node.fetch` batches instead, and puts a
  key and its tags into one future.
- It waits longer and longer between tries to connect, up to 60 s, without jitter. A client without a connection is
  replaced here after CONNECT_SECONDS to 1.5 of it, when somebody asks for something.
- Who waits for one of its connections is served last in, first out: with 64 writers always at work the first ones wait
  until they time out. So here they wait in a queue, before emcache.
- A command whose connection is lost, or whose server stands still, is never answered: the timeout is here.
- A cancelled command closes its connection, so that nobody gets its reply.
"""

import asyncio
import contextvars
import random
import re
import time
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from hashlib import blake2b
from typing import Any, TypeVar

from hasten._core.errors import MissingDependency
from hasten.cache._store import StoreError, StoreTimeout, TooLarge

try:
    import emcache
except ModuleNotFoundError as error:
    if error.name != "emcache":
        raise
    raise MissingDependency("emcache", "memcached") from error

Answer = TypeVar("Answer")

CONNECT_SECONDS = 1.0
"""One try to connect takes so long at most."""
_MOST_CONNECTIONS = 4
_MOST_KEYS = 100  # of a batch: one line of some 20 KB at most
_REPLY = re.compile(r"bytearray\(b['\"](.*)['\"]\)$")


class _Batch:
    """What is asked for in one pass of the loop."""

    __slots__ = ("keys", "waiters")

    def __init__(self) -> None:
        self.keys: dict[bytes, None] = {}
        self.waiters: list[asyncio.Future[Mapping[bytes, bytes]]] = []


class Node:
    """A server and the connections to it; opened by the first command, in the loop that it runs in.

    Args:
      store: The store's name, for errors.
      host, port: Where it listens.
      timeout: Seconds until a command that is not answered fails, the wait for a connection included.
    Attributes:
      fetch_timeout: The same for `fetch`.
      seed: Says which keys live here: the same in every process.
    """

    def __init__(self, store: str, host: str, port: int, timeout: float) -> None:
        self.seed = blake2b(f"{host}:{port}".encode(), digest_size=16).digest()
        self._store = store
        self._address = emcache.MemcachedHostAddress(host, port)
        self._timeout = self.fetch_timeout = timeout
        self._opening: asyncio.Task[emcache.Client] | None = None
        self._connections = asyncio.Semaphore(_MOST_CONNECTIONS)  # first in, first out
        self._may_reopen_at = 0.0
        self._doubtful = False
        self._closed = False
        self._batch: _Batch | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    # ---- commands

    def fetch(self, keys: Sequence[bytes]) -> asyncio.Future[Mapping[bytes, bytes]]:
        """Return what is under these keys, among other values perhaps; all fetches of one pass share a round trip.

        Cancellation: of one future, harms nobody else.
        """
        loop = asyncio.get_running_loop()
        batch = self._batch
        if batch is None:
            batch = self._batch = _Batch()
            loop.call_soon(self._send)
        for key in keys:
            batch.keys[key] = None
        waiter = loop.create_future()
        batch.waiters.append(waiter)
        if len(batch.keys) >= _MOST_KEYS:
            self._send()
        return waiter

    async def gets(self, key: bytes) -> tuple[bytes, int] | None:
        """Return a value with its cas id."""
        async with self._asking() as client:
            item = await client.gets(key)
        return None if item is None or item.cas is None else (item.value, item.cas)

    async def set(self, key: bytes, value: bytes, exptime: int) -> None:
        """Store a value."""
        async with self._asking() as client:
            await client.set(key, value, exptime=exptime)

    async def add(self, key: bytes, value: bytes, exptime: int) -> bool:
        """Store a value where there is none; return whether it was stored."""
        async with self._asking() as client:
            try:
                await client.add(key, value, exptime=exptime)
            except emcache.NotStoredStorageCommandError:
                return False
            return True

    async def cas(self, key: bytes, value: bytes, cas: int, exptime: int) -> bool:
        """Store a value in the place of the one that has this cas id; return whether it was stored."""
        async with self._asking() as client:
            try:
                await client.cas(key, value, cas, exptime=exptime)
            except emcache.NotStoredStorageCommandError:
                return False
            except emcache.StorageCommandError as error:
                if _reply(error) == "NOT_FOUND":
                    return False
                raise
            return True

    async def delete(self, key: bytes) -> None:
        """Delete a value if there is one."""
        async with self._asking() as client:
            try:
                await client.delete(key)
            except emcache.NotFoundCommandError:
                return

    async def increment(self, key: bytes) -> int | None:
        """Add 1 to a number and return it; None if there is none."""
        async with self._asking() as client:
            try:
                return await client.increment(key, 1)
            except emcache.NotFoundCommandError:
                return None

    async def aclose(self) -> None:
        """Close the connections; what is under way fails."""
        self._closed = True
        opening, self._opening = self._opening, None
        if opening is not None:
            await _close(opening)
        self._send()  # what waits in a batch is told so
        for task in self._tasks:
            task.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)

    # ---- batches

    def _send(self) -> None:
        """Ask for what the batch has gathered; nothing when that was done because it was full."""
        batch, self._batch = self._batch, None
        if batch is not None:
            self._keep(self._ask_for(batch)).add_done_callback(partial(self._deliver, batch))

    async def _ask_for(self, batch: _Batch) -> dict[bytes, bytes]:
        async with self._asking(self.fetch_timeout) as client:
            if len(batch.keys) == 1:  # get_many would make a task for it: 10 µs
                (key,) = batch.keys
                item = await client.get(key)
                return {} if item is None else {key: item.value}
            items = await client.get_many(tuple(batch.keys))
        return {key: item.value for key, item in items.items()}

    def _deliver(self, batch: _Batch, task: "asyncio.Task[dict[bytes, bytes]]") -> None:
        """Answer all who wait for a batch; of a failure each gets an exception of its own."""
        error = StoreError(self._store, "closed") if task.cancelled() else task.exception()
        for waiter in batch.waiters:
            if waiter.done():
                continue
            if error is None:
                waiter.set_result(task.result())
            elif isinstance(error, StoreError):
                failure = type(error)(error.store, error.reason)
                failure.__cause__ = error.__cause__
                waiter.set_exception(failure)
            else:
                waiter.set_exception(error)

    def _keep(self, work: Coroutine[Any, Any, Answer]) -> "asyncio.Task[Answer]":
        """Return a task that `aclose` ends; in nobody's context, as it works for many."""
        task = asyncio.get_running_loop().create_task(work, context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # ---- the client

    @asynccontextmanager
    async def _asking(self, within: float | None = None) -> AsyncIterator[emcache.Client]:
        """Give the client to a command, and translate what it raises."""
        seconds = self._timeout if within is None else within
        try:
            async with asyncio.timeout(seconds), self._connections:
                yield await self._client()
        except emcache.CommandError as error:
            reply = _reply(error)
            raise (TooLarge if "too large" in reply else StoreError)(self._store, reply) from error
        except TimeoutError as error:
            self._doubtful = True
            raise StoreTimeout(self._store, f"no answer within {seconds:g} s") from error
        except (OSError, RuntimeError, ValueError, emcache.ClusterNoAvailableNodes) as error:
            self._doubtful = True
            raise StoreError(self._store, str(error)) from error
        except asyncio.CancelledError:
            self._doubtful = True  # perhaps by a timeout further up
            raise
        self._doubtful = False

    async def _client(self) -> emcache.Client:
        if self._closed:
            raise StoreError(self._store, "closed")
        opening = self._opening
        if opening is None or (self._doubtful and self._is_cut_off(opening)):
            opening = self._opening = self._reopened(opening)
        return opening.result() if opening.done() else await asyncio.shield(opening)

    def _is_cut_off(self, opening: "asyncio.Task[emcache.Client]") -> bool:
        """Whether the client had its time to connect, and has no connection."""
        if not opening.done() or time.monotonic() < self._may_reopen_at:
            return False
        pools = opening.result().cluster_managment().connection_pool_metrics()
        return all(pool.cur_connections == 0 for pool in pools.values())

    def _reopened(self, old: "asyncio.Task[emcache.Client] | None") -> "asyncio.Task[emcache.Client]":
        """Return a new client, which begins to connect at once, in the place of one that waits to."""
        loop = asyncio.get_running_loop()
        if old is not None:
            self._keep(_close(old))
        self._may_reopen_at = time.monotonic() + CONNECT_SECONDS * random.uniform(1.0, 1.5)
        opened = emcache.create_client(
            [self._address],
            timeout=None,
            max_connections=_MOST_CONNECTIONS,
            purge_unused_connections_after=None,
            connection_timeout=CONNECT_SECONDS,
        )
        # Its tasks outlive the command that is the first: they take nothing of its context with them.
        return loop.create_task(opened, context=contextvars.Context())


async def _close(opening: "asyncio.Task[emcache.Client]") -> None:
    await (await opening).close()


def _reply(error: emcache.CommandError) -> str:
    """Return what the server said: emcache has it in its message alone."""
    found = _REPLY.search(str(error))
    return found[1] if found else str(error) or type(error).__name__
