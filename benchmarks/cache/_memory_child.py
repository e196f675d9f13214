"""A cache in the process: `python -m benchmarks.cache._memory_child SUBJECT`.

Each kind of operation has a cache of its own, so that misses do not push out what hits read. Hits read 256 keys in
turn; misses and sets bring new keys to a cache that is full, so that each evicts one where the subject is bounded.
Values are verified before and after the timed loop and loads are counted across it, so that neither is in the figure.
"""

import gc
import inspect
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import uvloop

from benchmarks._child import announce, die_with_parent
from benchmarks._driven import RecomputedError, WrongValueError, carry_out
from benchmarks.cache._orders import Calls, Figure, Follow, Kind
from benchmarks.cache._stack import InMemory, MemorySetup, memory_setup
from benchmarks.cache._work import CAPACITY, KEYS, TRACES, Item, Source

_clock = time.process_time


class _Operations:
    """One kind of operation of one subject, on a cache of its own."""

    def __init__(self, cache: InMemory, source: Source) -> None:
        self._cache = cache
        self._source = source
        self._items = [source.item(key) for key in range(KEYS)]
        self._next = KEYS

    async def fill(self) -> None:
        """Read as many keys as the cache holds."""
        for _ in range(CAPACITY):
            await self._cache.call(self._next)
            self._next += 1

    async def hit(self, seconds: float) -> float:
        """Read keys that are there; return CPU seconds per read."""
        await self._verify()
        call, loads, calls = self._cache.call, self._source.loads, 0
        started = _clock()
        while (elapsed := _clock() - started) < seconds:
            for key in range(KEYS):
                await call(key)
            calls += KEYS
        if self._source.loads != loads:
            raise RecomputedError(f"{self._source.loads - loads} of {calls} hits were loaded again")
        await self._verify()
        return elapsed / calls

    async def miss(self, seconds: float) -> float:
        """Read keys that are not there; return CPU seconds per read, the load included."""
        call, loads, first = self._cache.call, self._source.loads, self._next
        begin = first
        started = _clock()
        while (elapsed := _clock() - started) < seconds:
            end = begin + KEYS
            for key in range(begin, end):
                await call(key)
            begin = end
        self._next = begin
        if self._source.loads - loads != begin - first:
            raise RecomputedError(f"{begin - first} misses loaded {self._source.loads - loads} times")
        self._check(begin - 1, await call(begin - 1), self._source.item(begin - 1))
        return elapsed / (begin - first)

    async def set(self, seconds: float) -> float:
        """Set keys that are not there; return CPU seconds per set."""
        assert self._cache.put is not None
        assert self._cache.take is not None
        first = self._next
        elapsed = await (
            self._set_and_wait(self._cache.put, seconds)
            if inspect.iscoroutinefunction(self._cache.put)
            else self._set_at_once(self._cache.put, seconds)
        )
        last = self._next - 1
        found = self._cache.take(last)
        item = await found if inspect.isawaitable(found) else found
        self._check(last, item, self._items[(last - first) % KEYS])
        return elapsed / (self._next - first)

    async def _set_and_wait(self, put: Callable[[int, Item], Awaitable[object]], seconds: float) -> float:
        key = self._next
        started = _clock()
        while (elapsed := _clock() - started) < seconds:
            for item in self._items:
                await put(key, item)
                key += 1
        self._next = key
        return elapsed

    async def _set_at_once(self, put: Callable[[int, Item], object], seconds: float) -> float:
        key = self._next
        started = _clock()
        while (elapsed := _clock() - started) < seconds:
            for item in self._items:
                put(key, item)
                key += 1
        self._next = key
        return elapsed

    async def _verify(self) -> None:
        for key, item in enumerate(self._items):
            self._check(key, await self._cache.call(key), item)

    @staticmethod
    def _check(key: int, found: Item | None, item: Item) -> None:
        if found != item:
            raise WrongValueError(f"key {key} gave {found}")


async def _hit_ratio(setup: MemorySetup, order: Follow) -> float:
    source, accesses = Source(), 0
    async with setup(source.function(), CAPACITY) as cache:
        call = cache.call
        for key in TRACES[order.trace](order.seed):
            accesses += 1
            if (await call(key))["id"] != key:
                raise WrongValueError(f"key {key}")
    return 1 - source.loads / accesses


async def _main(subject: str) -> None:
    setup = memory_setup(subject)
    kinds: dict[Kind, _Operations] = {}

    async def work(order: Calls | Follow) -> Figure:
        gc.collect()
        if isinstance(order, Follow):
            return Figure(value=await _hit_ratio(setup, order))
        operations = kinds[order.kind]
        operation = {"hit": operations.hit, "miss": operations.miss, "set": operations.set}[order.kind]
        return Figure(value=await operation(order.seconds))

    async with AsyncExitStack() as stack:
        for kind in ("hit", "miss", "set"):
            source = Source()
            cache = await stack.enter_async_context(setup(source.function(), CAPACITY))
            kinds[kind] = _Operations(cache, source)
            if kind != "hit":
                await kinds[kind].fill()
        announce("on stdin")
        await carry_out(Calls | Follow, work, Figure)


if __name__ == "__main__":
    die_with_parent()
    uvloop.run(_main(*sys.argv[1:]))
