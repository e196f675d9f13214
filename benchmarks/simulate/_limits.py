"""Services that each find their own limit, in an overload that begins everywhere at the same moment.

Each has a CPU of its own: 20 ms for a request, and 50 ms of waiting for something else. A caller waits for half a
second. What answers take without load is looked for anew now and then, by halving the limit: were all to do so at the
same moment, all of them would do half as much.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.simulate._study import Chart, Study, quantile
from benchmarks.simulate._world import Server, World
from hasten.resilience import Limiter

_COMPUTES, _WAITS = 0.02, 0.05  # seconds
_CAPACITY = 1.0 / _COMPUTES
_USUAL, _OVERLOAD = 0.8, 2.0  # times the capacity
_ILL = (5.0, 35.0)  # seconds from when until when
_ENDS = 45.0
_WORTH = 0.5  # seconds
_SETTLED = 10.0  # seconds after which limits are what they are to be
_LOOK = 0.1  # seconds between two looks at the probes


@dataclass(slots=True)
class Outcome:
    """What has become of the requests, by the second, and how many services probed at once at most."""

    good: list[int]
    took: list[list[float]]
    probing: int = 0


class Service:
    """A service behind a limiter."""

    __slots__ = ("_limiter", "_outcome", "_server", "_world", "good", "probes")

    def __init__(self, world: World, outcome: Outcome, chance: Callable[[], float] | None) -> None:
        self._world, self._outcome = world, outcome
        self._server = Server(world, lambda _: _COMPUTES)
        self._limiter = None if chance is None else Limiter(clock=world.clock, chance=chance)
        self.good = self.probes = 0

    def take(self) -> None:
        """Take a request, or refuse it."""
        if self._limiter is not None and not self._limiter.admits():
            return
        queued = max(0.0, self._server.free_at - self._world.now)
        seconds = self._server.take() + _WAITS
        self._world.after(seconds, self._answered, int(self._world.now), seconds, queued)

    def _answered(self, second: int, seconds: float, queued: float) -> None:
        if self._limiter is not None:
            self._limiter.ended(seconds, "", queued)
        if seconds > _WORTH:
            return
        self._outcome.good[second] += 1
        self._outcome.took[second].append(seconds)
        if _ILL[0] + _SETTLED <= second < _ILL[1]:
            self.good += 1

    def has_begun_probe(self) -> bool:
        """Tell whether it has begun to probe since it was asked last."""
        before = self.probes
        if self._limiter is not None:
            self.probes = self._limiter.statistics().probes
        return self.probes > before


Chance = Callable[[World], Callable[[], float]]


def simulate(instances: int, seed: int, chance: Chance | None) -> tuple[Outcome, list[float]]:
    """Return what becomes of all requests, and the share of its capacity that each service did in the overload."""
    world, outcome = World(seed), Outcome([0] * int(_ENDS), [[] for _ in range(int(_ENDS))])
    services = [Service(world, outcome, chance and chance(world)) for _ in range(instances)]

    def rate(now: float) -> float:
        return _CAPACITY * instances * (_OVERLOAD if _ILL[0] <= now < _ILL[1] else _USUAL)

    def look() -> None:
        begun = sum(service.has_begun_probe() for service in services)
        outcome.probing = max(outcome.probing, begun)
        world.after(_LOOK, look)

    world.arrivals(rate, lambda: services[int(world.random.random() * instances)].take())
    look()
    world.run(_ENDS - 0.001)
    seconds = _ILL[1] - _ILL[0] - _SETTLED
    return outcome, [service.good / (seconds * _CAPACITY) for service in services]


WAYS: Sequence[tuple[str, Chance | None]] = (
    ("no limit", None),
    ("a limit each, probes by chance", lambda world: world.random.random),
    ("a limit each, probes without chance", lambda _: lambda: 0.5),
)


def study(instances: int, seed: int) -> Study:
    """Simulate all ways."""
    rows, series = [], {}
    for name, chance in WAYS:
        outcome, shares = simulate(instances, seed, chance)
        took = [seconds for second in outcome.took[int(_ILL[0] + _SETTLED) : int(_ILL[1])] for seconds in second]
        p99 = 1e3 * quantile(took, 0.99)
        probing = 100.0 * outcome.probing / instances
        rows.append((name, 100.0 * sum(shares) / instances, 100.0 * quantile(shares, 0.01), p99, probing))
        series[name] = [100.0 * good / (_CAPACITY * instances) for good in outcome.good]
    return Study(
        name="limits",
        about=f"{instances:,} services that can answer {_CAPACITY:g} requests a second each; from {_ILL[0]:g} to "
        f"{_ILL[1]:g} s each gets {_OVERLOAD:g} times as many, else {_USUAL:g} times",
        columns=("", "of the capacity, %", "the worst of 100, %", "p99, ms", "probes begun in the same 0.1 s, %"),
        rows=rows,
        charts=[
            Chart(
                name="limits-goodput",
                title=f"Requests that are answered within {_WORTH:g} s, of the capacity",
                unit="%",
                series=series,
                shaded=_ILL,
            )
        ],
    )
