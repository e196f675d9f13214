"""A simulated world: its time, and what happens in it."""

import random
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Any


class World:
    """Runs what was put off, in the order of time.

    Attributes:
      now: Seconds since it began.
      random: All chance there is: the same seed is the same world.
    """

    __slots__ = ("_number", "_waiting", "now", "random")

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        self.random = random.Random(seed)
        self._number = count()
        self._waiting: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []

    def clock(self) -> float:
        """Return the time, as policies ask for it."""
        return self.now

    def after(self, seconds: float, call: Callable[..., object], *arguments: Any) -> None:
        """Have something called after so many seconds."""
        heappush(self._waiting, (self.now + seconds, next(self._number), call, arguments))

    def arrivals(self, rate: Callable[[float], float], call: Callable[[], object]) -> None:
        """Have something called again and again, so often a second on average (Poisson); `rate` is by the time."""

        def arrive() -> None:
            self.arrivals(rate, call)
            call()

        self.after(self.random.expovariate(rate(self.now)), arrive)

    def run(self, until: float) -> None:
        """Run to a time."""
        waiting = self._waiting
        while waiting and waiting[0][0] <= until:
            self.now, _, call, arguments = heappop(waiting)
            call(*arguments)
        self.now = until


class Server:
    """Works on one thing after another, in the order in which they come.

    Args:
      seconds: Of work of each, by the time.

    Attributes:
      free_at: When all is done that has come.
    """

    __slots__ = ("_seconds", "_world", "free_at")

    def __init__(self, world: World, seconds: Callable[[float], float]) -> None:
        self._world = world
        self._seconds = seconds
        self.free_at = 0.0

    def take(self) -> float:
        """Take one thing more, and return the seconds until it is done."""
        now = self._world.now
        begins = self.free_at if self.free_at > now else now
        self.free_at = begins + self._seconds(begins)
        return self.free_at - now
