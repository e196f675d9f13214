"""A Redis that stands still in the middle of the traffic: what it costs, and that it is used again when it goes on."""

import asyncio
import math
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from operator import attrgetter
from time import monotonic

import pytest

from hasten.cache import Cache
from tests.cache.backplanes.servers import RedisServer
from tests.cache.lookups import Look, look
from tests.cache.running import run
from tests.conftest import LoopFactory

KEYS = 2_000
RATE = 500  # reads a second where the cost is measured
PATIENCE = 20.0  # seconds within which a busy machine has Redis used again


class Reader:
    """Reads keys that Redis has and the memory has not, through a cache with its defaults."""

    def __init__(self, url: str) -> None:
        self.cache = Cache("memory://?max_entries=10", url)
        self._keys = count()

        @self.cache.cached(ttl=3600.0)
        async def load(number: int) -> int:
            return number

        self._load = load
        assert self.cache._core.second is not None
        self.breaker = self.cache._core.second.breaker

    @property
    def second_hits(self) -> int:
        return self._load.region.counts.second_hits

    async def read(self) -> Look[int]:
        """Read the next key."""
        number = next(self._keys) % KEYS
        found = await look(self._load(number))
        assert found.value == number
        return found


@asynccontextmanager
async def reader_of(server: RedisServer) -> AsyncIterator[Reader]:
    """Return a reader whose keys are in Redis."""
    reader = Reader(server.url)
    for _ in range(0, KEYS, 100):
        await asyncio.gather(*(reader.read() for _ in range(100)))
    try:
        yield reader
    finally:
        server.thaw()
        await reader.cache.aclose()


async def until_used(reader: Reader, within: float) -> None:
    """Read until 100 answers more have come from Redis."""
    enough = reader.second_hits + 100
    async with asyncio.timeout(within):
        while reader.second_hits < enough:
            await reader.read()
            await asyncio.sleep(0.001)


def test_frozen(own_redis: RedisServer, loop_factory: LoopFactory) -> None:
    """Those who ask when it freezes wait once; then nobody does but who probes, and all get their values."""

    async def scenario() -> None:
        async with reader_of(own_redis) as reader:
            await until_used(reader, PATIENCE)
            own_redis.freeze()
            await asyncio.gather(*(reader.read() for _ in range(200)))
            assert not reader.breaker.closed
            before = reader.breaker.statistics()
            waited = sum([(await reader.read()).waited for _ in range(KEYS)])
            now = reader.breaker.statistics()
            assert waited <= now.probes - before.probes
            assert now.refused - before.refused >= KEYS - waited
            own_redis.thaw()
            await until_used(reader, PATIENCE)

    run(loop_factory, scenario())


# ---- what it costs


@dataclass(frozen=True)
class Sample:
    """A read under load.

    Attributes:
      due: When it should have begun.
      seconds: From then until it had its value: what the loop was late counts.
      used: Redis had answered a read since the load began.
    """

    due: float
    seconds: float
    used: bool


async def drive(reader: Reader, seconds: float) -> list[Sample]:
    """Read at RATE, whether earlier reads have ended or not."""
    samples: list[Sample] = []
    began, hits = monotonic(), reader.second_hits

    async def read(due: float) -> None:
        await reader.read()
        samples.append(Sample(due, monotonic() - due, reader.second_hits > hits))

    async with asyncio.TaskGroup() as tasks:
        for number in range(int(RATE * seconds)):
            due = began + number / RATE
            await asyncio.sleep(due - monotonic())
            tasks.create_task(read(due))
    return sorted(samples, key=attrgetter("due"))


def quantile(samples: Iterable[Sample], share: float) -> float:
    """Return the milliseconds within which such a share of the reads had their values."""
    seconds = sorted(sample.seconds for sample in samples)
    return 1e3 * seconds[min(len(seconds) - 1, math.ceil(share * len(seconds)) - 1)]


def show(name: str, samples: Sequence[Sample]) -> None:
    shown = ", ".join(f"p{100 * share:g} {quantile(samples, share):.2f} ms" for share in (0.5, 0.99, 1.0))
    print(f"{name}: {len(samples)} reads, {shown}", file=sys.stderr)


@pytest.mark.soak
def test_what_a_frozen_redis_costs(own_redis: RedisServer, loop_factory: LoopFactory) -> None:
    """A second after it froze the p99 of reads is at most 5 ms above what it was; it is used 5 s after it woke."""

    async def scenario() -> tuple[list[Sample], list[Sample], list[Sample], float]:
        async with reader_of(own_redis) as reader:
            await until_used(reader, PATIENCE)
            well = await drive(reader, 3.0)
            own_redis.freeze()
            frozen = await drive(reader, 6.0)
            woken = monotonic()
            own_redis.thaw()
            return well, frozen, await drive(reader, 6.0), woken

    well, frozen, again, woken = run(loop_factory, scenario())
    later = [sample for sample in frozen if sample.due >= frozen[0].due + 1.0]
    used_after = next(sample.due + sample.seconds for sample in again if sample.used) - woken
    print(f"\n{RATE} reads a second", file=sys.stderr)
    show("before", well)
    show("the first second of the freeze", [sample for sample in frozen if sample not in later])
    show("after that", later)
    print(f"used again {used_after:.2f} s after it woke", file=sys.stderr)
    assert quantile(later, 0.99) - quantile(well, 0.99) <= 5.0
    assert used_after <= 5.0
