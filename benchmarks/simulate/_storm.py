"""A dependency that is slow for a while, and what clients that retry make of it.

The service works on one request after another, also for those who have given up: so do most. A client waits for 1 s,
and sends what has failed up to three times. For 10 s the service does a tenth of what it usually can.
"""

from dataclasses import dataclass, field
from math import inf

from benchmarks.simulate._study import Chart, Study
from benchmarks.simulate._world import Server, World
from hasten.resilience import AdaptiveBreaker, Limiter, Refused, RetryBudget, RetryPolicy

_USUAL = 0.7  # of what the service can do
_SLOW = (10.0, 20.0)  # seconds from when until when it does a tenth
_ENDS = 80.0
_EACH = 2.0  # calls of an instance a second
_PATIENCE, _RETURN = 1.0, 0.001  # seconds: of an attempt, and for the way there and back
_ENOUGH = 0.95  # of the calls of a second, answered: it is well again
_RETRY = RetryPolicy(attempts=3)


@dataclass(frozen=True, slots=True)
class Way:
    """What the clients, and the service, do about it.

    Attributes:
      floor: Retries a second that each instance may make whatever it calls (`RetryBudget(minimum_per_second=)`); None
        for no budget.
      breaker: Clients have an `AdaptiveBreaker`.
      limiter: The service has a `Limiter`, and drops what nobody waits for.
    """

    name: str
    floor: float | None = None
    breaker: bool = False
    limiter: bool = False


WAYS = (
    Way("three attempts"),
    Way("budget", floor=0.1),
    Way("budget, its floor 1/s an instance", floor=1.0),
    Way("budget, breaker", floor=0.1, breaker=True),
    Way("budget, the service a limiter", floor=0.1, limiter=True),
    Way("three attempts, the service a limiter", limiter=True),
)


@dataclass(slots=True)
class Counts:
    """By the second in which it was called, or sent."""

    calls: list[int] = field(default_factory=lambda: [0] * int(_ENDS))
    answered: list[int] = field(default_factory=lambda: [0] * int(_ENDS))
    sent: list[int] = field(default_factory=lambda: [0] * int(_ENDS))


class Service:
    """Answers, or refuses."""

    def __init__(self, world: World, capacity: float, *, limiter: bool) -> None:
        self._world = world
        work = 1.0 / capacity
        self._server = Server(world, lambda now: work * (10.0 if _SLOW[0] <= now < _SLOW[1] else 1.0))
        self._limiter = Limiter(clock=world.clock, chance=world.random.random) if limiter else None

    def take(self) -> float:
        """Take a request, and return the seconds until it is answered; infinite where it is refused."""
        if self._limiter is None:
            return self._server.take()
        if not self._limiter.admits():
            return inf
        seconds = self._server.take()
        self._world.after(seconds, self._limiter.ended, seconds)
        return seconds


class Client:
    """An instance that calls the service."""

    __slots__ = ("_breaker", "_budget", "_counts", "_service", "_world")

    def __init__(self, world: World, service: Service, way: Way, counts: Counts) -> None:
        self._world, self._service, self._counts = world, service, counts
        clock, chance = world.clock, world.random.random
        self._budget = None if way.floor is None else RetryBudget(minimum_per_second=way.floor, clock=clock)
        self._breaker = AdaptiveBreaker(clock=clock, chance=chance) if way.breaker else None

    def call(self) -> None:
        """Make a call."""
        self._counts.calls[int(self._world.now)] += 1
        if self._budget is not None:
            self._budget.deposit()
        self._attempt(1, int(self._world.now))

    def _attempt(self, number: int, second: int) -> None:
        world, began = self._world, self._world.now
        if began >= _ENDS:
            return
        if self._breaker is not None:
            try:
                self._breaker.begin(began)
            except Refused:
                return
        self._counts.sent[int(began)] += 1
        seconds = self._service.take()
        if seconds <= _PATIENCE:
            world.after(seconds + _RETURN, self._answered, second, began)
        else:
            world.after(_RETURN if seconds == inf else _PATIENCE, self._failed, number, second, began)

    def _answered(self, second: int, began: float) -> None:
        if self._breaker is not None:
            self._breaker.end(began, self._world.now, None)
        self._counts.answered[second] += 1

    def _failed(self, number: int, second: int, began: float) -> None:
        if self._breaker is not None:
            self._breaker.end(began, self._world.now, TimeoutError())
        if number < _RETRY.attempts and (self._budget is None or self._budget.try_withdraw()):
            self._world.after(_RETRY.delay(number, self._world.random.random), self._attempt, number + 1, second)


def simulate(way: Way, instances: int, seed: int) -> Counts:
    """Return what becomes of all calls."""
    world, counts = World(seed), Counts()
    rate = _EACH * instances
    service = Service(world, rate / _USUAL, limiter=way.limiter)
    clients = [Client(world, service, way, counts) for _ in range(instances)]
    world.arrivals(lambda _: rate, lambda: clients[int(world.random.random() * instances)].call())
    world.run(_ENDS - 0.001)
    return counts


def well_again(counts: Counts) -> float:
    """Return the seconds from the end of the trouble until nearly all calls are answered from then on."""
    last = int(_ENDS - _PATIENCE * _RETRY.attempts) - 1  # later calls may be under way at the end
    for second in range(last, int(_SLOW[1]) - 1, -1):
        if counts.answered[second] < _ENOUGH * counts.calls[second]:
            return inf if second == last else second + 1 - _SLOW[1]
    return 0.0


def study(instances: int, seed: int) -> Study:
    """Simulate all ways."""
    counted = {way.name: simulate(way, instances, seed) for way in WAYS}
    begin, end = map(int, _SLOW)
    rows = []
    for name, counts in counted.items():
        sent, calls = sum(counts.sent[begin:end]), sum(counts.calls[begin:end])
        after = slice(end, end + 10)
        answered = 100.0 * sum(counts.answered[after]) / sum(counts.calls[after])
        rows.append((name, sent / calls, answered, well_again(counts)))
    return Study(
        name="storm",
        about=f"{instances:,} instances make {_EACH:g} calls a second each, {_USUAL:.0%} of what a service can do; "
        f"from {begin} to {end} s it does a tenth",
        columns=("", "sent for each call meanwhile", "answered in the 10 s after it, %", "well again after, s"),
        rows=rows,
        charts=[
            Chart(
                name="storm-answered",
                title="Calls that are answered",
                unit="%",
                series={name: _shares(each.answered, each.calls) for name, each in counted.items()},
                shaded=_SLOW,
            )
        ],
    )


def _shares(some: list[int], of: list[int]) -> list[float]:
    last = int(_ENDS - _PATIENCE * _RETRY.attempts)
    return [100.0 * part / whole if whole else 0.0 for part, whole in zip(some[:last], of[:last], strict=True)]
