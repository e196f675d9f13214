"""A rate limit admits what it says, over any history."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten._core.errors import ConfigurationError
from hasten.resilience import RateLimit, Refused
from tests.resilience.clocks import Clock


def test_a_burst_and_then_the_rate() -> None:
    """A full bucket is a burst; then one comes for each interval."""
    clock = Clock()
    limit = RateLimit(10, burst=3, clock=clock)
    assert [limit.admits() for _ in range(5)] == [True, True, True, False, False]
    assert limit.wait() == pytest.approx(0.1)
    clock.now += 0.101
    assert [limit.admits(), limit.admits()] == [True, False]
    clock.now += 100.0
    assert [limit.admits() for _ in range(4)] == [True, True, True, False]


def test_several_at_once() -> None:
    """Pieces that come together are admitted together, or none of them; more than the burst never are."""
    clock = Clock()
    limit = RateLimit(10, burst=3, clock=clock)
    assert limit.admits(2)
    assert not limit.admits(2)
    assert limit.admits(1)
    assert limit.wait(3) == pytest.approx(0.3)
    assert limit.wait(4) == float("inf")
    clock.now += 1000.0
    assert not limit.admits(4)


@given(
    st.lists(st.tuples(st.floats(0.0, 3.0), st.integers(1, 5)), max_size=200), st.integers(1, 20), st.integers(1, 10)
)
def test_any_history(history: list[tuple[float, int]], rate: int, burst: int) -> None:
    """From any admission to any later one at most rate * t + burst are admitted; what fits is."""
    clock = Clock(0.0)
    limit = RateLimit(rate, burst=burst, clock=clock)
    admitted: list[tuple[float, int]] = []
    for pause, pieces in history:
        clock.now += pause
        available = limit.statistics().available
        fits = limit.admits(pieces)
        assert fits or pieces > available - 1e-6
        if fits:
            assert pieces <= available + 1e-6
            admitted.append((clock.now, pieces))
    for first, (since, _) in enumerate(admitted):
        total = 0
        for until, pieces in admitted[first:]:
            total += pieces
            assert total <= rate * (until - since) + burst + 1e-6


def test_as_a_guard() -> None:
    """Each call is one; what is too much says when it will not be."""
    clock = Clock()
    limit = RateLimit(2, burst=1, clock=clock)

    @limit.guard()
    def work(number: int) -> int:
        return number

    assert work(7) == 7
    with pytest.raises(Refused, match=r"rate limit: more than 2 a second; again in 0\.5 s") as refused:
        work(8)
    assert refused.value.retry_after == pytest.approx(0.5)
    counts = limit.statistics()
    assert (counts.admitted, counts.refused) == (1, 1)


@pytest.mark.parametrize(("rate", "burst"), [(0.0, 1), (-1.0, 1), (float("nan"), 1), (1.0, 0)])
def test_what_is_no_rate(rate: float, burst: int) -> None:
    """It is refused with what it must be."""
    with pytest.raises(ConfigurationError, match="must be"):
        RateLimit(rate, burst=burst)
