"""A Redis that freezes, dies, comes back, or cuts connections."""

import asyncio
from contextlib import suppress
from time import monotonic

import pytest
import redis
import redis.asyncio

from hasten.cache.backplanes._announcing import Announcing
from hasten.cache.backplanes._messages import Beat, encode
from hasten.cache.backplanes._redis_link import Names, RedisLink
from hasten.cache.backplanes._redis_session import Membership, Session
from tests.cache.backplanes.conftest import PATIENT, QUICK, RedisBackplanes
from tests.cache.backplanes.listening import Remembering, joined, keys
from tests.cache.backplanes.servers import RedisServer
from tests.cache.running import passes, run
from tests.conftest import LoopFactory


@pytest.mark.parametrize("kind", ["pubsub", "normal"])
def test_connection_that_is_cut(
    members_of: RedisBackplanes, server: RedisServer, loop_factory: LoopFactory, kind: str
) -> None:
    """Who loses a connection must distrust and joins again: at once, or at a heartbeat if it is the one that sends."""

    async def main() -> None:
        async with joined(*members_of(2, PATIENT if kind == "pubsub" else QUICK)) as (ours, theirs):
            with server.client() as client:
                client.execute_command("CLIENT", "KILL", "TYPE", kind)
            for member in (ours, theirs):
                await member.heard.until(lambda heard: heard.distrusts == 3 and heard.trusting)  # lost, joined again
            assert await ours.backplane.announce(keys("k"))
            assert theirs.heard.keys == ["k"]

    run(loop_factory, main())


def test_connections_that_are_cut_again_and_again(
    members_of: RedisBackplanes, server: RedisServer, loop_factory: LoopFactory
) -> None:
    """Announcements under way are complete or not, and never hang."""

    async def main() -> None:
        async with joined(*members_of(2)) as members:
            with server.client() as client:
                for number in range(20):
                    announcing = [asyncio.create_task(one.backplane.announce(keys(str(number)))) for one in members]
                    for _ in range(number):
                        await asyncio.sleep(0)
                    client.execute_command("CLIENT", "KILL", "TYPE", "pubsub" if number % 2 else "normal")
                    await asyncio.gather(*announcing)
            for member in members:
                await member.heard.until_trusting()
            while not await members[0].backplane.announce(keys("last")):
                await members[0].heard.until(lambda heard: heard.trusting)
            assert members[0].backplane._announcing.open == 0  # type: ignore[attr-defined]

    run(loop_factory, main())


def test_frozen_redis(members_of: RedisBackplanes, server: RedisServer, loop_factory: LoopFactory) -> None:
    """While Redis stands still trust ends and nothing can be announced; when it goes on, so does everything."""

    async def main() -> None:
        async with joined(*members_of(2)) as members:
            server.freeze()
            began = monotonic()
            announcements = [member.backplane.announce(keys("frozen")) for member in members]
            assert await asyncio.gather(*announcements) == [False, False]
            for member in members:
                await member.heard.until(lambda heard: not heard.trusting)
                assert member.heard.trusts[-1] <= began + QUICK
            assert not await members[0].backplane.announce(keys("still frozen"))
            server.thaw()
            for member in members:
                await member.heard.until_trusting()
            assert await members[0].backplane.announce(keys("k"))
            assert members[1].heard.keys[-1] == "k"

    try:
        run(loop_factory, main())
    finally:
        server.thaw()


def test_frozen_while_it_is_waited_for_a_member(
    members_of: RedisBackplanes, server: RedisServer, namespace: str, loop_factory: LoopFactory
) -> None:
    """An announcement that Redis has taken before it froze is complete when who is silent has been waited out."""

    async def main() -> None:
        with server.client() as client:
            client.zadd(Names.of(namespace).members, {"silent": 1})
        async with joined(*members_of(2)) as (ours, theirs):
            began = monotonic()
            announcing = asyncio.create_task(ours.backplane.announce(keys("k")))
            await theirs.heard.until(lambda heard: heard.keys == ["k"])
            server.freeze()
            if await announcing:  # Redis may not have got to its answer
                assert monotonic() - began > QUICK
            server.thaw()

    try:
        run(loop_factory, main())
    finally:
        server.thaw()


def test_restarted_redis(members_of: RedisBackplanes, server: RedisServer, loop_factory: LoopFactory) -> None:
    """A Redis that comes back without its data is joined again; who may not be back yet is waited for."""

    async def main() -> None:
        async with joined(*members_of(2)) as members:
            server.kill()
            for member in members:
                await member.heard.until(lambda heard: not heard.trusting)
            assert not await members[0].backplane.announce(keys("down"))
            server.start()
            for member in members:
                await member.heard.until_trusting()
            began = monotonic()
            assert await members[0].backplane.announce(keys("k"))
            assert monotonic() - began > QUICK
            assert members[1].heard.keys[-1] == "k"

    run(loop_factory, main())


def test_connections_to_different_servers(server: RedisServer, namespace: str, loop_factory: LoopFactory) -> None:
    """When the master changes between the two connections no trust is given: one would hear nothing on the old one.

    Nor by a beat of ours that is not the one under way: a server that stood still may take one that is long over.
    """
    other, names = RedisServer(), Names.of(namespace)

    async def main() -> None:
        heard = Remembering()
        membership = Membership("m", names, QUICK, Announcing(QUICK), heard)
        listening, sending = [RedisLink(redis.asyncio.Connection(port=one.port, protocol=2)) for one in (other, server)]
        running = asyncio.create_task(Session(membership, listening, sending, when_joined=lambda: None).run())
        with other.client() as client:
            while not running.done():
                client.publish(names.channel_of("m"), encode(Beat(99)))
                await passes()
        assert isinstance(running.exception(), TimeoutError)
        assert not heard.trusts

    try:
        other.start()
        run(loop_factory, main())
    finally:
        other.remove()


def test_no_redis_at_the_start(
    members_of: RedisBackplanes, server: RedisServer, loop_factory: LoopFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """Without Redis the listener hears so, announcing fails at once; when it is there everything goes on."""

    async def main() -> None:
        server.kill()
        heard = Remembering()
        (backplane,) = members_of(1)
        try:
            await backplane.start(heard)
            assert not await backplane.announce(keys("k"))
            await heard.until(lambda heard: heard.distrusts == 1)
            server.start()
            await heard.until_trusting()
            assert await backplane.announce(keys("l"))
        finally:
            await backplane.aclose()

    run(loop_factory, main())
    assert caplog.text.count("backplane lost") == 1


def test_closing_while_it_is_frozen(
    members_of: RedisBackplanes, server: RedisServer, loop_factory: LoopFactory
) -> None:
    """Closing ends, whatever Redis does, and so do the announcements under way."""

    async def main() -> None:
        async with joined(*members_of(2)) as (ours, _):
            server.freeze()
            announcing = asyncio.create_task(ours.backplane.announce(keys("k")))
            await asyncio.sleep(0)
            await ours.backplane.aclose()
            assert not await announcing
        assert asyncio.all_tasks() == {asyncio.current_task()}

    try:
        run(loop_factory, main())
    finally:
        server.thaw()


def test_refused_command(
    members_of: RedisBackplanes, server: RedisServer, loop_factory: LoopFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """A Redis that refuses to keep the set of members is none that can be trusted, until it does."""

    async def main() -> None:
        with server.client() as client:
            async with joined(*members_of(1)) as (ours,):
                client.config_set("min-replicas-to-write", "1")
                await ours.heard.until(lambda heard: not heard.trusting)
                assert not await ours.backplane.announce(keys("k"))
                client.config_set("min-replicas-to-write", "0")
                await ours.heard.until_trusting()

    try:
        run(loop_factory, main())
    finally:
        with suppress(redis.RedisError), server.client() as client:
            client.config_set("min-replicas-to-write", "0")
    assert "NOREPLICAS" in caplog.text or "replicas" in caplog.text
