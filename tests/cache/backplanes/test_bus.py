"""The backplane over a bus where something fails: nothing is promised that does not hold, and all goes on by itself."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic

import pytest

from hasten.cache import Cache, Invalidation
from hasten.cache.backplanes._bus_membership import Broadcast
from hasten.cache.backplanes.bus import BusBackplane
from hasten.events import Broadcast as EventsBroadcast
from hasten.events import BrokerError, Bus
from hasten.events.brokers.memory import MemoryBroker
from servers import RABBITMQ
from tests.cache.backplanes.conftest import QUICK, OverBus
from tests.cache.backplanes.listening import Remembering, joined, keys
from tests.cache.running import run
from tests.conftest import LoopFactory
from tests.own_servers import own_server


class Harmed(Broadcast):
    """A broadcast within the process, with two listeners at most, which can be harmed.

    Attributes:
      refuses: Nothing that is sent is confirmed.
      deaf: What is confirmed is not received.
      listened: How often somebody has begun to listen.
    """

    name = "harmed"

    def __init__(self) -> None:
        self.refuses = self.deaf = False
        self.listened = 0
        self.listening: list[tuple[Callable[[bytes], None], Callable[[], None]]] = []

    async def listen(self, receive: Callable[[bytes], None], missed: Callable[[], None]) -> None:
        self.listened += 1
        self.listening.append((receive, missed))

    async def send(self, body: bytes) -> None:
        if self.refuses:
            raise BrokerError(self.name, "no")
        if not self.deaf:
            for receive, _ in list(self.listening):
                receive(body)

    async def aclose(self) -> None:
        self.listening.clear()


def members(number: int, *, settled: bool = True) -> list[BusBackplane]:
    broker = MemoryBroker()
    return [
        BusBackplane(OverBus(lambda: Bus(broker), "cache"), trust_seconds=QUICK, settled=settled) for _ in range(number)
    ]


def test_before_others_are_known(loop_factory: LoopFactory) -> None:
    """Who has just joined waits until the trust of members that it may not have heard of is over."""

    async def main() -> None:
        async with joined(*members(1, settled=False)) as (member,):
            began = monotonic()
            assert await member.backplane.announce(keys("k"))
            assert monotonic() - began >= QUICK

    run(loop_factory, main())


def test_what_is_not_confirmed(loop_factory: LoopFactory) -> None:
    """An announcement that the broker refuses is not complete; trust is not given again until it confirms beats."""

    async def main() -> None:
        broadcast = Harmed()
        async with joined(BusBackplane(broadcast, trust_seconds=QUICK, settled=True)) as (member,):
            broadcast.refuses = True
            assert not await member.backplane.announce(keys("k"))
            given = len(member.heard.trusts)
            for _ in range(3):
                assert not await member.backplane.announce(keys("k"))
                await asyncio.sleep(QUICK / 4)
            assert len(member.heard.trusts) == given
            assert member.heard.alones == []
            broadcast.refuses = False
            await member.heard.until(lambda heard: len(heard.trusts) > given)
            assert await member.backplane.announce(keys("k"))

    run(loop_factory, main())


def test_the_first_try_fails(loop_factory: LoopFactory) -> None:
    """What is announced while it cannot join is not complete; it joins as soon as it can."""

    async def main() -> None:
        broadcast, heard = Harmed(), Remembering()
        broadcast.refuses = True
        backplane = BusBackplane(broadcast, trust_seconds=QUICK, settled=True)
        await backplane.start(heard)
        try:
            assert not await backplane.announce(keys("k"))
            broadcast.refuses = False
            await heard.until_trusting()
            assert await backplane.announce(keys("k"))
        finally:
            await backplane.aclose()

    run(loop_factory, main())


def test_a_listener_that_has_lost_its_queue(loop_factory: LoopFactory) -> None:
    """Who does not hear its own beats, which are confirmed, empties its memory and listens anew."""

    async def main() -> None:
        broadcast = Harmed()
        async with joined(BusBackplane(broadcast, trust_seconds=QUICK, settled=True)) as (member,):
            broadcast.deaf = True
            while broadcast.listened == 1:
                await asyncio.sleep(0.01)
            broadcast.deaf = False
            await member.heard.until_trusting()
            assert member.heard.distrusts == 2

    run(loop_factory, main())


@pytest.mark.parametrize("harm", ["gap", "garbage", "fault"])
def test_what_may_have_been_missed(harm: str, loop_factory: LoopFactory, caplog: pytest.LogCaptureFixture) -> None:
    """A gap, a message that cannot be read, and one at which the listener fails empty the memory; trust comes back."""

    class Faulty(Remembering):
        def apply(self, invalidation: Invalidation) -> None:
            super().apply(invalidation)
            if harm == "fault" and "bad" in invalidation.keys:
                raise ValueError("bad")

    async def main() -> None:
        broadcast, ours, theirs = Harmed(), Remembering(), Faulty()
        backplanes = [BusBackplane(broadcast, trust_seconds=QUICK, settled=True) for _ in range(2)]
        try:
            for backplane, heard in zip(backplanes, (ours, theirs), strict=True):
                await backplane.start(heard)
            await theirs.until_trusting()
            before = theirs.distrusts
            if harm == "gap":
                broadcast.listening[1][1]()
            elif harm == "garbage":
                broadcast.listening[1][0](b"\xc1")
            else:
                began = monotonic()
                assert await backplanes[0].announce(keys("bad"))
                assert monotonic() - began >= QUICK  # it was waited out
            assert theirs.distrusts == before + 1
            await theirs.until(lambda heard: heard.trusting)
        finally:
            for backplane in backplanes:
                await backplane.aclose()

    run(loop_factory, main())
    assert ("memory is emptied" in caplog.text) == (harm != "gap")


@pytest.mark.may_block
@pytest.mark.timeout(180)
def test_a_broker_that_is_killed(tmp_path: Path) -> None:
    """While RabbitMQ is away nothing is complete; when it is back memories are emptied, and all goes on."""
    with own_server(RABBITMQ, tmp_path / "rabbitmq") as server:

        async def main() -> None:
            backplanes = [
                BusBackplane(OverBus(lambda: Bus(server.url), "cache"), trust_seconds=QUICK, settled=True)
                for _ in range(2)
            ]
            async with joined(*backplanes) as (ours, theirs):
                assert await ours.backplane.announce(keys("before"))
                before = (ours.heard.distrusts, theirs.heard.distrusts)
                await asyncio.to_thread(server.kill)
                assert not await ours.backplane.announce(keys("down"))
                server.start()
                await asyncio.to_thread(server.await_ready)
                for member, number in zip((ours, theirs), before, strict=True):
                    await member.heard.until(lambda heard, number=number: heard.distrusts > number)  # type: ignore[misc]
                    await member.heard.until_trusting()
                assert await ours.backplane.announce(keys("after"))
                assert theirs.heard.keys[-1] == "after"
                assert ours.heard.alones == theirs.heard.alones == []

        asyncio.run(main())


@pytest.mark.parametrize("broker", ["memory", "rabbitmq"])
def test_two_caches(
    broker: str, request: pytest.FixtureRequest, memcached_url: str, namespace: str, loop_factory: LoopFactory
) -> None:
    """With Memcached and a bus a value stays in memory, and `invalidate_tags` reaches every process's memory."""
    where = request.getfixturevalue("amqp_url") if broker == "rabbitmq" else MemoryBroker()

    async def main() -> None:
        source = {"tea": 1}
        async with contextlib.AsyncExitStack() as stack:
            prices = []
            for _ in range(2):
                bus = await stack.enter_async_context(Bus(where))
                backplane = BusBackplane(EventsBroadcast(bus, f"cache.{namespace}"))
                cache = Cache(second=memcached_url, namespace=namespace, backplane=backplane, timeout=5.0)
                await stack.enter_async_context(contextlib.aclosing(cache))
                prices.append((cache, cached_price(cache, source)))
            for _, price in prices:
                assert await price("tea") == 1
            source["tea"] = 2
            assert [await price("tea") for _, price in prices] == [1, 1]
            assert await prices[0][0].invalidate_tags("prices")
            assert [await price("tea") for _, price in prices] == [2, 2]

    run(loop_factory, main())


def cached_price(cache: Cache, source: dict[str, int]) -> Callable[[str], Awaitable[int]]:
    @cache.cached(ttl=60.0, tags=["prices"])
    async def price(name: str) -> int:
        return source[name]

    return price
