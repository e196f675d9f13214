"""Callers that choose among replicas, each by what it knows itself, while one replica is ten times slower.

A replica works on one request after another; what it takes for one is lognormal (sigma 0.5, mean 5 ms). Callers do not
hear of each other: the more of them there are, the less each knows of a replica.
"""

from collections.abc import Callable, Sequence
from itertools import count

from benchmarks.simulate._study import Chart, Study, quantile
from benchmarks.simulate._world import Server, World
from hasten.resilience._peak_ewma import Load, PeakEwma

_REPLICAS = 20
_MEAN, _SIGMA = 0.005, 0.5  # seconds of a request, and of their logarithm
_MU = -_SIGMA * _SIGMA / 2.0
_USUAL = 0.6  # of what the replicas can do together
_SLOW, _SLOWER = (10.0, 20.0), 10.0  # seconds from when until when, and how much
_ENDS = 30.0
_SETTLED = 2.0  # seconds after which callers know
DECAY = 1.5  # seconds: hasten.rpc's

Pick = Callable[[Sequence[Load]], Load]


class Replica(Load):
    """A replica as one caller knows it."""

    __slots__ = ("server",)

    def __init__(self, server: Server) -> None:
        super().__init__()
        self.server = server


class Caller:
    """An instance that calls one of the replicas at a time."""

    __slots__ = ("_balancer", "_pick", "_replicas", "_world", "slow", "took")

    def __init__(
        self, world: World, servers: Sequence[Server], way: str, took: list[list[float]], slow: list[int]
    ) -> None:
        self._world = world
        self._replicas = [Replica(server) for server in servers]
        self._balancer = PeakEwma(world.clock, world.random.random, DECAY)
        self._pick = self._picks(way)
        self.took, self.slow = took, slow

    def _picks(self, way: str) -> Callable[[], Load]:
        replicas, random = self._replicas, self._world.random.random
        if way == "round robin":
            turn = count(int(random() * _REPLICAS))
            return lambda: replicas[next(turn) % _REPLICAS]
        if way == "random":
            return lambda: replicas[int(random() * _REPLICAS)]
        return lambda: self._balancer.pick(replicas) or replicas[0]

    def call(self) -> None:
        """Make a call."""
        world = self._world
        replica = self._pick()
        assert isinstance(replica, Replica)
        replica.outstanding += 1
        seconds = replica.server.take()
        world.after(seconds, self._answered, replica, seconds)
        second = int(world.now)
        self.took[second].append(seconds)
        self.slow[second] += replica is self._replicas[0]

    def _answered(self, replica: Replica, seconds: float) -> None:
        replica.outstanding -= 1
        self._balancer.answered(replica, seconds)


def simulate(way: str, callers: int, seed: int) -> tuple[list[list[float]], list[int]]:
    """Return what calls took, and how many the slow replica got, by the second."""
    world = World(seed)
    draw = world.random.lognormvariate
    first = Server(world, lambda now: _MEAN * draw(_MU, _SIGMA) * (_SLOWER if _SLOW[0] <= now < _SLOW[1] else 1.0))
    servers = [first, *(Server(world, lambda _: _MEAN * draw(_MU, _SIGMA)) for _ in range(_REPLICAS - 1))]
    took: list[list[float]] = [[] for _ in range(int(_ENDS))]
    slow = [0] * int(_ENDS)
    instances = [Caller(world, servers, way, took, slow) for _ in range(callers)]
    rate = _USUAL * _REPLICAS / _MEAN
    world.arrivals(lambda _: rate, lambda: instances[int(world.random.random() * callers)].call())
    world.run(_ENDS - 0.001)
    return took, slow


def study(instances: int, seed: int) -> Study:
    """Simulate all ways, and fewer callers for the one that learns."""
    ways = [
        ("round robin", instances),
        ("random", instances),
        *(("two choices", max(1, instances // part)) for part in (1, 10, 100)),
    ]
    rows, series = [], {}
    for way, callers in ways:
        took, slow = simulate(way, callers, seed)
        name = f"{way}, callers: {callers:,}"
        begin, end = int(_SLOW[0] + _SETTLED), int(_SLOW[1])
        calm = [seconds for second in took[2 : int(_SLOW[0])] for seconds in second]
        ill = [seconds for second in took[begin:end] for seconds in second]
        share = 100.0 * sum(slow[begin:end]) / len(ill)
        rows.append((name, 1e3 * quantile(calm, 0.99), 1e3 * quantile(ill, 0.99), share))
        series[name] = [1e3 * quantile(second, 0.99) for second in took]
    return Study(
        name="balancing",
        about=f"{_REPLICAS} replicas at {_USUAL:.0%} of what they can do; from {_SLOW[0]:g} to {_SLOW[1]:g} s one of "
        f"them takes {_SLOWER:g} times as long",
        columns=("", "p99, ms", "p99 with a slow one, ms", "calls that it gets, %"),
        rows=rows,
        charts=[
            Chart(
                name="balancing-p99",
                title="p99 of calls",
                unit="ms",
                series=series,
                shaded=_SLOW,
                most=200.0,
            )
        ],
    )
