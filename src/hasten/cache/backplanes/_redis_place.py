"""Where Redis is: a URL or a client of the user's, and the connections of our own that are made there.

Members of a namespace must meet on one node, because only there does a beat come back behind what was announced before
it. Alone or behind Sentinel that is the master; in a Cluster it is the node that has the slot of the namespace. What
the nodes of a Cluster pass on to each other may come behind any beat.
"""

from inspect import signature
from typing import TYPE_CHECKING, Any, Protocol

from hasten._core.errors import MissingDependency

try:
    from redis.asyncio import Redis, RedisCluster
    from redis.asyncio.connection import AbstractConnection
    from redis.exceptions import RedisError
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


class Connection(Protocol):
    """What we use of redis-py's connections: nothing that reconnects, subscribes again or tries again by itself."""

    async def connect(self) -> None: ...
    async def disconnect(self, nowait: bool = ...) -> None: ...  # noqa: FBT001 - redis-py's signature
    def pack_commands(self, commands: list[tuple[Any, ...]]) -> list[bytes]: ...
    async def send_packed_command(self, command: list[bytes], check_health: bool = ...) -> None: ...  # noqa: FBT001
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


def _name(client: "Redis | RedisCluster") -> str:
    """Return where a client's server is, for messages."""
    if isinstance(client, RedisCluster):
        return "cluster " + ",".join(sorted(client.nodes_manager.startup_nodes))
    pool = client.connection_pool
    service = getattr(pool, "service_name", None)
    if service is not None:
        return f"sentinel {service}"
    settings = pool.connection_kwargs
    return str(settings.get("path") or f"{settings.get('host', 'localhost')}:{settings.get('port', 6379)}")
