"""A cache whose backplane is away for everybody keeps what it loads for a second, and nothing from before."""

import asyncio
from time import monotonic

from hasten.cache import Cache, Policy, StoreError, codec_for
from hasten.cache._backplane import UNTRUSTED_SECONDS
from tests.cache.backplanes.servers import RedisServer
from tests.cache.processes import Processes, with_two
from tests.cache.running import passes, run
from tests.cache.test_region import Source
from tests.conftest import LoopFactory

LONG = 60.0


def lose(processes: Processes) -> None:
    """Let the second process lose its backplane and the second tier, as it does with a Redis that is down."""
    processes.planes[1].cut_off()
    processes.store.error = StoreError("memory", "no")


def be_alone(processes: Processes, seconds: float = LONG) -> None:
    """Let the second process's backplane say that nobody can announce anything."""
    processes.caches[1]._core.alone(monotonic() + seconds)


def test_kept_for_a_second(loop_factory: LoopFactory) -> None:
    """What is loaded is served, a second from the beginning of its load at most; it is not what `trusted` means."""

    async def scenario(processes: Processes, source: Source) -> None:
        lose(processes)
        be_alone(processes)
        for _ in range(5):
            assert await processes.theirs.load(7, source.load) == "value"
        entry = processes.theirs.peek(7)
        assert entry is not None
        assert entry.error_until <= entry.loaded_at + UNTRUSTED_SECONDS
        assert source.loads == 1
        assert not processes.caches[1].statistics().trusted

    with_two(loop_factory, scenario)


def test_values_of_the_second_tier(loop_factory: LoopFactory) -> None:
    """Where that is another server, and well, its values live a second from when they were read."""

    async def scenario(processes: Processes, source: Source) -> None:
        await processes.ours.load(7, source.load)
        await passes()
        processes.planes[1].cut_off()
        be_alone(processes)
        began = monotonic()
        assert await processes.theirs.load(7, source.load) == "value"
        assert processes.theirs.counts.second_hits == 1
        entry = processes.theirs.peek(7)
        assert entry is not None
        assert entry.error_until <= monotonic() + UNTRUSTED_SECONDS
        assert entry.error_until >= began + UNTRUSTED_SECONDS / 2

    with_two(loop_factory, scenario)


def test_what_was_loaded_before(loop_factory: LoopFactory) -> None:
    """It is not served, and a load that is under way is kept nowhere: what makes it invalid may have been missed."""

    async def scenario(processes: Processes, source: Source) -> None:
        lose(processes)
        source.close()
        early = asyncio.create_task(processes.theirs.load(7, source.load))
        await passes()
        be_alone(processes)
        source.open()
        assert await early == "value"
        assert processes.theirs.peek(7) is None
        assert processes.theirs.counts.detached == 1

    with_two(loop_factory, scenario)


def test_alone_instead_of_trusting(loop_factory: LoopFactory) -> None:
    """Nor is what was kept with trust, though nobody has said that it must not be."""

    async def scenario(processes: Processes, source: Source) -> None:
        await processes.theirs.load(7, source.load)
        assert processes.theirs.peek(7) is not None
        be_alone(processes)
        assert processes.theirs.peek(7) is None

    with_two(loop_factory, scenario)


def test_alone_again_and_again(loop_factory: LoopFactory) -> None:
    """What was loaded since the first time stays, as long as it is said again before it is over."""

    async def scenario(processes: Processes, source: Source) -> None:
        lose(processes)
        be_alone(processes)
        await processes.theirs.load(7, source.load)
        be_alone(processes)
        assert processes.theirs.peek(7) is not None
        be_alone(processes, seconds=0.0)
        assert processes.theirs.peek(7) is None
        await processes.theirs.load(8, source.load)
        assert processes.theirs.peek(8) is None
        be_alone(processes)
        assert processes.theirs.peek(7) is processes.theirs.peek(8) is None

    with_two(loop_factory, scenario)


def test_trust_after_it(loop_factory: LoopFactory) -> None:
    """When the backplane is back nothing of it is left, and values live as long as they should."""

    async def scenario(processes: Processes, source: Source) -> None:
        processes.planes[1].cut_off()
        be_alone(processes)
        await processes.theirs.load(7, source.load)
        processes.planes[1].restore()
        assert processes.caches[1].statistics().trusted
        assert processes.theirs.peek(7) is None
        await processes.ours.load(8, source.load)
        await passes()
        await processes.theirs.load(8, source.load)
        entry = processes.theirs.peek(8)
        assert entry is not None
        assert entry.fresh_until > monotonic() + 50.0

    with_two(loop_factory, scenario)


def test_redis_that_is_down(own_redis: RedisServer, loop_factory: LoopFactory) -> None:
    """A hot key costs its source about one load a second in a process, not one after the other."""

    async def scenario() -> None:
        cache, source = Cache(second=own_redis.url), Source()
        region = cache.region("things", Policy(ttl=60.0), codec=codec_for(str))
        await region.load(7, source.load)
        own_redis.kill()
        while not cache._core.lives_shortly:
            await asyncio.sleep(0.001)
        source.loads, began = 0, monotonic()
        for _ in range(1000):
            assert await region.load(7, source.load) == "value"
            await asyncio.sleep(0)
        assert source.loads <= 2 + (monotonic() - began) / UNTRUSTED_SECONDS
        own_redis.start()
        while not cache.statistics().trusted:
            await asyncio.sleep(0.001)
        await cache.aclose()

    run(loop_factory, scenario())
