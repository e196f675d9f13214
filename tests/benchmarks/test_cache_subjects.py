"""The subjects of the `cache` benchmark do the work they are measured by; how long it takes is not asserted."""

import asyncio
import itertools
import os
import shutil
import signal
import sys
from collections.abc import Iterator

import pytest

from benchmarks._driven import Driven, OrderedProcess, RecomputedError, WrongValueError
from benchmarks._harness import Effort
from benchmarks._processes import Cores
from benchmarks.cache import _memory_child, _remote_child
from benchmarks.cache._backend import Backend
from benchmarks.cache._benchmark import CacheBenchmark
from benchmarks.cache._orders import Calls, Drive, Figure, Kind
from benchmarks.cache._stack import SETUPS, InMemory, Tier, memory_setup
from benchmarks.cache._trials import RedisBenchmarkTrial
from benchmarks.cache._work import (
    KEYS,
    LARGE,
    Item,
    Load,
    Source,
    zipf,
    zipf_with_scans,
)
from hasten._core.errors import ConfigurationError, InvalidMeasurement

_CORES = Cores.available()
_KINDS: tuple[Kind, ...] = ("hit", "miss", "set")
_SERVERS = {Tier.REDIS: "redis-server", Tier.MEMCACHED: "memcached"}


@pytest.mark.parametrize("subject", SETUPS[Tier.MEMORY])
def test_every_subject_in_memory(subject: str) -> None:
    """Each subject loads a value once, gives it back, and keeps what was set."""

    async def use() -> None:
        source = Source()
        async with memory_setup(subject)(source.function(), 100) as cache:
            for _ in range(2):
                assert [await cache.call(key) for key in range(50)] == [source.item(key) for key in range(50)]
            assert source.loads == 50
            if cache.put is not None and cache.take is not None:
                assert await _now(cache.take(77)) is None
                await _now(cache.put(77, source.item(8)))
                assert await _now(cache.take(77)) == source.item(8)

    asyncio.run(use())


async def _now(result: object) -> object:
    return await result if asyncio.iscoroutine(result) else result


@pytest.fixture(scope="module", params=_SERVERS, ids=str)
def backend(request: pytest.FixtureRequest) -> Iterator[tuple[Tier, Backend]]:
    """Yield a tier with its server, for each that is installed."""
    tier: Tier = request.param
    if shutil.which(_SERVERS[tier]) is None:
        pytest.skip(f"{_SERVERS[tier]} is not installed")
    with Backend(tier, _CORES.server) as started:
        yield tier, started


def test_every_subject_over_a_server(backend: tuple[Tier, Backend]) -> None:
    """Each subject reads from the server what it has loaded, however many values it is asked for at once."""
    tier, server = backend
    for subject in SETUPS[tier]:
        with _remote(subject, tier, server) as process:
            process.suspend()
            for in_flight in _remote_child.IN_FLIGHT:
                driven = process.measure(Drive(in_flight, 0.01), 0.01, Driven)
                assert driven.calls >= in_flight
                assert min(driven.seconds, driven.client_cpu, driven.p50, driven.p99) > 0.0


def _remote(subject: str, tier: Tier, server: Backend) -> OrderedProcess:
    place = [server.place, str(server.server_pid)]
    command = [sys.executable, "-m", "benchmarks.cache._remote_child", subject, tier, *place]
    return OrderedProcess(f"{subject} over {tier}", command, _CORES.client)


def test_a_server_is_ended(backend: tuple[Tier, Backend]) -> None:
    """When its minder is ended, the server is gone."""
    tier, _ = backend
    with Backend(tier, _CORES.server) as ended:
        os.kill(ended.server_pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(ended.server_pid, 0)


def test_redis_benchmark_is_read() -> None:
    """The figures of redis-benchmark are taken from what it prints."""
    if shutil.which("redis-benchmark") is None:
        pytest.skip("redis-benchmark is not installed")
    with Backend(Tier.REDIS, _CORES.server) as server:
        trial = RedisBenchmarkTrial("limit", "redis-64", server, 64, 64_000, 196, 1)
        trial.turn(seed=0)
        figures = trial.figures()
    assert figures.keys() == {"cpu", "rate", "p50", "p99", "server"}
    assert min(figures.values()) > 0.0


class _Faulty:
    """A dict with one fault, to be found by the measurement."""

    def __init__(self, load: Load, fault: str) -> None:
        self._load = load
        self._fault = fault
        self._values: dict[int, Item] = {}
        self._reads = itertools.count(1)

    async def call(self, key: int) -> Item:
        late = next(self._reads) > 2 * KEYS
        if key not in self._values or (self._fault == "forgets" and late):
            self._values[key] = await self._load(key)
        return self._values[KEYS - 1 - key if self._fault == "mixes up" and late else key]

    def put(self, key: int, item: Item) -> None:
        if self._fault != "does not set":
            self._values[key] = item


@pytest.mark.parametrize(
    ("fault", "kind", "error"),
    [
        ("forgets", "hit", RecomputedError),
        ("mixes up", "hit", WrongValueError),
        ("does not set", "set", WrongValueError),
    ],
)
def test_a_wrong_cache_has_no_figures_in_memory(fault: str, kind: Kind, error: type[Exception]) -> None:
    """Hits that are loaded again, wrong values and lost sets are found."""

    async def measure() -> None:
        source = Source()
        faulty = _Faulty(source.function(), fault)
        operations = _memory_child._Operations(InMemory(faulty.call, faulty.put, faulty._values.get), source)
        for key in range(KEYS):
            await faulty.call(key)
        await (operations.hit(0.001) if kind == "hit" else operations.set(0.001))

    with pytest.raises(error):
        asyncio.run(measure())


def test_a_miss_that_hits_has_no_figures() -> None:
    """A miss that was not loaded is found."""

    async def measure() -> None:
        source = Source()

        async def call(key: int) -> Item:
            return source.item(key)

        await _memory_child._Operations(InMemory(call), source).miss(0.001)

    with pytest.raises(RecomputedError):
        asyncio.run(measure())


@pytest.mark.parametrize(("fault", "error"), [("forgets", RecomputedError), ("mixes up", WrongValueError)])
def test_a_wrong_cache_has_no_figures_over_a_server(fault: str, error: type[Exception]) -> None:
    """Reads that are loaded again and wrong values are found."""

    async def measure() -> None:
        source = Source(LARGE)
        driver = _remote_child._Driver(_Faulty(source.function(), fault).call, source, os.getpid())
        await driver.warm_up()
        await driver.drive(Drive(64, 0.01))

    with pytest.raises(error):
        asyncio.run(measure())


def test_a_child_measures_each_kind() -> None:
    """A child that has a cache answers with CPU seconds, and names what makes an order invalid."""
    command = [sys.executable, "-m", "benchmarks.cache._memory_child", "ordered-dict"]
    with OrderedProcess("ordered-dict in memory", command, _CORES.server) as process:
        process.suspend()
        for kind in _KINDS:
            assert 0.0 < process.measure(Calls(kind, 0.002), 0.002, Figure).value < 0.002
        with pytest.raises(InvalidMeasurement, match=r"ordered-dict in memory: ValidationError"):
            process.measure(Drive(1, 0.0), 0.0, Driven)


def test_a_server_that_is_killed_ends_the_run() -> None:
    """Misses that a dead server causes are no hits: the measurement is not valid."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    with Backend(Tier.REDIS, _CORES.server) as server, _remote("redis-py", Tier.REDIS, server) as process:
        process.suspend()
        assert process.measure(Drive(1, 0.0), 0.0, Driven).calls == 1
        os.kill(server.server_pid, signal.SIGKILL)
        with pytest.raises(InvalidMeasurement, match="redis-py over redis"):
            process.measure(Drive(64, 0.0), 0.0, Driven)


def test_a_missing_server_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is not installed is a matter of configuration, in one line."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigurationError, match="redis-server is not installed"), Backend(Tier.REDIS, _CORES.server):
        pass


def test_traces_repeat() -> None:
    """A seed gives the same accesses each time; scans add keys that come once."""
    assert list(itertools.islice(zipf(1), 1000)) == list(itertools.islice(zipf(1), 1000))
    assert list(itertools.islice(zipf(1), 1000)) != list(itertools.islice(zipf(2), 1000))
    plain, scanned = list(zipf(3)), list(zipf_with_scans(3))
    once = [key for key in scanned if key >= 100_000]
    assert len(once) == len(set(once)) == 8 * 8_000
    assert [key for key in scanned if key < 100_000] == plain


def test_subjects_and_setups_are_complete() -> None:
    """There is a subject for every setup, and a setup for every subject."""
    named = {subject for tier in SETUPS.values() for subject in tier}
    assert named == {subject.name for subject in CacheBenchmark.subjects}


def test_cache_benchmark_starts_what_was_chosen() -> None:
    """With cases chosen that need no server, none is started; each chosen subject has its trials."""
    effort = Effort(1, quick=True, only=("limit", "ordered-dict"), cases=("hit", "zipf"))
    with CacheBenchmark().prepare(effort) as prepared:
        trials = {(trial.subject, trial.case) for trial in prepared.trials}
        assert {case for _, case in trials} == {"hit", "miss", "set", "zipf", "zipf-scan"}
        assert ("limit", "zipf") not in trials
        chosen = next(trial for trial in prepared.trials if (trial.subject, trial.case) == ("ordered-dict", "zipf"))
        chosen.turn(seed=0)
        assert 50.0 < chosen.figures()["hits"] < 70.0
        assert prepared.conditions.keys() == {"hit", "miss", "set", "zipf", "zipf-scan"}
