"""Where Redis is: a URL or a client of the user's, and the connections of our own that are made there.

Members of a namespace must meet on one node, because only there does a beat come back behind what was announced before
it. Alone or behind Sentinel that is the master; in a Cluster it is the node that has the slot of the namespace. What
the nodes of a Cluster pass on to each other may come behind any beat.
"""

import errno
import re
from inspect import signature
from typing import TYPE_CHECKING, Any, Protocol

from hasten._core.errors import MissingDependency

try:
    from redis.asyncio import Redis, RedisCluster
    from redis.asyncio.connection import AbstractConnection
    from redis.exceptions import BusyLoadingError, RedisError, ResponseError
except ModuleNotFoundError as error:
    if error.name != "redis":
        raise
    raise MissingDependency("redis", "redis") from error

from hasten.cache.stores._redis_url import redis_client

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio.cluster import ClusterNode

Failures = (RedisError, OSError, TimeoutError)
"""What redis-py raises when Redis cannot be reached or does not do what it was asked."""
NotAllowed = ResponseError
"""What it raises when Redis refuses one command."""

_ERROR_NUMBER = re.compile(r"\[Errno (\d+)\]")


class Connection(Protocol):
    """What we use of redis-py's connections: nothing that reconnects, subscribes again or tries again by itself."""

    async def connect(self) -> None: ...
    async def disconnect(self, nowait: bool = ...) -> None: ...  # noqa: FBT001 - redis-py's signature
    async def send_packed_command(self, command: bytes, check_health: bool = ...) -> None: ...  # noqa: FBT001
    async def read_response(self, disable_decoding: bool = ..., *, disconnect_on_error: bool = ...) -> Any: ...  # noqa: FBT001


class RedisPlace:
    """The node on which the members of a namespace meet.

    Args:
      where: A URL, or a client of which only the settings are used: where the server is and how to log in.
    Raises:
      ConfigurationError: the URL is wrong.
    """

    def __init__(self, where: "str | Redis | RedisCluster") -> None:
        self._owned = isinstance(where, str)
        self._client = redis_client(where) if isinstance(where, str) else where
        self._looked = False
        self._is_one_server = not (isinstance(self._client, RedisCluster) or _service(self._client))
        self.name = f"redis {_name(self._client)}"

    async def connections(self, count: int, key: str) -> list[Connection]:
        """Return so many new connections, not open yet, to the node that has a key.

        Raises:
          RedisError, OSError: a cluster does not say where that is.
        """
        made: Callable[..., Any]
        if isinstance(self._client, RedisCluster):
            node = await self._node_of(self._client, key)
            made, settings = node.connection_class, node.connection_kwargs
        else:
            pool = self._client.connection_pool
            made, settings = pool.connection_class, pool.connection_kwargs
        return [made(**_plain(settings)) for _ in range(count)]

    def is_away(self, error: Exception) -> bool:
        """Whether an error of a new connection shows that no process can announce anything at that moment.

        No server listens at the one place that there is; or it is loading its data, and has taken nothing since it was
        started. What says nothing may answer others. A Cluster, and what Sentinel watches, may have another master by
        now that we have not heard of.
        """
        return self._is_one_server and (isinstance(error, BusyLoadingError) or _was_refused(error))

    async def aclose(self) -> None:
        """Close the client that was made from a URL."""
        if self._owned:
            await self._client.aclose()
            sentinel = getattr(getattr(self._client, "connection_pool", None), "sentinel_manager", None)
            for client in sentinel.sentinels if sentinel is not None else ():
                await client.aclose()

    async def _node_of(self, cluster: "RedisCluster", key: str) -> "ClusterNode":
        await cluster.initialize()
        if self._looked:  # we are here again because something was lost: the slot may have moved
            await cluster.nodes_manager.initialize()
        self._looked = True
        node = cluster.get_node_from_key(key)
        if node is None:
            raise RedisError(f"no node of the cluster has the slot of {key}")
        return node


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    """Return a connection's settings without what makes it act by itself.

    RESP2, because messages are replies like others there, and redis-py 8 formats every message of RESP3 for its log.
    No `driver_info`, for which redis-py 8 reads its version from disk, in the loop.
    """
    left_out = ("maint_", "orig_", "oss_cluster_", "himport_", "legacy_responses", "response_callbacks")
    plain = {name: value for name, value in settings.items() if not name.startswith(left_out)}
    plain.update(protocol=2, decode_responses=False, socket_timeout=None, health_check_interval=0)
    plain.update(retry=None, retry_on_error=[], retry_on_timeout=False)
    if "driver_info" in signature(AbstractConnection.__init__).parameters:
        plain["driver_info"] = None
    return plain


def _was_refused(error: Exception) -> bool:
    """Whether each address of the server's name has refused the connection.

    redis-py raises an error of its own while it handles the system's; of several addresses asyncio makes one error,
    which has their numbers in its text only.
    """
    cause = error.__context__
    return isinstance(cause, OSError) and set(_ERROR_NUMBER.findall(str(cause))) == {str(errno.ECONNREFUSED)}


def _service(client: "Redis | RedisCluster") -> str | None:
    """Return what Sentinel calls a client's master; None if it is not asked."""
    return getattr(getattr(client, "connection_pool", None), "service_name", None)


def _name(client: "Redis | RedisCluster") -> str:
    """Return where a client's server is, for messages."""
    if isinstance(client, RedisCluster):
        return "cluster " + ",".join(sorted(client.nodes_manager.startup_nodes))
    service = _service(client)
    if service is not None:
        return f"sentinel {service}"
    settings = client.connection_pool.connection_kwargs
    return str(settings.get("path") or f"{settings.get('host', 'localhost')}:{settings.get('port', 6379)}")
