"""The processes that read one hot key, driven from outside: their loads are counted and held back in Redis."""

import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import msgspec
import redis

from tests.cache.hot_key.worker import Report

PROCESSES, TASKS = 4, 250
_PROJECT = Path(__file__).parents[3]
_LOOK_EVERY = 0.02  # seconds


class Process:
    """One process.

    Attributes:
      seen: What it has reported since this was set to nothing.
    """

    def __init__(self, *arguments: object) -> None:
        command = [sys.executable, "-m", "tests.cache.hot_key.worker", *map(str, arguments)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_PROJECT
        )
        self.seen = Report()

    def ask(self) -> None:
        """Begin to read; or, later, ask for a report."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the process has ended"
        return line

    def look(self) -> None:
        """Add to `seen` what the process reports."""
        self.ask()
        now, seen = msgspec.json.decode(self.line(), type=Report), self.seen
        for number, count in seen.answers.items():
            now.answers[number] = now.answers.get(number, 0) + count
        now.waited += seen.waited
        now.stale_seconds = seen.stale_seconds + now.stale_seconds
        self.seen = now

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


class Cluster:
    """Four processes of 250 tasks each that read one key.

    Args:
      ttl: Seconds that a value is fresh.
      early: Weight of refreshing ahead; see `Policy`.
    """

    def __init__(self, url: str, *, ttl: float, early: float) -> None:
        self._namespace = f"hot-{uuid4().hex[:8]}"
        self._redis = redis.Redis.from_url(url, protocol=2)
        self.processes = [Process(url, self._namespace, TASKS, ttl, early) for _ in range(PROCESSES)]

    def begin(self) -> None:
        """Have all begin to read, when all are ready."""
        for process in self.processes:
            assert process.line() == "ready\n"
        for process in self.processes:
            process.ask()

    @property
    def loads(self) -> int:
        """How often the loader was called in the cluster."""
        return int(self._redis.get(f"{self._namespace}:loads") or 0)

    def lives(self) -> list[float]:
        """Return the seconds from the end of each load that has ended to the begin of the next that has."""
        loads = [load.split() for load in self._redis.lrange(f"{self._namespace}:ended", 0, -1)]
        return [float(later[0]) - float(earlier[1]) for earlier, later in pairwise(loads)]

    def let_a_load_end(self) -> None:
        """Let one load end, the one that is held back or the next."""
        self._redis.rpush(f"{self._namespace}:gate", "")

    def until_loads(self, number: int) -> None:
        """Return when the loader was called so often."""
        while self.loads < number:
            time.sleep(_LOOK_EVERY)

    def until(self, seen_enough: Callable[[Report], bool], *, most_loads: int) -> list[Report]:
        """Return what each process has seen from now on, when it is enough for each; no more loads may have begun."""
        for process in self.processes:
            process.look()
            process.seen = Report()
        while True:
            for process in self.processes:
                process.look()
            assert self.loads <= most_loads, f"{self.loads} loads, where {most_loads} would do"
            if all(seen_enough(process.seen) for process in self.processes):
                return [process.seen for process in self.processes]
            time.sleep(_LOOK_EVERY)

    def end(self) -> None:
        """Kill all; their keys end with the server of the tests."""
        for process in self.processes:
            process.end()
        self._redis.close()
