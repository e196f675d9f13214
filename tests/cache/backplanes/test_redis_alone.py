"""Who finds that Redis is away for everybody is alone; who only hears nothing is not."""

import asyncio
import errno
import signal
import socket
from time import monotonic
from typing import Any

import pytest
import redis
import redis.asyncio

from hasten.cache.backplanes._redis_link import Names, mark_of
from hasten.cache.backplanes._redis_place import RedisPlace
from hasten.cache.backplanes.redis import RedisBackplane, _pause
from tests.cache.backplanes.conftest import PATIENT, QUICK, RedisBackplanes, in_set, mark, mark_on
from tests.cache.backplanes.listening import Alone, Member, Remembering, joined, keys
from tests.cache.backplanes.servers import RedisServer, Start
from tests.cache.backplanes.test_redis_processes import announce, could_serve, working
from tests.cache.running import passes, run
from tests.conftest import LoopFactory

_KEEPS = "save ''\nappendonly yes\nappendfsync no\n"


@pytest.fixture
def durable(start: Start) -> RedisServer:
    """Return a redis-server that is killed and started again with all that it has taken."""
    return start(settings=_KEEPS)


async def until_alone(heard: Remembering, times: int = 1) -> None:
    await heard.until(lambda heard: len(heard.alones) >= times)


def told(member: Member) -> list[str]:
    """Return what a listener was told of trust, each once in a row."""
    names = {float: "trust", Alone: "alone", type(None): "distrust"}
    kinds = [names[type(event.told)] for event in member.heard.events if type(event.told) in names]
    return [kind for place, kind in enumerate(kinds) if kinds[place - 1 : place] != [kind]]


def test_while_redis_is_down(members_of: RedisBackplanes, server: RedisServer, loop_factory: LoopFactory) -> None:
    """A member that has lost a Redis that is down is alone from then on, and trusts again when it has joined anew."""

    async def main() -> None:
        async with joined(*members_of(2)) as members:
            server.kill()
            for member in members:
                await until_alone(member.heard, times=3)
                assert all(event.told.until <= event.at + QUICK for event in member.heard.alones)  # type: ignore[union-attr]
            server.start()
            for member in members:
                await member.heard.until_trusting()
                assert told(member) == ["distrust", "trust"] * 1 + ["distrust", "alone", "distrust", "trust"]

    run(loop_factory, main())


def test_from_the_start(members_of: RedisBackplanes, server: RedisServer, loop_factory: LoopFactory) -> None:
    """So is one that is started while Redis is down."""

    async def main() -> None:
        heard = Remembering()
        (backplane,) = members_of(1)
        server.kill()
        try:
            await backplane.start(heard)
            await until_alone(heard)
            server.start()
            await heard.until_trusting()
            assert told(Member(backplane, heard)) == ["distrust", "alone", "distrust", "trust"]
        finally:
            await backplane.aclose()

    run(loop_factory, main())


def test_counts_from_the_beginning_of_a_try(server: RedisServer, namespace: str, loop_factory: LoopFactory) -> None:
    """However long a try took: Redis may have been away at its beginning only."""

    async def main() -> None:
        tried: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        go_on = asyncio.Event()

        class Slow(redis.asyncio.Connection):
            async def _connect(self) -> None:
                if not tried.done():
                    tried.set_result(monotonic())
                await go_on.wait()
                await super()._connect()  # type: ignore[no-untyped-call]

        pool = redis.asyncio.ConnectionPool(connection_class=Slow, port=server.port)
        backplane, heard = RedisBackplane(redis.asyncio.Redis(connection_pool=pool), namespace), Remembering()
        try:
            await backplane.start(heard)
            began = await tried
            while monotonic() < began + 0.1:
                await passes()
            go_on.set()
            await until_alone(heard)
            (first, *_) = heard.alones
            assert isinstance(first.told, Alone)
            assert first.told.until <= began + 1.0
        finally:
            await backplane.aclose()

    server.kill()
    run(loop_factory, main())


@pytest.mark.parametrize("address", ["redis://localhost:{port}", "redis://127.0.0.1:{port}/3", "unix://{socket}"])
def test_addresses(server: RedisServer, namespace: str, loop_factory: LoopFactory, address: str) -> None:
    """A Redis is down if all addresses of its name refuse connections, or if nobody listens at its socket."""
    where = address.format(port=server.port, socket=server.socket)

    async def main() -> None:
        async with joined(RedisBackplane(where, namespace, trust_seconds=QUICK)) as (member,):
            server.kill()  # as a crash does, it leaves the socket behind
            await until_alone(member.heard)

    run(loop_factory, main())


def _while_handling(cause: Exception) -> Exception:
    """Return an error of redis-py's that was raised while it handled the system's."""
    try:
        try:
            raise cause
        except OSError:
            raise redis.ConnectionError("no") from None
    except redis.ConnectionError as error:
        return error


_REFUSED, _UNREACHABLE = f"[Errno {errno.ECONNREFUSED}] no", f"[Errno {errno.ENETUNREACH}] no"


@pytest.mark.parametrize(
    ("error", "is_away"),
    [
        (_while_handling(ConnectionRefusedError(errno.ECONNREFUSED, "no")), True),
        (_while_handling(OSError(f"Multiple exceptions: {_REFUSED}, {_REFUSED}")), True),
        (_while_handling(OSError(f"Multiple exceptions: {_REFUSED}, {_UNREACHABLE}")), False),
        (_while_handling(OSError(errno.EHOSTUNREACH, "no")), False),
        (_while_handling(ConnectionResetError(errno.ECONNRESET, "no")), False),
        (_while_handling(FileNotFoundError(errno.ENOENT, "no")), False),
        (_while_handling(OSError("no number")), False),
        (redis.ConnectionError("max number of clients reached"), False),
        (redis.exceptions.BusyLoadingError("loading"), True),
        (redis.exceptions.ReadOnlyError("a replica"), False),
        (TimeoutError(), False),
    ],
)
def test_what_shows_that_redis_is_away(error: Exception, *, is_away: bool) -> None:
    """Only what no process can be connected through: each address refuses, or the server loads its data."""
    assert RedisPlace("redis://localhost").is_away(error) is is_away
    for elsewhere in ("redis+sentinel://localhost:26379/shop", "redis+cluster://localhost:7000"):
        assert not RedisPlace(elsewhere).is_away(error)


def test_a_master_that_is_down(start: Start, namespace: str, loop_factory: LoopFactory) -> None:
    """Behind Sentinel nobody is alone: another master may have taken its place for others already."""
    master = start()
    sentinel = start("--sentinel", settings=f"sentinel monitor shop 127.0.0.1 {master.port} 1\n")

    async def main() -> None:
        where = f"redis+sentinel://127.0.0.1:{sentinel.port}/shop"
        backplane = RedisBackplane(where, namespace, trust_seconds=QUICK)
        async with joined(backplane) as (member,):
            master.kill()
            while backplane._failures < 3:
                await passes()
            assert member.heard.alones == []

    run(loop_factory, main())


def test_redis_that_stands_still(members_of: RedisBackplanes, server: RedisServer, loop_factory: LoopFactory) -> None:
    """Who hears nothing of Redis is not alone: it may be only its own way that is cut."""

    async def main() -> None:
        (backplane,) = members_of(1)
        async with joined(backplane) as (member,):
            server.freeze()
            while backplane._failures < 2:
                await passes()
            assert member.heard.alones == []

    try:
        run(loop_factory, main())
    finally:
        server.thaw()


def test_redis_that_loads_its_data(start: Start, namespace: str, loop_factory: LoopFactory) -> None:
    """Nobody can announce while it does: who finds it so is alone."""
    # Each of 200 keys takes 10 ms, and it answers in between.
    server = start(settings="save ''\nkey-load-delay 10000\nloading-process-events-interval-bytes 1024\n")
    with server.client() as client:
        client.mset({f"key {number}": b"x" * 1000 for number in range(200)})
        client.config_set("rdbcompression", "no")
        client.save()
    server.kill()

    async def main() -> None:
        starting = asyncio.create_task(asyncio.to_thread(server.start))
        while _refuses(server):
            await passes()
        heard = Remembering()
        backplane = RedisBackplane(server.url, namespace, trust_seconds=QUICK)
        try:
            await backplane.start(heard)
            await until_alone(heard)
            await heard.until_trusting()
        finally:
            await backplane.aclose()
            await starting

    run(loop_factory, main())


def _refuses(server: RedisServer) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", server.port)) != 0


def test_set_from_before(durable: RedisServer, namespace: str, loop_factory: LoopFactory) -> None:
    """After a start of Redis announcements are waited out in full, whatever its set says: somebody may be alone."""

    async def main() -> None:
        with durable.client() as client:
            mark(client, namespace)
            before = mark_on(client)
            durable.kill()
            durable.start()
            assert client.zscore(Names.of(namespace).members, before) is not None
            async with joined(RedisBackplane(durable.url, namespace, trust_seconds=QUICK)) as (ours,):
                began = monotonic()
                assert await ours.backplane.announce(keys("k"))
                assert monotonic() - began > QUICK
                while client.zscore(Names.of(namespace).members, mark_on(client)) is None:
                    await passes()
                async with joined(RedisBackplane(durable.url, namespace, trust_seconds=PATIENT)) as (theirs,):
                    assert await theirs.backplane.announce(keys("l"))

    run(loop_factory, main())


def test_process_that_is_alone(durable: RedisServer, namespace: str, loop_factory: LoopFactory) -> None:
    """One that Redis does not know, as it was started while Redis was down, is waited out."""

    async def main() -> None:
        with durable.client() as client:
            mark(client, namespace)
        durable.kill()
        async with working(1, durable, namespace, wait=False) as (alone,):
            await until_alone(alone.heard)
            alone.signal(signal.SIGSTOP)
            durable.start()
            with durable.client() as client:
                assert in_set(client, namespace) == set()
            async with joined(RedisBackplane(durable.url, namespace, trust_seconds=QUICK)) as (ours,):
                announced = await announce(ours, "k")
                assert not could_serve(alone.heard.events, announced)

    run(loop_factory, main())


def test_member_that_may_not_know_the_run(start: Start, namespace: str, loop_factory: LoopFactory) -> None:
    """One that is not allowed to ask for it waits in full for as long as trust lasts, and then does not."""
    server = start(settings="save ''\nuser limited on >secret ~* &* +@all -info\n")

    async def main() -> None:
        where = f"redis://limited:secret@127.0.0.1:{server.port}"
        with server.client() as client:
            mark(client, namespace)
        async with joined(RedisBackplane(where, namespace, trust_seconds=QUICK)) as (ours,):
            began = monotonic()
            assert await ours.backplane.announce(keys("k"))
            assert monotonic() - began > QUICK
            trusts = len(ours.heard.trusts)
            await ours.heard.until(lambda heard: len(heard.trusts) > trusts + 1)
            announcements = [asyncio.create_task(ours.backplane.announce(keys(str(number)))) for number in range(9)]
            began = monotonic()
            assert all(await asyncio.gather(*announcements))
            assert monotonic() - began < QUICK
            async with joined(RedisBackplane(where, namespace, trust_seconds=QUICK)) as (theirs,):
                began = monotonic()
                assert await theirs.backplane.announce(keys("k"))
                assert monotonic() - began > QUICK  # whether it was the same run that the other has marked

    run(loop_factory, main())


def test_runs_of_a_server(durable: RedisServer) -> None:
    """Each has a mark of its own."""
    with durable.client() as client:
        marks: set[Any] = {mark_of(""), mark_on(client)}
        durable.kill()
        durable.start()
        assert mark_on(client) not in marks


def test_pauses() -> None:
    """Redis may be away for as long as it wants: tries go on, at most half a trust apart."""
    for failures in (0, 1, 5, 1_000, 10_000):
        assert 0.0 < _pause(failures, 0.5) <= 0.5
