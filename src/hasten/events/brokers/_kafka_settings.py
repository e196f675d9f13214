"""What a URL of Kafka says, and how librdkafka's clients are set up for it; nothing here needs the driver."""

from collections.abc import Callable
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from hasten._core.errors import ConfigurationError

PARTITIONS = 6
"""Of a topic that is made here: they divide evenly among 1, 2, 3 and 6 consumers. One alone is as concurrent."""
_PORT = 9092
_EXAMPLE = "write kafka://host:9092,host:9092?option=value, and / ? # @ in a password as %2F %3F %23 %40"
_PASSED = (
    "api.version.",
    "batch.",
    "broker.",
    "client.",
    "compression.",
    "connections.max.idle.ms",
    "enable.sasl.",
    "enable.ssl.",
    "fetch.",
    "heartbeat.interval.ms",
    "https.ca.",
    "isolation.level",
    "linger.ms",
    "max.in.flight",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "message.max.bytes",
    "message.timeout.ms",
    "metadata.max.",
    "metadata.recovery.",
    "partitioner",
    "queue.buffering.",
    "queued.",
    "receive.message.max.bytes",
    "reconnect.",
    "request.timeout.ms",
    "retry.backoff.",
    "sasl.",
    "security.protocol",
    "session.timeout.ms",
    "socket.",
    "ssl.",
    "test.mock.",
    "topic.metadata.",
)
"""How those options of librdkafka begin that a URL may have: none of them takes back what the adapter promises."""
_KNOWN = "there are partitions, replication and many of librdkafka's: sasl.*, ssl.*, socket.*, linger.ms, ..."
_SECRET = ("password", "secret", "oauthbearer.config", "ssl.key", "pem")
OnError = Callable[[Any], None]
"""Called by librdkafka with a `KafkaError`, in any thread."""

# A broker that is away is noticed within 10 s, and found again within 1 s of its return.
_COMMON: dict[str, Any] = {
    "client.id": "hasten",
    "log_level": 0,  # librdkafka's own lines go to stderr; what matters comes as an error as well
    "reconnect.backoff.ms": 50,
    "reconnect.backoff.max.ms": 1000,
    "socket.connection.setup.timeout.ms": 5000,
    "socket.keepalive.enable": True,
    "socket.timeout.ms": 10_000,
}
_PRODUCER: dict[str, Any] = {
    "acks": "all",
    "enable.idempotence": True,
    # One in flight is confirmed after 0.7 ms (p50); any more, be it 0.1, makes it 1.9, since librdkafka waits in whole
    # milliseconds. Under load batches grow by themselves, as few requests are under way to a broker: with 64 messages
    # in flight one costs 54 µs of processor time, 89 with librdkafka's five requests, and a quarter more go through.
    "linger.ms": 0,
    "max.in.flight": 2,
    "message.timeout.ms": 60_000,
    "partitioner": "murmur2_random",  # where Java's clients put a key
    "queue.buffering.max.kbytes": 65_536,
    "queue.buffering.max.messages": 100_000,
    "request.timeout.ms": 8000,
    # What has no key stays with one partition for so long. The default is twice the linger, which is none: then a
    # request had 6 messages where it has 40 now, and a message cost half as much processor time again.
    "sticky.partitioning.linger.ms": 100,
}
_READER: dict[str, Any] = {
    "auto.offset.reset": "earliest",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "fetch.error.backoff.ms": 100,
    "fetch.queue.backoff.ms": 10,
    "fetch.wait.max.ms": 100,  # so long a partition that was paused or is new waits for a request that is under way
    "queued.max.messages.kbytes": 16_384,
}
_CONSUMER: dict[str, Any] = {
    **_READER,
    "heartbeat.interval.ms": 1000,  # who is to give up a partition hears of it in an answer to a heartbeat
    "partition.assignment.strategy": "cooperative-sticky",
    "session.timeout.ms": 10_000,
}


class Settings:
    """How the clients of one broker are set up.

    Attributes:
      name: For messages, without the options.
      partitions, replication: Of topics that are made here; -1 copies is what the cluster has for default.
    """

    def __init__(self, servers: str, options: dict[str, str], *, partitions: int, replication: int) -> None:
        self.name = f"kafka {servers}"
        self.partitions = partitions
        self.replication = replication
        self._servers = servers
        self._options = options

    def __repr__(self) -> str:
        return f"Settings({self.name!r})"

    def producer(self, on_error: OnError) -> dict[str, Any]:
        """Return the configuration of a producer: idempotent, confirmed by all replicas in sync."""
        return self._all(_PRODUCER, {"error_cb": on_error})

    def consumer(self, group: str, on_error: OnError, on_commit: Callable[[Any, Any], None]) -> dict[str, Any]:
        """Return the configuration of a member of a group."""
        return self._all(_CONSUMER, {"group.id": group, "error_cb": on_error, "on_commit": on_commit})

    def reader(self, group: str) -> dict[str, Any]:
        """Return the configuration of who reads a topic from end to end.

        Args:
          group: It does not join it; but it may be the only one that it is allowed to name.
        """
        return self._all(_READER, {"group.id": group, "enable.partition.eof": True})

    def listener(self, on_error: OnError) -> dict[str, Any]:
        """Return the configuration of who reads a topic from its end on, and is told if there is a gap."""
        return self._all(_READER, {"group.id": "hasten", "auto.offset.reset": "error", "error_cb": on_error})

    def admin(self) -> dict[str, Any]:
        """Return the configuration of who makes topics."""
        return self._all({}, {})

    def without_secrets(self, text: str) -> str:
        """Return a text of librdkafka's without what is secret in the options."""
        for name, value in self._options.items():
            if value and any(part in name for part in _SECRET):
                text = text.replace(value, "...")
        return text

    def _all(self, kind: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
        return {**_COMMON, **kind, **self._options, "bootstrap.servers": self._servers, **ours}


def settings_of(url: str) -> Settings:
    """Return the settings that a URL says.

    Args:
      url: `kafka://user:password@host:9092,host:9092?partitions=6&replication=3&security.protocol=SASL_SSL`; all
        options but these two are librdkafka's.
    Raises:
      ConfigurationError: it is wrong; the message shows nothing of it but names of options.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _wrong("is no URL") from None
    if "@" in f"{parts.path}{parts.query}{parts.fragment}":  # what seems to be an option may be half a password
        raise _wrong("has an @ behind the hosts")
    if parts.path.strip("/") or parts.fragment:
        raise _wrong("has something behind the hosts")
    login, _, places = parts.netloc.rpartition("@")
    servers = ",".join(_checked_server(place) for place in places.split(","))
    options = _options_of(parts)
    partitions = _count(options, "partitions", PARTITIONS)
    replication = _count(options, "replication", -1)
    for name in options:
        if not name.startswith(_PASSED):
            raise ConfigurationError(f"bus kafka:// {name}", "is no option that a URL may have", _KNOWN)
    return Settings(servers, _login_of(login) | options, partitions=partitions, replication=replication)


def _wrong(problem: str) -> ConfigurationError:
    return ConfigurationError("bus kafka://", problem, _EXAMPLE)


def _checked_server(place: str) -> str:
    try:
        parts = urlsplit(f"//{place}")
        host, port = parts.hostname, parts.port or _PORT
    except ValueError:
        raise _wrong("has a port that is none") from None
    if not host or any(each.isspace() for each in host):
        raise _wrong("has no host")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _options_of(parts: SplitResult) -> dict[str, str]:
    try:
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise _wrong("has options that are not NAME=VALUE") from None
    options = dict(pairs)
    if len(options) < len(pairs):
        raise _wrong("has an option twice")
    return options


def _login_of(login: str) -> dict[str, str]:
    if not login:
        return {}
    user, _, password = login.partition(":")
    defaults = {"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN"}
    return defaults | {"sasl.username": unquote(user), "sasl.password": unquote(password)}


def _count(options: dict[str, str], name: str, otherwise: int) -> int:
    text = options.pop(name, None)
    if text is None:
        return otherwise
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 100_000):
        raise ConfigurationError(f"bus kafka:// {name}", "must be a number of 1 or more")
    return int(text)
