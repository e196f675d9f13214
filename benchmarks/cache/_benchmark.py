"""`cache`: values in the process, over Redis and over Memcached, beside the caches that Python has.

Every subject has a process of its own for each tier, stopped while others have their turn. The caches in a process run
on one core; over a server the client has one core and the server the other, all over TCP. Each is set up as its
documentation says is fastest for this work (`stacks/`): explicit keys, no copies where it can be told not to copy, no
locks that this work does not need, except where a row says that it is the default.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import msgspec

from benchmarks._driven import OrderedProcess
from benchmarks._harness import Benchmark, Effort, Prepared, Role, Subject, Trial
from benchmarks._processes import Cores, Stage
from benchmarks.cache._backend import Backend
from benchmarks.cache._orders import Calls, Drive, Kind
from benchmarks.cache._stack import SETUPS, Tier
from benchmarks.cache._trials import UNITS, CallTrial, RatioTrial, RedisBenchmarkTrial, RemoteTrial
from benchmarks.cache._work import CAPACITY, KEYS, LARGE, Source

_KINDS: tuple[Kind, ...] = ("hit", "miss", "set")
_WITHOUT_SET = ("async-lru",)
_RATIOS = ("zipf", "zipf-scan")
_RATIO_SUBJECTS = ("hasten", "ordered-dict", "theine", "cachebox", "moka-py")
_IN_FLIGHT = (1, 64)
_CALL = f"{KEYS} keys, a small dict"
_VALUE_BYTES = len(msgspec.json.encode(Source(LARGE).item(KEYS - 1)))
_CONDITIONS: Mapping[str, str] = {
    "hit": f"{_CALL}; the limit is a dict behind an async function",
    "miss": f"new keys into a cache of {CAPACITY:,}, load and eviction included",
    "set": f"new keys into a cache of {CAPACITY:,}; the limit is a dict's",
    "zipf": f"accesses that hit, capacity {CAPACITY:,}, Zipf 0.9 over 100,000 keys",
    "zipf-scan": "the same with 8,000 keys in a row that are asked for once, after each 20,000",
    "redis-1": f"1 in flight, {_VALUE_BYTES} bytes; the limit is redis-benchmark",
    "redis-64": f"64 in flight, {_VALUE_BYTES} bytes; the limit is redis-benchmark, one connection, pipeline of 64",
    "memcached-1": f"1 in flight, {_VALUE_BYTES} bytes; the limit is emcache with autobatching",
    "memcached-64": f"64 in flight, {_VALUE_BYTES} bytes; the limit is emcache with autobatching",
}


class CacheBenchmark(Benchmark):
    """CPU, latency and hit ratios of caches."""

    name = "cache"
    summary = "a decorated function: hits, misses and sets in the process, hit ratios, reads over Redis and Memcached"
    subjects = (
        Subject("limit", Role.LIMIT, "a dict; redis-benchmark; emcache with autobatching", "emcache"),
        Subject("hasten", Role.OURS, "hasten.cache; over a server every read goes there", "hasten"),
        Subject("hasten-tiers", Role.OURS, "hasten.cache with Redis behind its memory"),
        Subject("cashews", Role.PEER, "explicit key, its defaults else", "cashews"),
        Subject("cashews-unprotected", Role.PEER, "without its lock"),
        Subject("cashews-local", Role.PEER, "Redis with client_side=True: hits are local"),
        Subject("aiocache", Role.PEER, "explicit key", "aiocache"),
        Subject("fastapi-cache2", Role.PEER, "explicit key, pickle", "fastapi-cache2"),
        Subject("redis-py", Role.PEER, "GET and msgspec, no cache around it", "redis"),
        Subject("cachebox", Role.PEER, "TTLCache, no copies, no lock", "cachebox"),
        Subject("moka-py", Role.PEER, "cached(ttl=)", "moka-py"),
        Subject("async-lru", Role.PEER, "alru_cache(ttl=)", "async-lru"),
        Subject("theine", Role.PEER, "Memoize with a key function, no lock", "theine"),
        Subject("ordered-dict", Role.PEER, "25 lines: OrderedDict, LRU with TTL"),
    )
    units: Mapping[str, str] = UNITS
    packages = ("uvloop", "msgspec", "aiomcache")

    @contextmanager
    def prepare(self, effort: Effort) -> Iterator[Prepared]:
        """Start the servers and subjects that the chosen cases need; yield the trials."""
        subjects = [subject.name for subject in effort.choose(self.subjects)]
        with Stage() as stage:
            chosen = _Chosen(stage, Cores.available(), effort)
            trials = [*chosen.in_memory(subjects), *chosen.remote(Tier.REDIS, subjects)]
            trials += chosen.remote(Tier.MEMCACHED, subjects)
            stage.suspend()
            cases = {trial.case for trial in trials}
            yield Prepared(tuple(trials), {case: text for case, text in _CONDITIONS.items() if case in cases})


class _Chosen:
    """Starts what the chosen cases need."""

    def __init__(self, stage: Stage, cores: Cores, effort: Effort) -> None:
        self._stage = stage
        self._cores = cores
        self._effort = effort

    def in_memory(self, subjects: list[str]) -> Iterator[Trial]:
        """Yield the trials of caches in the process."""
        turns, seconds = (1, 0.02) if self._effort.quick else (3, 0.03)
        for subject in subjects:
            kinds = [kind for kind in _KINDS if kind != "set" or subject not in _WITHOUT_SET]
            ratios = _RATIOS if subject in _RATIO_SUBJECTS else ()
            if subject in SETUPS[Tier.MEMORY] and self._wanted(*kinds, *ratios):
                process = self._start(f"{subject} in memory", self._cores.server, "_memory_child", subject)
                yield from (CallTrial(subject, kind, process, Calls(kind, seconds), turns) for kind in kinds)
                yield from (RatioTrial(subject, process, ratio) for ratio in ratios)

    def remote(self, tier: Tier, subjects: list[str]) -> Iterator[Trial]:
        """Yield the trials over one kind of server."""
        cases = {f"{tier}-{in_flight}": in_flight for in_flight in _IN_FLIGHT}
        taking_part = [subject for subject in subjects if subject in SETUPS[tier]]
        by_tool = tier is Tier.REDIS and "limit" in subjects
        if not (taking_part or by_tool) or not self._wanted(*cases):
            return
        backend = self._stage.enter_context(Backend(tier, self._cores.server))
        place = (backend.place, str(backend.server_pid))
        turns, seconds, warm_up = (1, 0.12, 0.03) if self._effort.quick else (2, 0.2, 0.05)
        for subject in taking_part:
            process = self._start(f"{subject} over {tier}", self._cores.client, "_remote_child", subject, tier, *place)
            for case, in_flight in cases.items():
                yield RemoteTrial(subject, case, process, Drive(in_flight, seconds, warm_up), turns)
        if by_tool:
            for case, in_flight in cases.items():
                requests = 4_000 if in_flight == 1 else 100_000
                yield RedisBenchmarkTrial("limit", case, backend, in_flight, requests, _VALUE_BYTES, turns)

    def _wanted(self, *cases: str) -> bool:
        return any(map(self._effort.measures, cases))

    def _start(self, name: str, core: int, module: str, *arguments: str) -> OrderedProcess:
        command = [sys.executable, "-m", f"benchmarks.cache.{module}", *arguments]
        return self._stage.start(OrderedProcess(name, command, core))
