"""Who is waited for on Redis, and what a member does with what it cannot use."""

import asyncio
from time import monotonic, time

import pytest
import redis.asyncio

from hasten._core.errors import ConfigurationError
from hasten.cache._backplane import Invalidation
from hasten.cache.backplanes._messages import Announcement, encode
from hasten.cache.backplanes._redis_link import Names
from hasten.cache.backplanes._redis_session import Periods
from hasten.cache.backplanes.redis import RedisBackplane, redis_backplane
from tests.cache.backplanes.conftest import PATIENT, QUICK, RedisBackplanes
from tests.cache.backplanes.listening import Remembering, joined, keys
from tests.cache.backplanes.servers import RedisServer
from tests.cache.running import run
from tests.conftest import LoopFactory


def test_registered_while_it_is_a_member(
    members_of: RedisBackplanes, server: RedisServer, namespace: str, loop_factory: LoopFactory
) -> None:
    """A member is in Redis's set from its first trust to its close, and leaves no key that does not end by itself."""
    names = Names.of(namespace)

    async def main() -> None:
        with server.client() as client:
            async with joined(*members_of(3)):
                assert client.zcard(names.members) == 3
                assert client.pubsub_numsub(names.announcements) == [(names.announcements.encode(), 3)]
            assert client.zcard(names.members) == 0
            assert all(client.ttl(key) != -1 for key in client.keys(f"*{namespace}*"))

    run(loop_factory, main())


def test_one_that_does_not_acknowledge_is_waited_out(
    members_of: RedisBackplanes, server: RedisServer, namespace: str, loop_factory: LoopFactory
) -> None:
    """With a member that says nothing an announcement is complete after the longer period, not before."""

    async def main() -> None:
        with server.client() as client:
            client.zadd(Names.of(namespace).members, {"silent": time()})
        async with joined(*members_of(2)) as (ours, theirs):
            began = monotonic()
            assert await ours.backplane.announce(keys("k"))
            assert monotonic() - began > max(QUICK.trust, QUICK.untrusted)
            assert theirs.heard.keys == ["k"]

    run(loop_factory, main())


def test_one_that_is_long_gone_is_removed(
    members_of: RedisBackplanes, server: RedisServer, namespace: str, loop_factory: LoopFactory
) -> None:
    """Who has not been heard of for long is removed; until others like it had time to come back nothing is quick."""
    names = Names.of(namespace)

    async def main() -> None:
        with server.client() as client:
            client.zadd(names.members, {"gone": time() - PATIENT.forget - 1})
            (backplane,) = members_of(1)
            async with joined(backplane) as (ours,):
                began = monotonic()
                assert await ours.backplane.announce(keys("k"))
                assert monotonic() - began > QUICK.trust
                assert client.zscore(names.members, "gone") is None
                assert client.zcard(names.members) == 1

    run(loop_factory, main())


def test_nobody_waits_for_one_that_was_removed(
    members_of: RedisBackplanes, server: RedisServer, namespace: str, loop_factory: LoopFactory
) -> None:
    """When its patience is long and the removed member's settling over, announcing is quick again."""
    names = Names.of(namespace)

    async def main() -> None:
        with server.client() as client:
            async with joined(*members_of(2, PATIENT)) as (ours, _):
                client.zadd(names.members, {"gone": time() - PATIENT.forget - 1})
                first = asyncio.create_task(ours.backplane.announce(keys("a")))
                await ours.heard.until(lambda heard: heard.keys == ["a"])
                while client.zscore(names.members, "gone") is not None:
                    await asyncio.sleep(0)
                client.delete(names.unsettled)
                assert await ours.backplane.announce(keys("b"))
                assert not first.done()
                first.cancel()

    run(loop_factory, main())


def test_lost_set_of_members(
    members_of: RedisBackplanes, server: RedisServer, namespace: str, loop_factory: LoopFactory
) -> None:
    """A member that finds itself removed forgets its memory, goes on, and warns who announces of others like it."""

    async def main() -> None:
        with server.client() as client:
            async with joined(*members_of(1)) as (ours,):
                client.flushall()
                await ours.heard.until(lambda heard: heard.distrusts == 2 and heard.trusting)
                assert client.exists(Names.of(namespace).unsettled)
                began = monotonic()
                assert await ours.backplane.announce(keys("k"))
                assert monotonic() - began > QUICK.trust

    run(loop_factory, main())


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", b"{}", b"\x95\x02\xa1m\x01\x90\x90"], ids=["empty", "none", "text", "form"]
)
def test_message_that_is_not_understood(
    members_of: RedisBackplanes, server: RedisServer, namespace: str, loop_factory: LoopFactory, data: bytes
) -> None:
    """It may make anything invalid: the memory is emptied; the member stays one and trusts again."""

    async def main() -> None:
        async with joined(*members_of(1)) as (ours,):
            with server.client() as client:
                client.publish(Names.of(namespace).announcements, data)
            await ours.heard.until(lambda heard: heard.distrusts == 2 and heard.trusting)
            assert await ours.backplane.announce(keys("k"))

    run(loop_factory, main())


def test_acknowledgement_that_is_not_understood(
    members_of: RedisBackplanes, server: RedisServer, namespace: str, loop_factory: LoopFactory
) -> None:
    """It is as if it had not come; so is one of a batch that nobody waits for."""
    names = Names.of(namespace)

    async def main() -> None:
        async with joined(*members_of(1)) as (ours,):
            with server.client() as client:
                (member,) = client.zrange(names.members, 0, -1)
                for data in (b"\xc1", b"\x93\x01\xa1m\x91\x63"):
                    assert client.publish(names.acknowledgements(member.decode()), data) == 1
            assert await ours.backplane.announce(keys("k"))
            assert ours.heard.distrusts == 1

    run(loop_factory, main())


def test_acknowledged_to_somebody_unknown(
    members_of: RedisBackplanes, server: RedisServer, namespace: str, loop_factory: LoopFactory
) -> None:
    """What somebody announces who is not a member, or has gone, is applied all the same."""

    async def main() -> None:
        async with joined(*members_of(1)) as (ours,):
            with server.client() as client:
                client.publish(
                    Names.of(namespace).announcements, encode(Announcement(1, "unknown", 7, ("k",), (("t", 3),)))
                )
            await ours.heard.until(lambda heard: heard.keys == ["k"] and heard.tags == [("t", 3)])
            assert await ours.backplane.announce(keys("l"))

    run(loop_factory, main())


class Failing(Remembering):
    """Fails the first time it is told what is invalid."""

    failed = False

    def apply(self, invalidation: Invalidation) -> None:
        if not self.failed:
            self.failed = True
            raise ZeroDivisionError
        super().apply(invalidation)


def test_listener_that_fails(
    members_of: RedisBackplanes, loop_factory: LoopFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """What a listener could not apply is not acknowledged: its memory is emptied, and it joins again."""

    async def main() -> None:
        ours, theirs = members_of(2)
        failing = Failing()
        async with joined(ours) as (member,):
            try:
                await theirs.start(failing)
                await failing.until_trusting()
                assert await member.backplane.announce(keys("k"))
                await failing.until(lambda heard: heard.distrusts >= 2 and heard.trusting)
                assert await member.backplane.announce(keys("l"))
                assert failing.keys == ["l"]
            finally:
                await theirs.aclose()

    run(loop_factory, main())
    assert "ZeroDivisionError" in caplog.text


def test_loop_that_is_held_up(members_of: RedisBackplanes, loop_factory: LoopFactory) -> None:
    """A step that holds the loop for longer than the trust does not empty the memory: nothing was missed."""

    async def main() -> None:
        async with joined(*members_of(1)) as (ours,):
            for _ in range(3):
                trusts = len(ours.heard.trusts)
                until = monotonic() + 1.5 * QUICK.trust
                while monotonic() < until:
                    pass
                await ours.heard.until(lambda heard, trusts=trusts: len(heard.trusts) > trusts)  # type: ignore[misc]
            assert ours.heard.distrusts == 1

    run(loop_factory, main())


def test_client_of_the_user(server: RedisServer, namespace: str, loop_factory: LoopFactory) -> None:
    """A client can be given in place of a URL, whatever its settings; none of its connections is used or closed."""

    async def main() -> None:
        client = redis.asyncio.Redis(port=server.port, decode_responses=True, socket_timeout=0.01, max_connections=1)
        backplanes = [RedisBackplane(client, namespace, periods=PATIENT), redis_backplane(server.url, namespace)]
        async with client.client() as only:
            async with joined(*backplanes) as (ours, theirs):
                assert await ours.backplane.announce(keys("k"))
                assert await theirs.backplane.announce(keys("l"))
                assert ours.heard.keys == theirs.heard.keys == ["k", "l"]
            assert await only.ping()
        await client.aclose()

    run(loop_factory, main())


def test_namespaces_are_apart(server: RedisServer, namespace: str, loop_factory: LoopFactory) -> None:
    """Members of another namespace neither hear nor are waited for."""

    async def main() -> None:
        names = (namespace, namespace, f"{namespace}x")
        async with joined(*(RedisBackplane(server.url, name, periods=PATIENT) for name in names)) as members:
            assert await members[0].backplane.announce(keys("k"))
            assert [member.heard.keys for member in members] == [["k"], ["k"], []]

    run(loop_factory, main())


@pytest.mark.parametrize(
    ("where", "namespace"),
    [("http://localhost", "n"), ("localhost", "n"), ("redis://localhost", ""), ("redis://localhost", "a}b")],
)
def test_wrong_places(where: str, namespace: str) -> None:
    """URLs that name no Redis and namespaces that are no part of a key are refused."""
    with pytest.raises(ConfigurationError):
        RedisBackplane(where, namespace)


def test_periods() -> None:
    """The periods are the contract's unless others are given."""
    assert (Periods().trust, Periods().untrusted) == (1.0, 1.0)
