"""Whatever is killed or frozen, no process reads what was invalidated before, and what is needed is loaded once.

Processes write down what they do (`records`); afterwards their histories are checked together: for reads of what was
gone before they began, and for loads that nobody needed (`loads`).
"""

import bisect
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.cache.backplanes.servers import RedisServer, redis_servers
from tests.cache.history.loads import Loads
from tests.cache.history.records import Gone, Read, Record, read_records
from tests.cache.history.truth import Truth
from tests.cache.history.worker import KEYS, POLICY, TAG_OF

WORKERS = 4
KEEPS = "save ''\nappendonly yes\nappendfsync no\n"
"""Settings of a Redis that has all it had answered when it is killed and started again."""


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """Return a redis-server of the test's own."""
    with redis_servers() as start:
        yield start(settings=KEEPS)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


class History:
    """The processes that read and write, and what they have written down."""

    def __init__(self, url: str, folder: Path, seconds: float, tasks: int) -> None:
        self._folder = folder
        self._tasks = tasks
        self._until = time.monotonic() + seconds
        self._namespace = uuid.uuid4().hex[:8]
        self._url = url
        self._started = 0
        Truth.make(folder / "truth", KEYS).close()
        self.workers = [self._start(number) for number in range(WORKERS)]

    def _start(self, number: int) -> "subprocess.Popen[bytes]":
        self._started += 1
        left = max(0.0, self._until - time.monotonic())
        words = [self._url, self._namespace, self._folder / "truth", self._folder / f"{self._started}.records"]
        numbers = [number, WORKERS, self._tasks, left]
        command = [sys.executable, "-m", "tests.cache.history.worker", *map(str, words), *map(str, numbers)]
        return subprocess.Popen(command)

    def kill(self, number: int) -> None:
        """Kill a process at whatever it does, and start another in its place."""
        self.workers[number].kill()
        self.workers[number].wait()
        self.workers[number] = self._start(number)

    def pause(self, number: int, seconds: float) -> None:
        """Let a process stand still."""
        self.workers[number].send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.workers[number].send_signal(signal.SIGCONT)

    def wait(self) -> None:
        for worker in self.workers:
            assert worker.wait(timeout=30) == 0

    def end(self) -> None:
        for worker in self.workers:
            if worker.poll() is None:
                worker.kill()
                worker.wait()

    def records(self) -> list[tuple[str, Record]]:
        """Return what all have written down, each record with its process."""
        return list(read_records(self._folder))


def stale_reads(records: Iterable[tuple[str, Record]]) -> tuple[list[str], int, int]:
    """Return the reads that gave what was gone before they began, and how many reads and invalidations there were."""
    reads: list[tuple[float, int, int]] = []
    gone: dict[int, list[tuple[float, int]]] = defaultdict(list)
    for _, record in records:
        match record:
            case Read(began, key, number):
                reads.append((began, key, number))
            case Gone(ended, key, number):
                gone[key].append((ended, number))
    for each in gone.values():
        each.sort()
        for place in range(1, len(each)):  # the highest number that is promised at each moment
            each[place] = each[place][0], max(each[place][1], each[place - 1][1])
    wrong = []
    for began, key, number in reads:
        place = bisect.bisect_right(gone[key], (began, -1)) - 1
        if place >= 0 and number < gone[key][place][1]:
            late = began - gone[key][place][0]
            wrong.append(f"key {key}: read {number}, {late:.4f} s after {gone[key][place][1]} was promised")
    return wrong, len(reads), sum(map(len, gone.values()))


def disturb_until(moment: float, history: History, redis: RedisServer) -> None:
    """Kill and stop processes, freeze Redis and start it again."""
    while time.monotonic() < moment:
        time.sleep(random.random() * 1.5)
        number, seconds_still = random.randrange(WORKERS), random.uniform(0.1, 2.0)
        match random.randrange(4):
            case 0:
                history.kill(number)
            case 1:
                history.pause(number, seconds_still)
            case 2:
                redis.freeze()
                time.sleep(seconds_still)
                redis.thaw()
            case _:
                redis.kill()
                history.kill(number)  # the one in its place is not known to Redis when that comes back
                time.sleep(seconds_still)
                redis.start()


def check(redis: RedisServer, folder: Path, seconds: float, tasks: int, *, disturb: bool) -> None:
    """Run a history, and look for reads of what was gone, and for loads that nobody needed."""
    history = History(redis.url, folder, seconds, tasks)
    try:
        if disturb:
            disturb_until(time.monotonic() + seconds - 2.0, history, redis)
        history.wait()
    finally:
        history.end()
    records = history.records()
    wrong, reads, gone = stale_reads(records)
    loads = Loads(records, POLICY, TAG_OF).verdict()
    reasons = ", ".join(f"{count} {reason}" for reason, count in loads.reasons.most_common())
    print(f"\n{reads} reads, {gone} completed invalidations, {len(wrong)} wrong", file=sys.stderr)
    print(f"{loads.reasons.total()} loads: {reasons}; {len(loads.too_many)} too many", file=sys.stderr)
    assert wrong == [], wrong[:20]
    assert loads.too_many == [], loads.too_many[:20]
    assert reads > 1000
    assert gone > 50
    assert loads.reasons["invalidated"] + loads.reasons["expired"] > 10


def test_a_calm_history(redis: RedisServer, folder: Path) -> None:
    """While nothing fails, none of 4 processes reads what was gone before, or loads what nobody needs."""
    check(redis, folder, 4.0, 10, disturb=False)


def test_a_disturbed_history(redis: RedisServer, folder: Path) -> None:
    """Neither while processes are killed and stopped, and Redis is frozen and killed."""
    check(redis, folder, 10.0, 10, disturb=True)


@pytest.mark.soak
@pytest.mark.timeout(180)
def test_a_long_history(redis: RedisServer, folder: Path) -> None:
    """Nor in a minute of 200 tasks."""
    check(redis, folder, float(os.environ.get("HASTEN_HISTORY_SECONDS", "60")), 50, disturb=True)
