"""Who is waited for on Redis, and what a member does with what it cannot use."""

import asyncio
from time import monotonic
from typing import Any

import pytest
import redis
import redis.asyncio

from hasten._core.errors import ConfigurationError
from hasten.cache._backplane import Invalidation
from hasten.cache.backplanes._announcing import Announcing
from hasten.cache.backplanes._messages import Acknowledgement, Announcement, Departure, encode
from hasten.cache.backplanes._redis_link import LAST, Command, Commands, Names, RedisLink
from hasten.cache.backplanes._redis_outbox import Outbox
from hasten.cache.backplanes.redis import RedisBackplane
from tests.cache.backplanes.conftest import PATIENT, QUICK, RedisBackplanes, in_set, mark, mark_on
from tests.cache.backplanes.listening import Event, Member, Remembering, joined, keys
from tests.cache.backplanes.servers import RedisServer
from tests.cache.running import passes, run
from tests.conftest import LoopFactory


def test_registered_while_it_is_a_member(
    members_of: RedisBackplanes, server: RedisServer, namespace: str, loop_factory: LoopFactory
) -> None:
    """A member is in Redis's set from its first trust to its close; only the mark stays, and no key for ever."""
    names = Names.of(namespace)

    async def main() -> None:
        with server.client() as client:
            async with joined(*members_of(3)):
                assert len(in_set(client, namespace)) == 3
                assert client.pubsub_numsub(names.announcements) == [(names.announcements.encode(), 3)]
            assert {name.decode() for name in client.zrange(names.members, 0, -1)} == {mark_on(client), LAST}
            assert all(client.ttl(key) != -1 for key in client.keys(f"*{namespace}*"))

    run(loop_factory, main())


def test_one_that_does_not_acknowledge_is_waited_out(
    members_of: RedisBackplanes, server: RedisServer, namespace: str, loop_factory: LoopFactory
) -> None:
    """With a member that says nothing an announcement takes as long as trust, not less; the next one removes it."""
    names = Names.of(namespace)

    async def main() -> None:
        with server.client() as client:
            async with joined(*members_of(2)) as (ours, theirs):
                client.zadd(names.members, {"silent": client.zincrby(names.members, 1, LAST)})  # a beat behind ours
                began = monotonic()
                assert await ours.backplane.announce(keys("k"))
                assert monotonic() - began > QUICK
                assert theirs.heard.keys == ["k"]
                announcing = asyncio.create_task(ours.backplane.announce(keys("l")))
                await theirs.heard.until(lambda heard: heard.keys == ["k", "l"])
                assert client.zscore(names.members, "silent") is None
                assert await announcing

    run(loop_factory, main())


def test_one_that_does_not_beat_is_removed(
    members_of: RedisBackplanes, server: RedisServer, namespace: str, loop_factory: LoopFactory
) -> None:
    """Whoever does not beat any more is removed by the others' beats: then nobody waits for it, however patient."""
    names = Names.of(namespace)

    async def main() -> None:
        with server.client() as client:
            client.zadd(names.members, {"silent": 1})
            async with joined(*members_of(1)):
                while client.zscore(names.members, "silent") is not None:
                    await passes()
                async with joined(*members_of(1, PATIENT)) as (ours,):
                    assert await ours.backplane.announce(keys("k"))

    run(loop_factory, main())


def test_set_without_a_mark(
    members_of: RedisBackplanes, server: RedisServer, namespace: str, loop_factory: LoopFactory
) -> None:
    """In a set that may lack some, announcements are waited out in full, until somebody has been in it for long."""
    names = Names.of(namespace)

    async def main() -> None:
        with server.client() as client:
            quick, patient = *members_of(1), *members_of(1, PATIENT)
            client.delete(names.members)
            async with joined(quick) as (first,):
                began = monotonic()
                assert await first.backplane.announce(keys("k"))
                assert monotonic() - began > QUICK
                while client.zscore(names.members, mark_on(client)) is None:
                    await passes()
                async with joined(patient) as (second,):
                    assert await second.backplane.announce(keys("l"))
                    assert first.heard.keys == ["k", "l"]

    run(loop_factory, main())


def test_lost_set_of_members(
    members_of: RedisBackplanes, server: RedisServer, namespace: str, loop_factory: LoopFactory
) -> None:
    """When Redis has lost the set, members go on with what they have, and announcements wait for strangers."""
    names = Names.of(namespace)

    async def main() -> None:
        with server.client() as client:
            async with joined(*members_of(2)) as (ours, theirs):
                await ours.heard.until(lambda heard: len(heard.trusts) > 4)  # it has been in the set for long
                client.flushall()
                began = monotonic()
                assert await ours.backplane.announce(keys("k"))
                assert monotonic() - began > QUICK
                assert theirs.heard.keys == ["k"]
                while len(in_set(client, namespace)) != 2 or client.zscore(names.members, mark_on(client)) is None:
                    await passes()
                assert ours.heard.distrusts == theirs.heard.distrusts == 1

    run(loop_factory, main())


def test_leaving_while_others_announce(members_of: RedisBackplanes, loop_factory: LoopFactory) -> None:
    """Nobody waits for one that leaves, also if it has heard what is announced just then and not acknowledged it."""

    async def main() -> None:
        async with joined(*members_of(2, PATIENT)) as members:
            for number in range(20):
                async with joined(*members_of(1, PATIENT)) as (leaving,):
                    announcing = [asyncio.create_task(one.backplane.announce(keys(f"{number}"))) for one in members]
                    await passes(number)
                    await leaving.backplane.aclose()
                    assert await asyncio.gather(*announcing) == [True, True]

    run(loop_factory, main())


def test_departure_of_somebody_unknown(
    members_of: RedisBackplanes, server: RedisServer, namespace: str, loop_factory: LoopFactory
) -> None:
    """That somebody leaves who was never heard of changes nothing."""

    async def main() -> None:
        async with joined(*members_of(2, PATIENT)) as (ours, theirs):
            with server.client() as client:
                assert client.publish(Names.of(namespace).announcements, encode(Departure("unknown"))) == 2
            assert await ours.backplane.announce(keys("k"))
            assert theirs.heard.keys == ["k"]

    run(loop_factory, main())


class Watching(Remembering):
    """Looks, whenever it is told something, at what Redis has of the one member of a namespace.

    Attributes:
      seen: Who hears, and who is in the set.
    """

    def __init__(self, client: "redis.Redis", namespace: str) -> None:
        super().__init__()
        self.seen: list[tuple[int, int]] = []
        self._client = client
        self._namespace = namespace

    def note(self, event: Event) -> None:
        ((_, hearing),) = self._client.pubsub_numsub(Names.of(self._namespace).announcements)
        self.seen.append((hearing, len(in_set(self._client, self._namespace))))
        super().note(event)


def test_order_of_joining(server: RedisServer, namespace: str, loop_factory: LoopFactory) -> None:
    """It hears before it forgets, so that nothing comes between; and is in the set before it trusts."""
    backplane = RedisBackplane(server.url, namespace)

    async def main() -> None:
        with server.client() as client:
            heard = Watching(client, namespace)
            await backplane.start(heard)
            await heard.until_trusting()
            assert heard.seen == [(1, 0), (1, 1)]
            await backplane.aclose()
            assert heard.seen[-1] == (1, 1)  # when it distrusted

    run(loop_factory, main())


async def until_it_beats(member: Member) -> None:
    """Return while a beat is under way."""
    assert isinstance(member.backplane, RedisBackplane)
    session = member.backplane._session
    while session is None or session._heard is None or session._heard.done():
        await asyncio.sleep(0)


def test_trust_begins_when_a_beat_is_sent(
    members_of: RedisBackplanes, server: RedisServer, loop_factory: LoopFactory
) -> None:
    """What takes a while on its way gives trust for so much less."""

    async def main() -> None:
        async with joined(*members_of(1)) as (ours,):
            server.freeze()
            await until_it_beats(ours)
            trusts, thawed = len(ours.heard.trusts), monotonic()
            server.thaw()
            await ours.heard.until(lambda heard: len(heard.trusts) > trusts)
            assert ours.heard.trusts[trusts] < thawed + QUICK

    try:
        run(loop_factory, main())
    finally:
        server.thaw()


def test_leaving_while_it_beats(members_of: RedisBackplanes, loop_factory: LoopFactory) -> None:
    """A beat that comes back when we are about to leave gives no trust any more."""

    async def main() -> None:
        for _ in range(5):
            async with joined(*members_of(1)) as (ours,):
                await until_it_beats(ours)
                await ours.backplane.aclose()
                assert not ours.heard.trusting

    run(loop_factory, main())


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", b"{}", b"\x95\x09\xa1m\x01\x90\x90"], ids=["empty", "none", "text", "kind"]
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
                (member,) = in_set(client, namespace)
                for data in (b"\xc1", encode(Acknowledgement("m", (99,)))):
                    assert client.publish(names.channel_of(member), data) == 1
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
                    Names.of(namespace).announcements, encode(Announcement("unknown", 7, ("k",), (("t", 3),)))
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
                until = monotonic() + 1.5 * QUICK
                while monotonic() < until:
                    pass
                await ours.heard.until(lambda heard, trusts=trusts: len(heard.trusts) > trusts)  # type: ignore[misc]
            assert ours.heard.distrusts == 1

    run(loop_factory, main())


def test_name_that_is_not_understood(
    members_of: RedisBackplanes, server: RedisServer, namespace: str, loop_factory: LoopFactory
) -> None:
    """Who has a place in the set that is not of ours is waited out like anybody who is silent."""

    async def main() -> None:
        with server.client() as client:
            client.zadd(Names.of(namespace).members, {b"\xff": 1})
            async with joined(*members_of(2)) as (ours, theirs):
                assert await ours.backplane.announce(keys("k"))
                assert theirs.heard.keys == ["k"]
                assert ours.heard.distrusts == 1

    run(loop_factory, main())


class Nonsense(RedisLink):
    """A link to a server that answers something else."""

    def __init__(self) -> None:
        super().__init__(redis.asyncio.Connection())

    async def ask(self, commands: list[Command]) -> list[Any]:
        await asyncio.sleep(0)
        return ["nonsense" for _ in commands]


def test_reply_that_is_not_understood(namespace: str, loop_factory: LoopFactory) -> None:
    """The connection is of no use any more, and nobody is left waiting."""

    async def main() -> None:
        announcing = Announcing(PATIENT)
        commands = Commands(Names.of(namespace), "m")
        outbox = Outbox(Nonsense(), commands, announcing, member="m", timeout=PATIENT)
        tasks = [asyncio.create_task(announcing.add(keys("k"))), asyncio.create_task(outbox.beat(b""))]
        running = asyncio.create_task(outbox.run())
        with pytest.raises(ValueError, match="unpack"):
            await running
        told, beaten = await asyncio.gather(*tasks, return_exceptions=True)
        assert told is False
        assert isinstance(beaten, ConnectionError)

    run(loop_factory, main())


def test_leaving_before_anybody_knows_of_us(server: RedisServer, namespace: str, loop_factory: LoopFactory) -> None:
    """Who leaves while it connects to a Redis that says nothing does not wait for it: nothing is to be said to it."""

    async def main() -> None:
        backplane = RedisBackplane(server.url, namespace, trust_seconds=4 * PATIENT)
        server.freeze()
        await backplane.start(Remembering())
        await passes()
        await backplane.aclose()

    try:
        run(loop_factory, main())
    finally:
        server.thaw()


def test_client_of_the_user(server: RedisServer, namespace: str, loop_factory: LoopFactory) -> None:
    """A client can be given in place of a URL, whatever its settings; none of its connections is used or closed."""

    async def main() -> None:
        client = redis.asyncio.Redis(port=server.port, decode_responses=True, socket_timeout=0.01, max_connections=1)
        backplanes = [RedisBackplane(client, namespace, trust_seconds=PATIENT), RedisBackplane(server.url, namespace)]
        with server.client() as marking:
            mark(marking, namespace)
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
        with server.client() as marking:
            mark(marking, namespace)
        async with joined(*(RedisBackplane(server.url, name, trust_seconds=PATIENT) for name in names)) as members:
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
