"""What a limiter does for a service, simulated: any load, any mix, any history, seconds of it in milliseconds."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten._core.errors import ConfigurationError
from hasten.resilience import Limiter, Priority, Refused
from tests.resilience.clocks import Clock
from tests.resilience.queueing import Draw, Kind, Outcome, constant, drive

CAPACITY = 2000.0  # requests a second, of each mix
EVEN = [Kind(constant(0.0005), constant(0.005))]


def exponential(mean: float) -> Draw:
    return lambda source, _: source.expovariate(1.0 / mean)


def one_of(quick: float, slow: float) -> Draw:
    """Four of five are quick."""
    return lambda source, _: quick if source.random() < 0.8 else slow


MIXES = {
    "even": EVEN,
    "exponential": [Kind(exponential(0.0005), exponential(0.005))],
    "CPU alone": [Kind(constant(0.0005), constant(0.0))],
    "hits and misses": [Kind(one_of(0.0002, 0.0017), one_of(0.0, 0.05))],
    "pages and reports": [
        Kind(constant(0.0003), constant(0.003), 0.95, "page"),
        Kind(constant(0.0043), constant(0.06), 0.05, "report"),
    ],
}


def limiter_at(clock: Clock, source: random.Random) -> Limiter:
    return Limiter(clock=clock, chance=source.random)


def fixed(clock: Clock, _: random.Random) -> Limiter:
    """Return what has the limit that suits all mixes, and does not change it."""
    return Limiter(initial=28, least=28, most=28, clock=clock)


def at(load: float, kinds: list[Kind], seconds: float = 12.0, limiter: Any = limiter_at) -> Outcome:
    """Return what a load, as a multiple of the capacity, comes to."""
    deadline = 0.1 if kinds is not MIXES["pages and reports"] else 0.2  # a report takes 64 ms without load
    return drive(limiter, lambda _: CAPACITY * load, lambda _: kinds, seconds=seconds, deadline=deadline)


@pytest.mark.parametrize("mix", MIXES)
def test_next_to_nothing_is_refused_below_capacity(mix: str) -> None:
    """At 0.9 times the capacity at most 1 % is, whatever the requests are like."""
    assert at(0.9, MIXES[mix]).share_refused(2, 12) <= 0.01


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize(("load", "share"), [(2, 0.95), (5, 0.9), (10, 0.8)])
def test_an_overload_costs_little_goodput(mix: str, load: float, share: float) -> None:
    """What is answered within the deadline is nearly what the best fixed limit achieves, refusals' CPU included."""
    peak = at(2, MIXES[mix], 8.0, fixed).goodput(2, 8)
    assert at(load, MIXES[mix], 8.0).goodput(2, 8) >= share * peak


@pytest.mark.parametrize("mix", MIXES)
def test_who_is_admitted_is_answered_quickly(mix: str) -> None:
    """The p99 in a tenfold overload is at most twice that at 0.8 times the capacity, or 10 ms more."""
    calm = at(0.8, MIXES[mix]).p99(2, 12)
    assert at(10, MIXES[mix], 8.0).p99(2, 8) <= max(2 * calm, calm + 0.01)


def test_a_spike_of_low_priority() -> None:
    """Twelve times the capacity in low priority: of the high one at least 99.4 % are answered in time."""
    high = Kind(constant(0.0005), constant(0.005), 0.4, priority=Priority.HIGH)

    def kinds(now: float) -> list[Kind]:
        low = Kind(constant(0.0005), constant(0.005), 12.0 if 5 <= now < 12 else 0.1, priority=Priority.LOW)
        return [high, low]

    rate = lambda now: CAPACITY * (0.4 + (12.0 if 5 <= now < 12 else 0.1))  # noqa: E731
    outcome = drive(limiter_at, rate, kinds, seconds=15)
    assert outcome.success(Priority.HIGH, 5, 12) >= 0.994
    assert outcome.success(Priority.HIGH, 12, 15) >= 0.994


def test_the_end_of_an_overload() -> None:
    """All is answered in time again in the second after it."""
    outcome = drive(limiter_at, lambda now: CAPACITY * (5 if now < 8 else 0.8), lambda _: EVEN, seconds=12)
    assert outcome.goodput(9, 12) >= 0.99 * 0.8 * CAPACITY


def test_it_begins_in_an_overload() -> None:
    """What answers take without load is found although there never is none: waiting times fall from probe to probe."""
    outcome = drive(
        lambda clock, source: Limiter(initial=200, clock=clock, chance=source.random),
        lambda _: CAPACITY * 5,
        lambda _: EVEN,
        seconds=20,
    )
    assert outcome.p99(0, 1) > 0.09
    assert outcome.p99(18, 20) < 0.045


def test_a_release_that_is_slower() -> None:
    """Requests take thrice as long from one moment on, with capacity to spare: some are refused for two seconds."""

    def kinds(now: float) -> list[Kind]:
        return EVEN if now < 5 else [Kind(constant(0.001), constant(0.02))]

    outcome = drive(limiter_at, lambda _: 800.0, kinds, seconds=20)
    assert outcome.share_refused(2, 5) == 0.0
    assert outcome.share_refused(8, 20) <= 0.01


def test_kinds_have_a_bound() -> None:
    """Whatever they are called: no memory grows with the names that clients make up."""
    limiter = Limiter(clock=Clock())
    for number in range(5000):
        assert limiter.admits()
        limiter.ended(0.01, f"GET /{number}")
    assert len(limiter._unloaded._kinds) <= 257


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("admit"), st.sampled_from(Priority)),
            st.tuples(st.just("end"), st.floats(0.0, 100.0)),
            st.tuples(st.just("drop"), st.none()),
            st.tuples(st.just("wait"), st.floats(0.0, 100.0)),
        ),
        max_size=300,
    )
)
def test_any_history(history: list[tuple[str, float | Priority | None]]) -> None:
    """The limit stays within its bounds, and no more are under way than were admitted and have not ended."""
    clock = Clock()
    limiter = Limiter(initial=5, least=2, most=50, clock=clock, chance=lambda: 0.5)
    under_way = 0
    for step, value in history:
        if step == "admit":
            assert isinstance(value, Priority)
            room = limiter.in_flight < 1
            admitted = limiter.admits(value)
            assert admitted or not room
            under_way += admitted
        elif step == "wait":
            assert isinstance(value, float)
            clock.now += value
        elif under_way:
            under_way -= 1
            if step == "end":
                assert isinstance(value, float)
                limiter.ended(value)
            else:
                limiter.dropped()
        assert limiter.in_flight == under_way <= 50
        assert 2 <= limiter.limit <= 50
    counts = limiter.statistics()
    assert sum(counts.admitted) + sum(counts.refused) == sum(step == "admit" for step, _ in history)


def test_as_a_guard() -> None:
    """What finds no room is refused, and who has ended makes room again, however it has ended."""
    limiter = Limiter(initial=4, least=1, most=4, clock=Clock())
    guards = [limiter.guard() for _ in range(4)]
    for guard in guards:
        guard.__enter__()
    with pytest.raises(Refused, match="limiter: 4 are under way, of 4"):
        limiter.guard().__enter__()
    guards[0].__exit__(None, None, None)
    guards[1].__exit__(ValueError, ValueError(), None)
    with limiter.guard():
        assert limiter.in_flight == 3


@pytest.mark.parametrize("bounds", [(0, 1, 2), (5, 6, 7), (9, 1, 8)])
def test_bounds_in_order(bounds: tuple[int, int, int]) -> None:
    """Others are refused with what is wrong."""
    initial, least, most = bounds
    with pytest.raises(ConfigurationError, match="not 1 <="):
        Limiter(initial=initial, least=least, most=most)
