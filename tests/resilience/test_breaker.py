"""What a breaker costs a service whose dependency is ill, and how it finds out that it is well again."""

import asyncio
import contextlib
import math
from typing import Any

import pytest

from hasten._core.errors import ConfigurationError
from hasten.resilience import Breaker, DeadlineExceeded, Refused
from tests.conftest import LoopFactory
from tests.resilience.clocks import Clock


def longest_delay() -> float:
    return 0.0


def shortest_delay() -> float:
    return 1.0 - 2**-53


def breaker_at(clock: Clock, **settings: Any) -> Breaker:
    return Breaker(clock=clock, **{"chance": longest_delay, **settings})


def test_one_timeout_opens() -> None:
    """A frozen dependency costs one timeout: nobody asks after the first, until the probe."""
    clock = Clock()
    breaker = breaker_at(clock)
    breaker.timed_out()
    assert not breaker.closed
    assert [breaker.allows() for _ in range(100)] == [False] * 100
    clock.now += 0.499
    assert not breaker.allows()
    clock.now += 0.001
    assert breaker.allows()


def test_one_refused_connection_opens() -> None:
    """A dead dependency is not asked again after it has refused one connection."""
    breaker = breaker_at(Clock())
    breaker.failed()
    assert not breaker.allows()


def test_failures_in_a_row() -> None:
    """With `failures` set, as many in a row open it, and a success between them starts the count anew."""
    breaker = breaker_at(Clock(), failures=3)
    for _ in range(5):
        breaker.failed()
        breaker.failed()
        assert breaker.closed
        breaker.succeeded(0.001)
    for _ in range(3):
        breaker.failed()
    assert not breaker.closed


def test_one_probe_at_a_time() -> None:
    """While a probe is out, however many ask are refused."""
    clock = Clock()
    breaker = breaker_at(clock)
    breaker.timed_out()
    clock.now += 0.5
    assert [breaker.allows() for _ in range(50)].count(True) == 1
    assert breaker.statistics().state == "half-open"


def test_an_answered_probe_closes() -> None:
    """After a probe that was answered in time everybody asks again."""
    clock = Clock()
    breaker = breaker_at(clock)
    breaker.timed_out()
    clock.now += 0.5
    assert breaker.allows()
    clock.now += 0.01
    breaker.succeeded(0.01)
    assert breaker.closed
    assert breaker.allows()


def _waits(breaker: Breaker, clock: Clock, count: int) -> list[float]:
    """Return the seconds until each of `count` probes, all of which time out."""
    waits: list[float] = []
    for _ in range(count):
        began = clock.now
        while not breaker.allows():
            clock.now += 1 / 1024
        waits.append(clock.now - began)
        breaker.timed_out()
    return waits


def test_probes_of_a_long_outage() -> None:
    """Probes that fail come at growing intervals, 2 s at most: a server that is back is found within that."""
    clock = Clock()
    breaker = breaker_at(clock)
    breaker.timed_out()
    assert _waits(breaker, clock, 6) == pytest.approx([0.5, 1.0, 2.0, 2.0, 2.0, 2.0], abs=0.002)


def test_jitter() -> None:
    """Chance takes up to half of a delay off, so that processes do not come back together."""
    clock = Clock()
    breaker = breaker_at(clock, chance=shortest_delay)
    breaker.timed_out()
    assert _waits(breaker, clock, 4) == pytest.approx([0.25, 0.5, 1.0, 1.0], abs=0.002)


def test_relapses_wait_longer() -> None:
    """A dependency that falls ill again soon after each probe is probed more and more seldom, then as at first."""
    clock = Clock()
    breaker = breaker_at(clock)
    waits: list[float] = []
    for _ in range(4):
        breaker.timed_out()
        began = clock.now
        while not breaker.allows():
            clock.now += 1 / 1024
        waits.append(clock.now - began)
        breaker.succeeded(0.0)
    assert waits == pytest.approx([0.5, 1.0, 2.0, 2.0], abs=0.002)
    clock.now += 2.1
    breaker.timed_out()
    clock.now += 0.5
    assert breaker.allows()


def test_a_lost_probe_is_followed_by_another() -> None:
    """A probe that was cancelled, of which nobody hears again, does not keep the breaker open."""
    clock = Clock()
    breaker = breaker_at(clock)
    breaker.timed_out()
    clock.now += 0.5
    assert breaker.allows()
    clock.now += 1.999
    assert not breaker.allows()
    clock.now += 0.001
    assert breaker.allows()


def test_stragglers_change_nothing() -> None:
    """Calls that were under way when it opened neither close it nor put the probe off."""
    clock = Clock()
    breaker = breaker_at(clock)
    breaker.timed_out()
    clock.now += 0.01
    for _ in range(64):
        breaker.timed_out()
        breaker.failed()
        breaker.succeeded(0.04)
    assert not breaker.closed
    clock.now += 0.49
    assert breaker.allows()
    breaker.succeeded(0.6)  # began before it opened
    assert not breaker.closed
    breaker.succeeded(0.0)
    assert breaker.closed


def _answer(breaker: Breaker, clock: Clock, seconds: float, count: int) -> int:
    """Answer calls one after the other; return after how many it opened, 0 if it did not."""
    for number in range(1, count + 1):
        clock.now += seconds
        breaker.succeeded(seconds)
        if not breaker.closed:
            return number
    return 0


def test_slow_answers_open() -> None:
    """A dependency that answers, but slowly for most of a window, is left alone from then on."""
    clock = Clock()
    breaker = breaker_at(clock, slow=0.025)
    assert 0 < _answer(breaker, clock, 0.03, 100) * 0.03 <= 0.6


def test_slow_probe() -> None:
    """A probe whose answer is slow leaves the breaker open."""
    clock = Clock()
    breaker = breaker_at(clock, slow=0.025)
    breaker.timed_out()
    clock.now += 0.5
    assert breaker.allows()
    clock.now += 0.03
    breaker.succeeded(0.03)
    assert breaker.statistics().state == "open"


def test_fewer_slow_answers_than_most_do_not_open() -> None:
    """Two slow answers of five, for ever, leave it closed."""
    clock = Clock()
    breaker = breaker_at(clock, slow=0.025)
    for _ in range(1000):
        assert not _answer(breaker, clock, 0.001, 3)
        assert not _answer(breaker, clock, 0.03, 2)


def test_one_pause_of_a_busy_process_does_not_open() -> None:
    """Many answers that are slow at one moment, among quick ones, are a pause of the process that asked."""
    clock = Clock()
    breaker = breaker_at(clock, slow=0.025)
    for _ in range(20):
        assert not _answer(breaker, clock, 0.001, 200)
        for _ in range(64):
            breaker.succeeded(0.05)
        assert breaker.closed


def test_slow_after_a_long_healthy_time() -> None:
    """Quick answers of the past do not hide that the dependency is slow now."""
    clock = Clock()
    breaker = breaker_at(clock, slow=0.025)
    assert not _answer(breaker, clock, 0.0001, 100_000)
    assert 0 < _answer(breaker, clock, 0.03, 100) * 0.03 <= 0.65


def test_statistics() -> None:
    """The counts say what happened."""
    clock = Clock()
    breaker = breaker_at(clock, slow=0.1)
    breaker.succeeded(0.01)
    breaker.succeeded(0.2)
    breaker.failed()
    breaker.allows()
    clock.now += 0.5
    breaker.allows()
    breaker.timed_out()
    seen = breaker.statistics()
    assert (seen.state, seen.answers, seen.slow, seen.failures, seen.timeouts) == ("open", 2, 1, 1, 1)
    assert (seen.opened, seen.probes, seen.refused) == (1, 1, 1)


@pytest.mark.parametrize(
    "settings",
    [
        {"failures": 0},
        {"slow": 0.0},
        {"window": -1.0},
        {"first": 0.0},
        {"first": math.nan},
        {"longest": 0.4},
        {"longest": math.inf},
    ],
)
def test_wrong_breakers(settings: dict[str, Any]) -> None:
    """Settings that could never open or never close are refused."""
    with pytest.raises(ConfigurationError, match="Breaker"):
        Breaker(**settings)


def test_what_a_frozen_dependency_costs(loop_factory: LoopFactory) -> None:
    """Of a thousand calls that come one after the other, one waits for its timeout."""
    waited = 0

    async def call(breaker: Breaker) -> None:
        nonlocal waited
        if not (breaker.closed or breaker.allows()):
            return
        waited += 1
        try:
            async with asyncio.timeout(0):
                await asyncio.get_running_loop().create_future()
        except TimeoutError:
            breaker.timed_out()

    async def calls() -> None:
        breaker = breaker_at(Clock())
        for _ in range(1000):
            await call(breaker)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(calls())
    assert waited == 1


# ---- guarded


def guarded(breaker: Breaker, clock: Clock, error: BaseException | None = None, seconds: float = 0.01) -> None:
    """Make a guarded call that takes so long, and ends by `error`."""
    with contextlib.suppress(type(error) if error else ValueError), breaker.guard():
        clock.now += seconds
        if error is not None:
            raise error


def test_guarded_failures_open_it() -> None:
    """As many as are allowed in a row; what is refused then says when the next probe is."""
    clock = Clock()
    breaker = breaker_at(clock, failures=3)
    for _ in range(2):
        guarded(breaker, clock, OSError())
    guarded(breaker, clock)
    for _ in range(3):
        assert breaker.closed
        guarded(breaker, clock, OSError())
    assert not breaker.closed
    with pytest.raises(Refused, match="breaker: the dependency does not answer") as refused:
        breaker.guard().__enter__()
    assert refused.value.retry_after == pytest.approx(0.5)
    clock.now += 0.5
    guarded(breaker, clock)
    assert breaker.closed


def test_timeouts_in_a_row() -> None:
    """One that comes now and then is a slow call; several in a row are a dependency that has gone."""
    clock = Clock()
    breaker = breaker_at(clock, failures=10, timeouts=2)
    for _ in range(20):
        guarded(breaker, clock, TimeoutError())
        guarded(breaker, clock)
    assert breaker.closed
    guarded(breaker, clock, TimeoutError())
    guarded(breaker, clock, DeadlineExceeded())
    assert not breaker.closed


def test_errors_that_are_answers() -> None:
    """Those that are not the dependency's, cancellations and refusals open nothing."""
    clock = Clock()
    breaker = breaker_at(clock, failing=(OSError,))
    for error in (ValueError(), asyncio.CancelledError(), Refused("limiter", "full")):
        for _ in range(20):
            guarded(breaker, clock, error)
    assert breaker.closed
    guarded(breaker, clock, OSError())
    assert not breaker.closed


def test_a_black_hole_costs_ten_calls() -> None:
    """Of calls that come while none is answered ten wait for their timeouts; the others are refused at once."""
    clock = Clock()
    breaker = breaker_at(clock, failures=5, timeouts=5)
    for _ in range(50):
        guarded(breaker, clock, seconds=0.01)
    waiting = 0
    for _ in range(1000):  # a hundred a second
        clock.now += 0.01
        try:
            breaker.guard().__enter__()
        except Refused:
            break
        waiting += 1
    assert waiting <= 10
    assert not breaker.closed


def test_calls_that_come_together_are_no_silence() -> None:
    """A hundred at once, after a quiet time, are let through; so is whatever comes while some are answered."""
    clock = Clock()
    breaker = breaker_at(clock)
    for _ in range(50):
        guarded(breaker, clock, seconds=0.01)
    clock.now += 3600.0
    guards = [breaker.guard() for _ in range(100)]
    for guard in guards:
        guard.__enter__()
    for guard in guards:
        clock.now += 0.04
        guard.__exit__(None, None, None)
        with breaker.guard():
            pass
    assert breaker.closed


def test_a_slow_dependency_is_no_black_hole() -> None:
    """One whose answers take a second is asked by a hundred at a time from the first moment on."""
    clock = Clock()
    breaker = breaker_at(clock)
    under_way: list[Any] = []
    for number in range(500):  # a hundred a second
        clock.now += 0.01
        guard = breaker.guard()
        guard.__enter__()
        under_way.append(guard)
        if number >= 95:
            under_way.pop(0).__exit__(None, None, None)
    assert breaker.closed
