"""Backplanes in memory, on a real Redis, and over a bus: in memory, on a real RabbitMQ and a real Kafka."""

import os
from collections.abc import Callable, Iterator
from itertools import count
from typing import cast

import pytest
import redis

from hasten.cache._backplane import Backplane
from hasten.cache.backplanes import memory_backplanes
from hasten.cache.backplanes._bus_membership import Broadcast
from hasten.cache.backplanes._redis_link import LAST, NO_MEMBER, Names, mark_of
from hasten.cache.backplanes.bus import BusBackplane
from hasten.cache.backplanes.redis import RedisBackplane
from hasten.events import Bus
from hasten.events._broadcast import Broadcast as EventsBroadcast
from hasten.events.brokers.memory import MemoryBroker
from tests.cache.backplanes.servers import RedisServer, Start, redis_server, redis_servers

PATIENT = 90.0
"""Seconds of trust with which a test that waits for it to be over fails by its time limit."""

QUICK = 0.5
"""Seconds of trust for tests that wait for it to be over."""

URLS = {"rabbitmq": "amqp_url", "kafka": "kafka_url"}
_namespaces = count(1)
Backplanes = Callable[..., list[Backplane]]
RedisBackplanes = Callable[..., list[RedisBackplane]]


@pytest.fixture
def namespace() -> str:
    """Return a namespace that nobody else uses."""
    return f"test-{os.getpid()}-{next(_namespaces)}"


def mark_on(client: "redis.Redis") -> str:
    """Return the mark of a server's run."""
    return mark_of(client.info("server")["run_id"])


def mark(client: "redis.Redis", namespace: str) -> None:
    """Let a namespace's set be as if somebody had been in it for long: nobody who has trust is missing."""
    client.zadd(Names.of(namespace).members, {LAST: 1, mark_on(client): 1})


def in_set(client: "redis.Redis", namespace: str) -> set[str]:
    """Return the members that Redis knows of."""
    names = cast("list[bytes]", client.zrange(Names.of(namespace).members, 0, -1))
    return {name.decode() for name in names if not name.startswith(NO_MEMBER.encode())}


def _in_memory(number: int, trust: float = PATIENT) -> list[Backplane]:
    return [*memory_backplanes(number, trust_seconds=trust)]


class OverBus(Broadcast):
    """A broadcast on a bus of its own, which runs while somebody listens."""

    def __init__(self, make: Callable[[], Bus], topic: str) -> None:
        self.name = f"bus {topic}"
        self._make = make
        self._topic = topic
        self._bus: Bus | None = None
        self._broadcast: EventsBroadcast | None = None

    async def listen(self, receive: Callable[[bytes], None], missed: Callable[[], None]) -> None:
        if self._bus is None:
            self._bus = self._make()
            await self._bus.start()
        self._broadcast = EventsBroadcast(self._bus, self._topic)
        await self._broadcast.listen(receive, missed)

    async def send(self, body: bytes) -> None:
        assert self._broadcast is not None
        await self._broadcast.send(body)

    async def aclose(self) -> None:
        bus, self._bus = self._bus, None
        if bus is not None and self._broadcast is not None:
            await self._broadcast.aclose()
            await bus.aclose()


def _over_bus(where: str, topic: str) -> Backplanes:
    broker = MemoryBroker()

    def make() -> Bus:
        return Bus(where or broker)

    def several(number: int, trust: float = PATIENT) -> list[Backplane]:
        return [BusBackplane(OverBus(make, topic), trust_seconds=trust, settled=True) for _ in range(number)]

    return several


@pytest.fixture(params=["memory", "redis", "bus", "rabbitmq", pytest.param("kafka", marks=pytest.mark.soak)])
def backplanes(request: pytest.FixtureRequest, namespace: str) -> Backplanes:
    """Return a function that makes so many backplanes of one cache, of each kind in turn."""
    if request.param == "memory":
        return _in_memory
    if request.param == "bus":
        return _over_bus("", namespace)
    if request.param in {"rabbitmq", "kafka"}:
        return _over_bus(request.getfixturevalue(URLS[request.param]), namespace)
    url = request.getfixturevalue("redis_url")
    with redis.Redis.from_url(url, protocol=2) as client:
        mark(client, namespace)
    return lambda number, trust=PATIENT: [RedisBackplane(url, namespace, trust_seconds=trust) for _ in range(number)]


@pytest.fixture
def start() -> Iterator[Start]:
    """Return a function that starts redis-servers of the test's own."""
    with redis_servers() as starting:
        yield starting


@pytest.fixture(scope="module")
def own_server() -> Iterator[RedisServer]:
    """A redis-server of this module's own."""
    with redis_server() as server:
        yield server


@pytest.fixture
def server(own_server: RedisServer) -> Iterator[RedisServer]:
    """The module's redis-server, running, with a way to freeze or kill it."""
    yield own_server
    own_server.kill()
    own_server.start()


@pytest.fixture
def members_of(server: RedisServer, namespace: str) -> RedisBackplanes:
    """Return a function that makes so many backplanes on the module's server, in a set with a mark."""
    with server.client() as client:
        mark(client, namespace)
    url = server.url
    return lambda number, trust=QUICK: [RedisBackplane(url, namespace, trust_seconds=trust) for _ in range(number)]
