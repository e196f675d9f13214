"""How a type checker sees deadlines, budgets and hedges; checked by mypy, never run."""

from random import Random
from typing import TYPE_CHECKING, assert_type

from hasten.resilience import (
    AdaptiveBreaker,
    Breaker,
    BudgetStatistics,
    Bulkhead,
    Deadline,
    DeadlineExceeded,
    Hedge,
    Limiter,
    Priority,
    RateLimit,
    Refused,
    Retry,
    RetryBudget,
    RetryPolicy,
    Throttle,
    deadline,
    deadline_at,
    expired,
    remaining,
    require,
)

if TYPE_CHECKING:
    from hasten import HastenError
    from hasten._core.ambient import Ambient


async def work() -> int:
    try:
        async with deadline(0.2) as block:
            assert_type(block, Deadline)
            ambient: Ambient = block
            assert_type(ambient.traceparent, str)
            require(0.05)
            return 1
    except DeadlineExceeded as error:
        assert_type(error.left, float)
        as_ours: HastenError = error
        as_pythons: TimeoutError = error
        print(as_ours, as_pythons)
    async with deadline_at(100.0):
        assert_type(remaining(), float)
        assert_type(expired(), bool)
    with deadline(1.0):  # type: ignore[attr-defined]
        return 2


policy = RetryPolicy(attempts=4, first_backoff=0.1)
assert_type(policy.delay(1, Random(1).random), float)
RetryPolicy(4)  # type: ignore[call-arg]
policy.attempts = 5  # type: ignore[misc]

budget = RetryBudget(0.1, minimum_per_second=0.0)
budget.deposit()
assert_type(budget.try_withdraw(), bool)
assert_type(budget.statistics(), BudgetStatistics)
assert_type(budget.statistics().balance, float)
RetryBudget(0.1, 1.0)  # type: ignore[call-arg]

hedge = Hedge(budget, multiple=3.0)
assert_type(hedge.delay(), float | None)
assert_type(hedge.try_hedge(), bool)
hedge.record(0.01)

throttle = Throttle(10, 0.1)
assert_type(throttle.allowed(), bool)
throttle.on_success()
throttle.on_failure()


# ---- guards: a guarded function keeps its types


async def quote(item: int, *, currency: str = "EUR") -> float:
    return 1.0


async def guarded_work() -> None:
    assert_type(await Breaker(failures=5).guard()(quote)(7), float)
    assert_type(await AdaptiveBreaker().guard()(quote)(7), float)
    assert_type(await Bulkhead(3, waiting=2)(quote)(7, currency="USD"), float)
    retry = Retry(on=(OSError, Refused), budget=budget)
    assert_type(await retry(quote)(7), float)
    await retry(quote)("7")  # type: ignore[arg-type]
    async for attempt in retry.attempts():
        with attempt:
            assert_type(attempt.number, int)
    try:
        with RateLimit(2.0).guard():
            assert_type(Limiter().admits(Priority.HIGH), bool)
    except Refused as refused:
        assert_type(refused.retry_after, float)
    Retry()  # type: ignore[call-arg]
