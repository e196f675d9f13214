"""One process of the history check: tasks that read, set and invalidate random keys, and write down what they saw.

    python -m tests.cache.history.worker REDIS_URL NAMESPACE TRUTH RECORDS NUMBER WORKERS TASKS SECONDS

It writes a line of JSON for each thing that happened, all times by `time.monotonic()`, which is one clock for all
processes of a machine:

    ["read", began, key, number]
    ["gone", ended, key, number]     what was smaller than the number is not served by anybody who asks from now on
"""

import asyncio
import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

from hasten.cache import Cache, Policy, codec_for
from tests.cache.history.truth import Truth

KEYS = 40
TAGS = 5


class Worker:
    """The tasks of one process; only they write the keys that are its own."""

    def __init__(self, cache: Cache, truth: Truth, records: int, number: int, workers: int) -> None:
        policy = Policy(ttl=0.5, stale=0.5, stale_if_error=0.5, lease=1.0)
        self._region = cache.region("history", policy, codec=codec_for(int))
        self._cache = cache
        self._truth = truth
        self._records = records
        self._own = [key for key in range(KEYS) if key % workers == number]
        self._locks = {key: asyncio.Lock() for key in self._own}

    async def act(self, until: float) -> None:
        """Do one thing after the other."""
        while time.monotonic() < until:
            action = random.choices([self._read, self._set, self._invalidate, self._invalidate_tag], [85, 3, 8, 4])[0]
            await action()
            if random.random() < 0.1:
                await asyncio.sleep(random.random() * 0.005)

    async def _read(self) -> None:
        key = random.randrange(KEYS)
        began = time.monotonic()
        number = await self._region.load(key, lambda: self._load(key), [f"tag:{key % TAGS}"])
        self._note("read", began, key, number)

    async def _load(self, key: int) -> int:
        number = self._truth[key]
        await asyncio.sleep(random.random() * 0.003)
        return number

    async def _set(self) -> None:
        key = random.choice(self._own)
        async with self._locks[key]:
            number = self._truth.raise_(key)
            if await self._region.store(key, number, [f"tag:{key % TAGS}"]):
                self._note("gone", time.monotonic(), key, number)

    async def _invalidate(self) -> None:
        key = random.choice(self._own)
        async with self._locks[key]:
            number = self._truth.raise_(key)
            if await self._region.invalidate(key):
                self._note("gone", time.monotonic(), key, number)

    async def _invalidate_tag(self) -> None:
        key = random.choice(self._own)
        async with self._locks[key]:
            number = self._truth.raise_(key)
            if await self._cache.invalidate_tags(f"tag:{key % TAGS}"):
                self._note("gone", time.monotonic(), key, number)

    def _note(self, *record: Any) -> None:
        os.write(self._records, json.dumps(record).encode() + b"\n")  # at once: the process may be killed


async def main(arguments: list[str]) -> None:
    url, namespace, truth, records, number, workers, tasks, seconds = arguments
    file = os.open(records, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    cache = Cache("memory://?max_entries=30", url, namespace=namespace)
    worker = Worker(cache, Truth(Path(truth)), file, int(number), int(workers))
    until = time.monotonic() + float(seconds)
    await asyncio.gather(*(worker.act(until) for _ in range(int(tasks))))
    await cache.aclose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
