"""Redis as more than one server: a Cluster whose slots move, and a master that Sentinel names."""

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import suppress

import pytest
import redis
import redis.asyncio
from redis.crc import key_slot

from hasten.cache.backplanes._redis_link import Names
from hasten.cache.backplanes.redis import RedisBackplane
from tests.cache.backplanes.conftest import PATIENT, QUICK, in_set, mark
from tests.cache.backplanes.listening import joined, keys
from tests.cache.backplanes.servers import RedisServer, free_port
from tests.cache.running import passes, run
from tests.conftest import LoopFactory

pytestmark = pytest.mark.skipif(shutil.which("redis-server") is None, reason="no redis-server")


@pytest.fixture(scope="module")
def cluster() -> Iterator[list[RedisServer]]:
    """Two masters with half of the slots each."""
    ports = [free_port() for _ in range(2)]  # on which the nodes talk to each other
    nodes = [RedisServer(settings=f"save ''\ncluster-enabled yes\ncluster-port {port}\n") for port in ports]
    try:
        for node, slots in zip(nodes, [(0, 8191), (8192, 16383)], strict=True):
            node.start()
            with node.client() as client:
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", *slots)
        with nodes[0].client() as client:
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", nodes[1].port, ports[1])
        for node in nodes:
            with node.client() as client:
                while client.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
                    pass
        yield nodes
    finally:
        for node in nodes:
            node.remove()


def url(cluster: list[RedisServer]) -> str:
    return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in cluster)


def test_members_of_a_cluster(cluster: list[RedisServer], namespace: str, loop_factory: LoopFactory) -> None:
    """Members meet on one node of a cluster, whichever of its addresses they were given."""

    async def main() -> None:
        client = redis.asyncio.RedisCluster(host="127.0.0.1", port=cluster[1].port)
        for number in range(4):  # namespaces on both nodes
            name = f"{namespace}-{number}"
            places: list[str | redis.asyncio.RedisCluster] = [url(cluster), url(cluster[:1]), url(cluster[1:])]
            places.append(client)
            here = cluster[key_slot(Names.of(name).members.encode()) > 8191]
            with here.client() as marking:
                mark(marking, name)
            async with joined(*(RedisBackplane(place, name, trust_seconds=PATIENT) for place in places)) as members:
                for member in members:
                    assert await member.backplane.announce(keys("k"))
                assert [member.heard.keys for member in members] == [["k"] * 4] * 4
        await client.aclose()

    run(loop_factory, main())


def test_slot_that_moves(cluster: list[RedisServer], namespace: str, loop_factory: LoopFactory) -> None:
    """When another node gets the namespace's slot, members join there again."""
    name = f"{namespace}-moving"
    slot = key_slot(Names.of(name).members.encode())
    here, there = cluster if slot < 8192 else cluster[::-1]

    def move() -> None:
        with there.client() as client:
            node = client.execute_command("CLUSTER", "MYID")
            client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", node)
        with here.client() as client, client.pipeline() as together:  # a slot that has keys is not given away
            together.delete(Names.of(name).members)
            together.execute_command("CLUSTER", "SETSLOT", slot, "NODE", node)
            together.execute()

    async def main() -> None:
        backplanes = [RedisBackplane(url(cluster), name, trust_seconds=QUICK) for _ in range(2)]
        async with joined(*backplanes) as (ours, theirs):
            move()
            for member in (ours, theirs):
                await member.heard.until(lambda heard: heard.distrusts >= 2 and heard.trusting)
            while not await ours.backplane.announce(keys("k")):
                await passes()
            assert theirs.heard.keys[-1] == "k"
            with there.client() as client:
                assert len(in_set(client, name)) == 2

    run(loop_factory, main())


def test_master_that_sentinel_names(namespace: str, loop_factory: LoopFactory) -> None:
    """The master is asked for from the first sentinel that answers."""
    master = RedisServer()
    master.start()
    sentinel = RedisServer("--sentinel", settings=f"sentinel monitor shop 127.0.0.1 {master.port} 1\n")

    async def main() -> None:
        address = f"redis+sentinel://127.0.0.1:1,127.0.0.1:{sentinel.port}/shop/3"
        with redis.Redis(port=master.port, db=3) as marking:
            mark(marking, namespace)
        backplanes = [RedisBackplane(address, namespace, trust_seconds=PATIENT) for _ in range(2)]
        async with joined(*backplanes) as (ours, theirs):
            assert "shop" in ours.backplane.name
            assert await ours.backplane.announce(keys("k"))
            assert theirs.heard.keys == ["k"]
        await asyncio.sleep(0)

    try:
        sentinel.start()
        run(loop_factory, main())
    finally:
        with suppress(redis.RedisError):
            sentinel.remove()
        master.remove()
