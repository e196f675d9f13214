"""Redis alone, behind Sentinel or as a Cluster: which server has a key, and how a batch is put to it with redis-py.

redis-py's source was read for this (8.1; the tests pass with 5.3 too):

- Its sender and reader are not made for being cancelled by callers; here only the batch's own timeout cancels one, and
  redis-py closes that connection.
- Its retries go on for seconds behind the caller's back; clients made from a URL have none (`_redis_url`).
- For a cluster it does not see that an idle connection was closed; `_Node` tries such a batch once more.
- Its pools raise MaxConnectionsError instead of letting a caller wait; the batches are fewer than the connections.
- A failed command of a cluster's pipeline closes the connections to all nodes, and waits. So each node gets its own
  batches, and a frozen one holds up nobody who asks another.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol

from hasten._core.errors import ConfigurationError, MissingDependency
from hasten.cache.stores._redis_batch import ANSWER_WITHIN, Batches, Command

try:
    from hiredis import pack_command
    from redis.asyncio import Redis, RedisCluster
    from redis.asyncio.cluster import PipelineCommand
    from redis.asyncio.sentinel import SentinelConnectionPool
    from redis.exceptions import (
        AskError,
        ClusterDownError,
        ConnectionError,  # noqa: A004 - redis-py's name
        MovedError,
        RedisClusterException,
        RedisError,
        ResponseError,
        TryAgainError,
    )
except ModuleNotFoundError as error:
    if error.name not in {"redis", "hiredis"}:
        raise
    raise MissingDependency("redis", "redis") from error

MOST_AT_ONCE = 4
"""Batches that a server is given at once: a large one must not hold up the rest, and few make the others larger."""
_LOOK_EVERY = 1.0  # seconds between two looks at the slots of a cluster; each takes some 10 ms of CPU
_REDIRECTED = (AskError, MovedError, TryAgainError)
_NODE_LOST = (ConnectionError, ClusterDownError, TimeoutError)


class Servers(Protocol):
    """Where keys live.

    Attributes:
      name: For messages: `redis localhost:6379`.
      timeout: Seconds in which a read is answered or fails.
    """

    name: str

    @property
    def timeout(self) -> float: ...

    @timeout.setter
    def timeout(self, seconds: float) -> None: ...

    def of(self, key: str) -> Batches:
        """Return the batches of the server that has a key."""

    def by_server(self, keys: Sequence[str]) -> list[tuple[Batches, Sequence[str]]]:
        """Return keys by the server that has them; keys of one server may be read together."""

    def by_slot(self, keys: Sequence[str]) -> list[tuple[Batches, Sequence[str]]]:
        """Return keys in groups that one script may have."""

    async def aclose(self) -> None:
        """Close the connections."""


def servers_of(client: "Redis | RedisCluster") -> Servers:
    """Return what a client of redis-py knows.

    Raises:
      ConfigurationError: it turns values into text.
    """
    encoder: Any = client.get_encoder()
    if encoder.decode_responses:
        raise ConfigurationError("Redis client", "decode_responses is on", "values are bytes: leave it off")
    return ClusterServers(client) if isinstance(client, RedisCluster) else SingleServer(client)


# ---- alone, or behind Sentinel


class SingleServer(Servers):
    """One server, which has all keys. Also a `Server` for its batches."""

    _MOST_IN_SCRIPT = 100  # keys: a script holds up everybody while it runs

    def __init__(self, client: "Redis") -> None:
        self._client = client
        self._pool: Any = client.connection_pool
        self.name = f"redis {_address(self._pool)}"
        self.most_at_once = min(MOST_AT_ONCE, self._pool.max_connections)
        self._batches = Batches(self)
        self._idle: list[Any] = []

    @property
    def timeout(self) -> float:
        return self._batches.timeout

    @timeout.setter
    def timeout(self, seconds: float) -> None:
        self._batches.timeout = seconds

    def of(self, key: str) -> Batches:
        return self._batches

    def by_server(self, keys: Sequence[str]) -> list[tuple[Batches, Sequence[str]]]:
        return [(self._batches, keys)]

    def by_slot(self, keys: Sequence[str]) -> list[tuple[Batches, Sequence[str]]]:
        size = self._MOST_IN_SCRIPT
        return [(self._batches, keys[first : first + size]) for first in range(0, len(keys), size)]

    async def run(self, commands: Sequence[Command], keys: Sequence[str]) -> tuple[Sequence[Any], Sequence[Any]]:
        asked: list[Any] = list(commands)
        if keys:
            asked.append(("GET" if len(keys) == 1 else "MGET", *keys))
        replies = await self._ask(b"".join(map(pack_command, asked)), len(asked))
        if not keys:
            return replies, ()
        values = replies.pop()
        if isinstance(values, Exception):
            raise values
        return replies, [values] if len(keys) == 1 else values

    async def _ask(self, packed: bytes, count: int) -> list[Any]:
        """Return the replies to packed commands, exceptions for those that were refused.

        Connections are kept from batch to batch: taking one from redis-py's pool and putting it back costs 20 µs, as
        much as all the rest. One that was closed meanwhile is found out by using it.
        """
        while self._idle:
            with suppress(ConnectionError):
                return await self._ask_by(self._idle.pop(), packed, count)
        return await self._ask_by(await self._pool.get_connection(), packed, count)

    async def _ask_by(self, connection: Any, packed: bytes, count: int) -> list[Any]:
        replies: list[Any] = []
        try:
            await connection.send_packed_command(packed, check_health=False)
            for _ in range(count):
                try:
                    replies.append(await connection.read_response())
                except ResponseError as error:
                    replies.append(error)
        except BaseException:
            await self._give_back(connection)
            raise
        self._idle.append(connection)
        return replies

    async def _give_back(self, connection: Any) -> None:
        await connection.disconnect(nowait=True)
        await self._pool.release(connection)

    async def aclose(self) -> None:
        await self._batches.aclose()
        while self._idle:
            await self._give_back(self._idle.pop())
        await self._client.aclose()
        if isinstance(self._pool, SentinelConnectionPool):
            for sentinel in self._pool.sentinel_manager.sentinels:
                await sentinel.aclose()


def _address(pool: Any) -> str:
    if isinstance(pool, SentinelConnectionPool):
        return f"sentinel {pool.service_name}"
    place = pool.connection_kwargs
    return place.get("path") or f"{place.get('host', 'localhost')}:{place.get('port', 6379)}"


# ---- a cluster


class ClusterServers(Servers):
    """The nodes of a cluster, as far as its slots are known."""

    def __init__(self, client: "RedisCluster") -> None:
        self._client = client
        self.name = "redis cluster " + ",".join(sorted(client.nodes_manager.startup_nodes))
        self._nodes: dict[str, Batches] = {}
        self._timeout = ANSWER_WITHIN
        self._unknown = Batches(_UnknownNodes(client, self.name))
        self._looking: asyncio.Task[None] | None = None
        self._looked = 0.0

    @property
    def timeout(self) -> float:
        return self._timeout

    @timeout.setter
    def timeout(self, seconds: float) -> None:
        self._timeout = seconds
        for batches in (self._unknown, *self._nodes.values()):
            batches.timeout = seconds

    def of(self, key: str) -> Batches:
        try:
            node = self._client.get_node_from_key(key)
        except RedisClusterException:  # the slots are not known yet, or nobody has this one
            return self._unknown
        assert node is not None  # only for a replica
        batches = self._nodes.get(node.name)
        if batches is None:
            batches = self._nodes[node.name] = Batches(_Node(self._client, node.name, self), self._timeout)
        return batches

    def by_server(self, keys: Sequence[str]) -> list[tuple[Batches, Sequence[str]]]:
        if len(keys) == 1:
            return [(self.of(keys[0]), keys)]
        groups: dict[Batches, list[str]] = {}
        for key in keys:
            groups.setdefault(self.of(key), []).append(key)
        return list(groups.items())

    def by_slot(self, keys: Sequence[str]) -> list[tuple[Batches, Sequence[str]]]:
        return [(self.of(key), (key,)) for key in keys]

    def look_again(self) -> None:
        """Ask the cluster who has which slots: a node was lost, and another may have its slots."""
        now = time.monotonic()
        if self._looking is None and now - self._looked > _LOOK_EVERY:
            self._looked = now
            self._looking = asyncio.get_running_loop().create_task(self._look())

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(_LOOK_EVERY):
                await self._client.nodes_manager.initialize()
        except (RedisError, RedisClusterException, OSError):
            pass  # the next failure has it looked at again
        finally:
            self._looking = None

    async def aclose(self) -> None:
        await asyncio.gather(*(batches.aclose() for batches in (self._unknown, *self._nodes.values())))
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        await self._client.aclose()


class _Node:
    """One node of a cluster, for its batches. It has no MGET: keys of one node lie in several slots."""

    most_at_once = MOST_AT_ONCE

    def __init__(self, client: "RedisCluster", name: str, cluster: ClusterServers) -> None:
        self._client = client
        self._name = name
        self._cluster = cluster
        self.name = f"redis {name}"

    async def run(self, commands: Sequence[Command], keys: Sequence[str]) -> tuple[Sequence[Any], Sequence[Any]]:
        asked = [*commands, *(("GET", key) for key in keys)]
        try:
            try:
                replies = await self._ask(asked)
            except ConnectionError:  # an idle one may have been closed long ago: for a cluster redis-py does not look
                replies = await self._ask(asked)
        except _NODE_LOST:
            self._cluster.look_again()
            raise
        return replies[: len(commands)], replies[len(commands) :]

    async def _ask(self, asked: Sequence[Command]) -> list[Any]:
        node = self._client.get_node(node_name=self._name)
        if node is None:
            raise ConnectionError(f"{self._name} is no node of the cluster any more")
        pipeline = [PipelineCommand(place, *command) for place, command in enumerate(asked)]
        if await node.execute_pipeline(pipeline):
            await self._mend(node, pipeline)
        return [command.result for command in pipeline]

    async def _mend(self, node: Any, pipeline: Sequence[PipelineCommand]) -> None:
        """Follow redirections; raise what concerns the node.

        Raises:
          RedisError: the node is lost, or a value could not be read.
        """
        for command in pipeline:
            if isinstance(command.result, _REDIRECTED):
                command.result = await self._client.execute_command(*command.args)
            elif isinstance(command.result, ConnectionError):
                await node.disconnect()  # the other ones are closed as well
                raise command.result
            elif isinstance(command.result, Exception) and (
                command.args[0] == "GET" or isinstance(command.result, _NODE_LOST)
            ):
                raise command.result


class _UnknownNodes:
    """All nodes, while the slots are not known: redis-py looks for them and finds the way itself."""

    most_at_once = MOST_AT_ONCE

    def __init__(self, client: "RedisCluster", name: str) -> None:
        self._client = client
        self.name = name

    async def run(self, commands: Sequence[Command], keys: Sequence[str]) -> tuple[Sequence[Any], Sequence[Any]]:
        await self._client.initialize()
        pipeline: Any = self._client.pipeline()
        for command in (*commands, *(("GET", key) for key in keys)):
            pipeline.execute_command(*command)
        replies = await pipeline.execute(raise_on_error=False)
        for reply in replies[len(commands) :]:
            if isinstance(reply, Exception):
                raise reply
        return replies[: len(commands)], replies[len(commands) :]
