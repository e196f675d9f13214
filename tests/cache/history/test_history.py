"""No process reads what was invalidated before, whatever is killed or frozen: a recorded history is checked."""

import bisect
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cache.history.truth import Truth
from tests.cache.history.worker import KEYS
from tests.rpc.channel.test_state import free_port

WORKERS = 4


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


class Redis:
    """A server of the test's own, which it may freeze."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.url = f"redis://127.0.0.1:{port}/0"
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def freeze(self, seconds: float) -> None:
        self.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


class History:
    """The processes that read and write, and what they have written down."""

    def __init__(self, redis: Redis, folder: Path, seconds: float, tasks: int) -> None:
        self._folder = folder
        self._tasks = tasks
        self._until = time.monotonic() + seconds
        self._namespace = uuid.uuid4().hex[:8]
        self._url = redis.url
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

    def records(self) -> Iterator[tuple[str, float, int, int]]:
        for file in self._folder.glob("*.records"):
            for line in file.read_bytes().split(b"\n"):
                if line.endswith(b"]"):  # the last may be cut off
                    kind, moment, key, number = json.loads(line)
                    yield kind, moment, key, number


def stale_reads(history: History) -> tuple[list[str], int, int]:
    """Return the reads that gave what was gone before they began, and how many reads and invalidations there were."""
    reads: list[tuple[float, int, int]] = []
    gone: dict[int, list[tuple[float, int]]] = defaultdict(list)
    for kind, moment, key, number in history.records():
        if kind == "read":
            reads.append((moment, key, number))
        else:
            gone[key].append((moment, number))
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


def check(folder: Path, seconds: float, tasks: int, *, disturb: bool) -> None:
    """Run a history, and look for reads of what was gone."""
    redis = Redis(folder)
    history = History(redis, folder, seconds, tasks)
    until = time.monotonic() + seconds - 2.0
    try:
        while disturb and time.monotonic() < until:
            time.sleep(random.random() * 1.5)
            number, seconds_still = random.randrange(WORKERS), random.uniform(0.1, 2.0)
            match random.randrange(3):
                case 0:
                    history.kill(number)
                case 1:
                    history.pause(number, seconds_still)
                case _:
                    redis.freeze(seconds_still)
        history.wait()
    finally:
        history.end()
        redis.end()
    wrong, reads, gone = stale_reads(history)
    print(f"{reads} reads, {gone} completed invalidations, {len(wrong)} wrong", file=sys.stderr)
    assert wrong == [], wrong[:20]
    assert reads > 1000
    assert gone > 50


def test_a_calm_history(folder: Path) -> None:
    """While nothing fails, none of 4 processes reads what was gone before."""
    check(folder, 4.0, 10, disturb=False)


def test_a_disturbed_history(folder: Path) -> None:
    """Neither while processes are killed and stopped, and Redis is frozen."""
    check(folder, 10.0, 10, disturb=True)


@pytest.mark.soak
@pytest.mark.timeout(180)
def test_a_long_history(folder: Path) -> None:
    """Nor in a minute of 200 tasks."""
    check(folder, float(os.environ.get("HASTEN_HISTORY_SECONDS", "60")), 50, disturb=True)
