"""The servers that a cache's second tier is: Redis, a Redis Cluster of three masters, Memcached."""

import getpass
from collections.abc import Sequence
from pathlib import Path

from servers._server import Command, DebianPackage, Server, connect


def ask(port: int, question: str) -> str:
    """Send a line to the server on a port and return the beginning of its answer."""
    with connect(port) as connection:
        connection.sendall(f"{question}\r\n".encode())
        return connection.recv(4096).decode()


# ---- Redis


def redis_arguments(executable: str, port: int, data: Path) -> list[str]:
    data.mkdir(exist_ok=True)
    place = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(data)]
    return [executable, *place, "--save", "", "--appendonly", "no"]


def redis_commands(executable: str, ports: Sequence[int], folder: Path) -> list[Command]:
    return [Command(redis_arguments(executable, ports[0], folder / "data"))]


def redis_ready(ports: Sequence[int]) -> bool:
    return ask(ports[0], "PING").startswith("+PONG")


def redis_cluster_commands(executable: str, ports: Sequence[int], folder: Path) -> list[Command]:
    cluster = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"]
    nodes = (redis_arguments(executable, port, folder / str(number)) for number, port in enumerate(ports))
    return [Command([*node, *cluster]) for node in nodes]


def redis_cluster_ready(ports: Sequence[int]) -> bool:
    """Have masters form a cluster, each with its part of the 16,384 slots; Redis ignores what it knows already."""
    states = [ask(port, "CLUSTER INFO") for port in ports]
    for index, (port, state) in enumerate(zip(ports, states, strict=True)):
        if "cluster_slots_assigned:0\r" in state:
            slots = range(index * 16384 // len(ports), (index + 1) * 16384 // len(ports))
            ask(port, f"CLUSTER ADDSLOTS {' '.join(map(str, slots))}")
    if f"cluster_known_nodes:{len(ports)}\r" not in states[0]:
        for port in ports[1:]:
            ask(ports[0], f"CLUSTER MEET 127.0.0.1 {port}")
    return all("cluster_state:ok" in state and "cluster_slots_ok:16384" in state for state in states)


# ---- Memcached


def memcached_commands(executable: str, ports: Sequence[int], _folder: Path) -> list[Command]:
    place = ["-l", "127.0.0.1", "-p", str(ports[0]), "-U", "0"]
    return [Command([executable, *place, "-u", getpass.getuser()])]


def memcached_ready(ports: Sequence[int]) -> bool:
    return ask(ports[0], "version").startswith("VERSION")


REDIS = Server(
    name="redis",
    origin=DebianPackage("redis-server", ("redis-server",)),
    variable="HASTEN_TEST_REDIS_URL",
    url="redis://{place}/0",
    commands=redis_commands,
    ready=redis_ready,
)
REDIS_CLUSTER = Server(
    name="redis-cluster",
    origin=DebianPackage("redis-server", ("redis-server",)),
    variable="HASTEN_TEST_REDIS_CLUSTER_URL",
    url="redis+cluster://{places}",
    commands=redis_cluster_commands,
    ready=redis_cluster_ready,
    ports=3,
)
MEMCACHED = Server(
    name="memcached",
    origin=DebianPackage("memcached", ("memcached",)),
    variable="HASTEN_TEST_MEMCACHED_URL",
    url="memcached://{place}",
    commands=memcached_commands,
    ready=memcached_ready,
)
