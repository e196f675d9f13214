"""The budget holds over any history, and costs a healthy client nothing."""

import math
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten._core.errors import ConfigurationError
from hasten.resilience import BudgetStatistics, RetryBudget

RESERVE = 10.0
# A call starts, a retry is asked for, or so many milliseconds pass.
HISTORIES = st.lists(st.just("call") | st.just("retry") | st.integers(0, 5000), max_size=400)
SHARES = st.integers(0, 2000).map(lambda thousandths: thousandths / 1000)


@dataclass
class Clock:
    """Time as the test has it."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def share_budget(ratio: float = 0.1) -> RetryBudget:
    """Return a budget that time adds nothing to."""
    return RetryBudget(ratio, minimum_per_second=0.0, reserve=RESERVE)


@given(HISTORIES, SHARES, SHARES, st.integers(1, 50))
def test_never_exceeds_its_bound(
    history: list[str | int], ratio: float, minimum_per_second: float, reserve: int
) -> None:
    """At every moment: granted <= ratio * calls + minimum_per_second * seconds + reserve; the balance is in bounds."""
    clock = Clock()
    budget = RetryBudget(ratio, minimum_per_second=minimum_per_second, reserve=reserve, clock=clock)
    for event in history:
        if event == "call":
            budget.deposit()
        elif event == "retry":
            budget.try_withdraw()
        else:
            clock.now += int(event) / 1000
        found = budget.statistics()
        assert found.granted <= ratio * found.calls + minimum_per_second * (clock.now - 1000.0) + reserve + 1e-6
        assert 0.0 <= found.balance <= reserve


@given(HISTORIES, st.integers(0, 100), st.integers(1, 100))
def test_any_stretch_is_bounded(history: list[str | int], start: int, length: int) -> None:
    """The bound holds for any stretch of a history too: quiet times are saved up to the reserve, no further."""
    clock = Clock()
    budget = RetryBudget(0.1, minimum_per_second=2.0, reserve=5.0, clock=clock)
    calls = granted = 0
    for position, event in enumerate(history):
        if position == start:
            began, calls, granted = clock.now, 0, 0
        if event == "call":
            budget.deposit()
            calls += 1
        elif event == "retry":
            granted += budget.try_withdraw()
        else:
            clock.now += int(event) / 1000
        if start <= position < start + length:
            assert granted <= 0.1 * calls + 2.0 * (clock.now - began) + 5.0 + 1e-6


def sent_per_call(failing: float, budgets: list[RetryBudget], calls: int = 20_000) -> float:
    """Return what reaches a backend per call of the first of several layers, each with up to 3 retries of its own.

    Args:
      failing: Share of what is sent to the backend that it fails, by chance.
    """
    random, sent = Random(7), 0

    def call(layer: int) -> bool:
        nonlocal sent
        if layer == len(budgets):
            sent += 1
            return random.random() >= failing
        budgets[layer].deposit()
        for _ in range(3):
            if call(layer + 1):
                return True
            if not budgets[layer].try_withdraw():
                return False
        return call(layer + 1)

    for _ in range(calls):
        call(0)
    return sent / calls


@pytest.mark.parametrize("failing", [0.1, 0.5, 1.0])
def test_failing_backend(failing: float) -> None:
    """A backend that fails gets 1.10 times the calls at most, beside the reserve, where 3 retries alone make it 4."""
    assert sent_per_call(failing, [share_budget()]) <= 1.10 + RESERVE / 20_000


def test_failing_backend_without_share() -> None:
    """The same simulation with a budget that binds nobody: 1.87 times the calls at 50 %, 4 times when all fail."""
    assert sent_per_call(0.5, [share_budget(10.0)]) == pytest.approx(1.87, abs=0.02)
    assert sent_per_call(1.0, [share_budget(10.0)]) == pytest.approx(4.0, abs=0.01)


def test_three_layers() -> None:
    """Three layers that all retry send 1.33 times the calls at most when everything fails, beside the reserves."""
    sent = sent_per_call(1.0, [share_budget() for _ in range(3)])
    assert sent <= 1.1**3 + 3 * 1.21 * RESERVE / 20_000


def test_healthy_backend_can_retry_all() -> None:
    """Failures of fewer than a tenth of the calls are all sent again."""
    budget = share_budget()
    for call in range(10_000):
        budget.deposit()
        if call % 11 == 0:
            assert budget.try_withdraw()


def test_ten_deposits_are_one_retry() -> None:
    """An empty budget grants the next retry after exactly ten calls, every time."""
    budget = share_budget()
    while budget.try_withdraw():
        pass
    for _ in range(1000):
        for _ in range(9):
            budget.deposit()
        assert not budget.try_withdraw()
        budget.deposit()
        assert budget.try_withdraw()


def test_counted_at_the_start() -> None:
    """Calls that have not ended yet count: a backend that hangs does not starve the retries."""
    budget = share_budget()
    while budget.try_withdraw():
        pass
    for _ in range(100):
        budget.deposit()
    assert [budget.try_withdraw() for _ in range(11)] == [True] * 10 + [False]


def test_time_adds_the_minimum() -> None:
    """A client that seldom calls may retry so often per second, whatever share of its calls that is."""
    clock = Clock()
    budget = RetryBudget(minimum_per_second=0.5, reserve=1.0, clock=clock)
    assert budget.try_withdraw()
    clock.now += 1.9
    assert not budget.try_withdraw()
    clock.now += 0.2
    assert budget.try_withdraw()
    clock.now += 1e9
    assert [budget.try_withdraw() for _ in range(2)] == [True, False]


def test_statistics() -> None:
    """What was counted can be read; a reading is not changed by what comes later."""
    budget = RetryBudget(0.5, minimum_per_second=0.0, reserve=1.0)
    budget.deposit()
    assert (budget.try_withdraw(), budget.try_withdraw()) == (True, False)
    found = budget.statistics()
    budget.deposit()
    assert found == BudgetStatistics(calls=1, granted=1, refused=1, balance=0.0)
    assert budget.statistics() == BudgetStatistics(calls=2, granted=1, refused=1, balance=0.5)


@pytest.mark.parametrize(
    "wrong",
    [{"ratio": -0.1}, {"ratio": math.nan}, {"minimum_per_second": -1.0}, {"reserve": 0.5}, {"reserve": math.inf}],
)
def test_wrong_budgets(wrong: dict[str, Any]) -> None:
    """A budget that bounds nothing, or nothing ever leaves, is refused by the name of its wrong value."""
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        RetryBudget(**wrong)
