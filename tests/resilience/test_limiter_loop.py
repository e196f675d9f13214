"""A limiter on an event loop, with clients that give up and connect anew: the simulation of `event_loop`."""

import random
from collections.abc import Callable

import pytest

from hasten.resilience import Limiter
from tests.resilience.clocks import Clock
from tests.resilience.event_loop import ANSWER, COMPUTES, READ, Loop, Outcome

CAPACITY = 1.0 / (COMPUTES + READ + ANSWER)
WARM, UNTIL, END = 2, 10, 14  # seconds

Make = Callable[[Clock, random.Random], Limiter]


def found(clock: Clock, source: random.Random) -> Limiter:
    return Limiter(clock=clock, chance=source.random)


def none(clock: Clock, _: random.Random) -> Limiter:
    """Return one that refuses nothing."""
    return Limiter(initial=1000, least=1000, clock=clock)


def run(times: float, *, limiter_at: Make = found, seed: int = 1) -> Outcome:
    """Offer a service so many times what it can do, then 0.8 times."""
    return Loop(limiter_at, END, seed).run(lambda now: CAPACITY * (times if now < UNTIL else 0.8))


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("times", "share"), [(1.2, 0.95), (2, 0.95), (5, 0.9), (10, 0.8)])
def test_goodput_in_an_overload(times: float, share: float, seed: int) -> None:
    """What is answered in time stays near the most there can be, and the service is itself again within a second."""
    outcome = run(times, seed=seed)
    assert outcome.goodput(WARM, UNTIL) >= share * CAPACITY
    assert outcome.answered(UNTIL + 1, END) >= 0.95


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_who_is_admitted_in_time(seed: int) -> None:
    """In an overload answers take at most twice as long as at 0.8 times the capacity."""
    usual = run(0.8, seed=seed).p99(WARM, UNTIL)
    assert max(run(times, seed=seed).p99(WARM, UNTIL) for times in (2, 5, 10)) <= 2.0 * usual


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_next_to_nothing_is_refused_below_capacity(seed: int) -> None:
    """At 0.9 times the capacity, which has its bursts, one request of a hundred is refused at most."""
    outcome = run(0.9, seed=seed)
    assert outcome.refusals(WARM, UNTIL) <= 0.01
    assert outcome.answered(WARM, UNTIL) >= 0.95


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
@pytest.mark.parametrize(("times", "share"), [(2, 0.97), (5, 0.95), (10, 0.9)])
def test_from_a_busy_service_to_an_overload(times: float, share: float, seed: int) -> None:
    """A limit that has grown by the bursts of a busy service is soon what an overload needs."""
    busy, overload, end = 8, 9, 12
    service = Loop(found, end, seed)
    outcome = service.run(lambda now: CAPACITY * (0.9 if now < busy else times))
    assert outcome.goodput(overload, end) >= share * CAPACITY
    assert outcome.p99(overload, end) <= 2.0 * run(0.8, seed=seed).p99(WARM, UNTIL)


def test_without_a_limiter() -> None:
    """The same service without one answers nobody at twice its capacity: the simulation has what it is about."""
    assert run(2, limiter_at=none).goodput(WARM, UNTIL) <= 0.01 * CAPACITY
