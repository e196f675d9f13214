"""Clients of redis-py from URLs, bounded in what they do by themselves: one try to connect, no retries, RESP2."""

from collections.abc import Callable
from inspect import signature
from typing import Any, cast
from urllib.parse import SplitResult, urlsplit, urlunsplit

from hasten._core.errors import ConfigurationError, MissingDependency
from hasten.cache._checks import hides_login, split_address, without_password

try:
    from redis.asyncio import ConnectionPool, Redis, RedisCluster, Sentinel
    from redis.asyncio.cluster import ClusterNode
    from redis.asyncio.connection import AbstractConnection, SSLConnection, parse_url
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
except ModuleNotFoundError as error:
    if error.name != "redis":
        raise
    raise MissingDependency("redis", "redis") from error

CONNECT_SECONDS = 1.0
"""One try to connect takes so long at most."""
_SENTINEL_PORT = 26379
_REDIS_PORT = 6379


def redis_client(url: str) -> "Redis | RedisCluster":
    """Return a client for a URL, not connected yet.

    Args:
      url: `redis://user:password@host:port/db`, `rediss://` with TLS, `unix:///path?db=0`,
        `redis+cluster://host:port,host:port`, `redis+sentinel://host:port,host:port/service/db` (user and password are
        the service's; those of the sentinels are `?sentinel_username=&sentinel_password=`), `rediss+cluster://` and
        `rediss+sentinel://`. Other options after `?` are redis-py's.
    Raises:
      ConfigurationError: the URL is wrong.
    """
    parts = split_address(url)
    make = _SCHEMES.get(parts.scheme.replace("rediss", "redis"))
    if make is None:
        raise ConfigurationError(f"cache {parts.scheme}://", "is no scheme of Redis's")
    try:
        return make(parts)
    except (TypeError, ValueError) as error:
        where = f"cache {without_password(url)}"
        if hides_login(url):  # then the error has a part of the password
            problem, remedy = "its @ comes after a / ? or #", "write these in a password as %2F %3F %23"
            raise ConfigurationError(where, problem, remedy) from None
        raise ConfigurationError(where, str(error)) from error


def _bounded() -> dict[str, Any]:
    """Return a connection's settings that the URL may change.

    Without `socket_timeout`, because the batches have one, and redis-py's takes a task for each write on 3.11: 14 µs.
    RESP2, because RESP3 takes a round trip more to connect, and brings nothing here. Without `driver_info`, for which
    redis-py 8 reads its version from disk for every connection, in the loop.
    """
    silent = _known(AbstractConnection, driver_info=None)
    return {"protocol": 2, "socket_timeout": None, "socket_connect_timeout": CONNECT_SECONDS, **silent}


def _known(made: type[Any], **options: Any) -> dict[str, Any]:
    """Return those options that this version of redis-py has; older ones (from 5.3) do not need the others."""
    parameters = signature(made.__init__).parameters
    return {name: value for name, value in options.items() if name in parameters}


def _no_retry() -> Retry:
    return Retry(NoBackoff(), 0)


def _single(parts: SplitResult) -> "Redis":
    if parts.scheme != "unix":
        _check_database(parts.path.strip("/"))
    pool = ConnectionPool.from_url(urlunsplit(parts), retry=_no_retry(), **_bounded())
    _try_options(pool)
    return Redis.from_pool(pool)


def _cluster(parts: SplitResult) -> "RedisCluster":
    if parts.path.strip("/") not in {"", "0"}:
        raise ValueError(f"{parts.path} is behind the hosts, but a cluster has database 0 alone")
    nodes = [ClusterNode(host, port) for host, port in _hosts(parts, _REDIS_PORT)]
    options = _options(parts, "")
    if options.pop("connection_class", None) is SSLConnection:
        options["ssl"] = True
    # The given addresses stay those where the cluster is looked for: they may be names that outlive the nodes.
    options.update(_known(RedisCluster, dynamic_startup_nodes=False))
    return RedisCluster(startup_nodes=nodes, retry=_no_retry(), **options)


def _sentinel(parts: SplitResult) -> "Redis":
    service, _, database = parts.path.strip("/").partition("/")
    if not service:
        raise ValueError("names no service after the sentinels: redis+sentinel://host:port/service/db")
    _check_database(database)
    options = _options(parts, database)
    asking = {**_bounded(), "retry": _no_retry(), "socket_timeout": CONNECT_SECONDS}
    for name in ("username", "password"):
        if value := options.pop(f"sentinel_{name}", None):
            asking[name] = value
    if options.pop("connection_class", None) is SSLConnection:
        options["ssl"] = asking["ssl"] = True
    sentinel: Any = cast("Any", Sentinel)(_hosts(parts, _SENTINEL_PORT), sentinel_kwargs=asking)
    client: Redis = sentinel.master_for(service, retry=_no_retry(), **options)
    _try_options(client.connection_pool)
    return client


def _try_options(pool: Any) -> None:
    """Raise TypeError for an option that redis-py does not have, which would only come out at the first connection."""
    pool.make_connection()


def _options(parts: SplitResult, database: str) -> dict[str, Any]:
    """Return a connection's settings, with those of the URL, but for its hosts."""
    login, at, _ = parts.netloc.rpartition("@")
    scheme = parts.scheme.partition("+")[0]
    plain = urlunsplit((scheme, f"{login}{at}host", f"/{database}", parts.query, ""))
    options: dict[str, Any] = {**_bounded(), **parse_url(plain)}
    del options["host"]
    return options


def _check_database(database: str) -> None:
    """Refuse what redis-py would take for database 0 without a word."""
    if database and not (database.isascii() and database.isdigit()):
        raise ValueError(f"{database} is no number of a database; write redis://host:port/0")


def _hosts(parts: SplitResult, usual_port: int) -> list[tuple[str, int]]:
    hosts = []
    for one in parts.netloc.rpartition("@")[2].split(","):
        place = urlsplit(f"//{one}")
        if not place.hostname:
            raise ValueError("names no host")
        hosts.append((place.hostname, place.port or usual_port))
    return hosts


_SCHEMES: dict[str, Callable[[SplitResult], "Redis | RedisCluster"]] = {
    "redis": _single,
    "unix": _single,
    "redis+cluster": _cluster,
    "redis+sentinel": _sentinel,
}
