"""An adaptive breaker sends a dependency what it can answer, and a little more."""

import asyncio
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten._core.errors import ConfigurationError
from hasten.resilience import AdaptiveBreaker, Refused
from tests.resilience.clocks import Clock

WIDTH = 3.0 / 30  # seconds of a bucket


class Dependency:
    """One that answers some of what it is sent, 100 calls a second.

    Attributes:
      sent, refused: Calls of the last `ask`.
    """

    def __init__(self) -> None:
        self.clock, self.source = Clock(), random.Random(1)
        self.breaker = AdaptiveBreaker(clock=self.clock, chance=self.source.random)
        self.sent = self.refused = 0

    def ask(self, seconds: float, *, answers: float = 1.0, most: int = 1000) -> None:
        """Ask it for so long; of the calls it answers a share, and at most so many each second."""
        self.sent = self.refused = 0
        answered: Counter[int] = Counter()
        for _ in range(round(seconds * 100)):
            self.clock.now += 0.01
            second = int(self.clock.now)
            try:
                with self.breaker.guard():
                    self.sent += 1
                    if self.source.random() >= answers or answered[second] >= most:
                        raise OSError
                    answered[second] += 1
            except Refused:
                self.refused += 1
            except OSError:
                pass


def test_one_that_answers_nearly_all_is_asked_for_all() -> None:
    """A few failures refuse nothing."""
    dependency = Dependency()
    dependency.ask(60, answers=0.95)
    assert dependency.refused == 0


@pytest.mark.parametrize("most", [10, 20, 40])
def test_one_that_is_overloaded_is_sent_twice_what_it_answers(most: int) -> None:
    """Of a hundred calls a second; the rest is refused here."""
    dependency = Dependency()
    dependency.ask(30)
    dependency.ask(30, most=most)
    dependency.ask(60, most=most)
    assert dependency.sent + dependency.refused == 6000
    assert 1.7 * most <= dependency.sent / 60 <= 2.3 * most


def test_one_that_is_down_is_sent_next_to_nothing() -> None:
    """And is asked for all within three windows once it is up."""
    dependency = Dependency()
    dependency.ask(30, answers=1.0)
    dependency.ask(30, answers=0.0)
    dependency.ask(30, answers=0.0)
    assert dependency.sent <= 0.04 * 3000
    dependency.ask(9, answers=1.0)
    dependency.ask(10, answers=1.0)
    assert dependency.refused <= 0.02 * 1000


def test_calls_that_are_overdue_count() -> None:
    """One that answers no more is known before any call has timed out."""
    dependency = Dependency()
    dependency.ask(30, answers=1.0)
    refused = 0
    for _ in range(2000):
        dependency.clock.now += 0.01
        try:
            dependency.breaker.guard().__enter__()
        except Refused:
            refused += 1
    assert refused > 700
    assert dependency.breaker.statistics().asked > dependency.breaker.statistics().accepted


def test_what_says_nothing() -> None:
    """Cancellations and others' refusals are neither answers nor failures."""
    dependency = Dependency()
    for error in (asyncio.CancelledError(), Refused("limiter", "full")):
        with pytest.raises(type(error)), dependency.breaker.guard():
            raise error
    counts = dependency.breaker.statistics()
    assert (counts.asked, counts.accepted, counts.refused) == (0, 0, 0)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("begin"), st.none()),
            st.tuples(st.just("end"), st.sampled_from([None, OSError(), asyncio.CancelledError()])),
            st.tuples(st.just("wait"), st.floats(0.0, 30.0)),
        ),
        max_size=200,
    ),
    st.floats(0.0, 1.0, exclude_max=True),
)
def test_any_history(history: list[tuple[str, float | BaseException | None]], chance: float) -> None:
    """The window's sums are those of its calls; nothing is refused while all that was asked was accepted."""
    clock = Clock(0.0)
    breaker = AdaptiveBreaker(clock=clock, chance=lambda: chance)
    under_way: list[float] = []
    counted: list[tuple[float, bool]] = []
    for step, value in history:
        if step == "wait":
            assert isinstance(value, float)
            clock.now += value
        elif step == "begin":
            try:
                breaker.begin(clock.now)
            except Refused:
                assert any(not accepted for _, accepted in counted) or under_way
                counted.append((clock.now, False))
            else:
                under_way.append(clock.now)
        elif under_way:
            assert not isinstance(value, float)
            began = under_way.pop(0)
            breaker.end(began, clock.now, value)
            if not isinstance(value, asyncio.CancelledError):
                counted.append((clock.now, value is None))
    counts = breaker.statistics()
    oldest = int(clock.now / WIDTH) - 29
    within = [accepted for when, accepted in counted if int(when / WIDTH) >= oldest]
    overdue = sum(int(began / WIDTH) < int(clock.now / WIDTH) - 1 for began in under_way)
    assert (counts.asked, counts.accepted) == (len(within) + overdue, sum(within))


@pytest.mark.parametrize(("multiple", "window"), [(1.0, 10.0), (2.0, 0.0), (float("nan"), 1.0), (2.0, -1.0)])
def test_what_is_no_setting(multiple: float, window: float) -> None:
    """It is refused with what it must be."""
    with pytest.raises(ConfigurationError, match="must be"):
        AdaptiveBreaker(multiple=multiple, window=window)
