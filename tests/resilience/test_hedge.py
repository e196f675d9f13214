"""When a hedge is sent, and how many of them there can be."""

import math
import statistics
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hasten._core.errors import ConfigurationError
from hasten.resilience import Hedge, RetryBudget

LATENCIES = st.lists(st.floats(min_value=1e-5, max_value=100.0), min_size=16, max_size=300)


def new_budget(ratio: float = 0.1) -> RetryBudget:
    """Return a budget that time adds nothing to."""
    return RetryBudget(ratio, minimum_per_second=0.0)


def fed(latencies: list[float], hedge: Hedge | None = None) -> Hedge:
    hedge = Hedge(new_budget(), shortest=0.0) if hedge is None else hedge
    for latency in latencies:
        hedge.record(latency)
    return hedge


def delay_of(hedge: Hedge) -> float:
    delay = hedge.delay()
    assert delay is not None
    return delay


def test_no_hedge_without_samples() -> None:
    """Until 16 calls have succeeded nothing is known, and nothing is hedged."""
    hedge = fed([0.01] * 15)
    assert hedge.delay() is None
    hedge.record(0.01)
    assert hedge.delay() == pytest.approx(0.02)


@given(LATENCIES)
@example([0.01] * 16 + [0.0101] * 5)
@example([0.0101] * 16 + [0.01] * 5)
def test_delay_stays_within_what_was_seen(latencies: list[float]) -> None:
    """The delay is between twice the shortest and twice the longest latency there was."""
    hedge = Hedge(new_budget(), shortest=0.0)
    for count, latency in enumerate(latencies, 1):
        hedge.record(latency)
        if count >= 16:
            seen = latencies[:count]
            assert 2 * min(seen) <= delay_of(hedge) <= 2 * max(seen)


@given(LATENCIES, st.sampled_from([0.0, -1.0, math.nan]))
def test_odd_latencies_do_no_harm(latencies: list[float], odd: float) -> None:
    """Latencies that cannot be leave a delay that is finite and follows the real ones again."""
    hedge = fed([odd] * 16 + latencies + [odd] * 50, Hedge(new_budget()))
    assert 0.001 <= delay_of(hedge) < math.inf
    assert delay_of(fed([0.01] * 1500, hedge)) == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("draw", "off"),
    [
        pytest.param(lambda random: 0.005, 1e-9, id="constant"),
        pytest.param(lambda random: random.uniform(0.003, 0.008), 0.35, id="uniform"),
        pytest.param(lambda random: random.lognormvariate(-5.0, 1.0), 0.60, id="lognormal"),
    ],
)
def test_follows_the_median(draw: Callable[[Random], float], off: float) -> None:
    """The delay keeps to twice the median: within `off` always, within a third of that for most samples."""
    random = Random(3)
    latencies = [draw(random) for _ in range(10_000)]
    hedge, twice = Hedge(new_budget()), 2 * statistics.median(latencies)
    errors = []
    for latency in latencies:
        hedge.record(latency)
        errors.append(abs((hedge.delay() or twice) / twice - 1.0))
    assert max(errors[1000:]) <= off
    assert statistics.median(errors[1000:]) <= off / 3


@pytest.mark.parametrize("factor", [10.0, 0.1])
def test_follows_a_change(factor: float) -> None:
    """After a service got ten times slower or faster, 400 calls later the delay is right again."""
    random = Random(4)
    hedge = fed([random.uniform(0.003, 0.008) for _ in range(1000)])
    fed([factor * random.uniform(0.003, 0.008) for _ in range(400)], hedge)
    assert delay_of(hedge) == pytest.approx(factor * 0.011, rel=0.3)


def test_multiple_and_shortest() -> None:
    """The multiple is the caller's to choose, and no hedge is sent sooner than asked."""
    assert fed([0.01] * 16, Hedge(new_budget(), multiple=3.0)).delay() == pytest.approx(0.03)
    assert fed([1e-4] * 16, Hedge(new_budget())).delay() == 0.001


def hedged(draw: Callable[[], float], budget: RetryBudget, calls: int = 8000) -> tuple[list[float], int]:
    """Return the sorted latencies of so many calls with hedges, and how many hedges were sent."""
    hedge, latencies, sent = Hedge(budget), [], 0
    for _ in range(calls):
        budget.deposit()
        first, delay = draw(), hedge.delay()
        answered = taken = first
        if delay is not None and first > delay and hedge.try_hedge():
            sent += 1
            second = draw()
            if delay + second < first:
                answered, taken = delay + second, second
        hedge.record(taken)
        latencies.append(answered)
    return sorted(latencies), sent


def test_stalls() -> None:
    """With 1 % of calls stalled for 200 ms, p99 is under a tenth of that for 2 % more calls at most."""
    for seed in range(5):
        random = Random(seed)
        draw = stalling(random)
        latencies, sent = hedged(draw, new_budget())
        assert latencies[int(0.99 * len(latencies))] <= 0.02
        assert sent <= 0.02 * len(latencies)


def stalling(random: Random) -> Callable[[], float]:
    return lambda: 0.2 if random.random() < 0.01 else random.uniform(0.003, 0.008)


@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.02, 0.1]))
def test_extra_load_is_bounded(seed: int, ratio: float) -> None:
    """Latencies of any shape cause no more hedges than the budget holds."""
    random = Random(seed)
    sigma = random.uniform(0.0, 4.0)
    _, sent = hedged(lambda: random.lognormvariate(-5.0, sigma), new_budget(ratio), calls=300)
    assert sent <= ratio * 300 + 10


def test_one_budget_for_retries_and_hedges() -> None:
    """Hedges and retries of a channel share one budget: what one takes the other has not."""
    budget = RetryBudget(0.0, minimum_per_second=0.0, reserve=2.0)
    one, other = Hedge(budget), Hedge(budget)
    assert (one.try_hedge(), budget.try_withdraw(), other.try_hedge()) == (True, True, False)


@pytest.mark.parametrize(("multiple", "shortest"), [(1.0, 0.0), (math.inf, 0.0), (math.nan, 0.0), (2.0, -1.0)])
def test_wrong_hedges(multiple: float, shortest: float) -> None:
    """A trigger at or below the median, or at no time at all, is refused."""
    with pytest.raises(ConfigurationError, match="Hedge"):
        Hedge(new_budget(), multiple=multiple, shortest=shortest)
