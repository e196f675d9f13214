"""How a type checker sees deadlines, budgets and hedges; checked by mypy, never run."""

from random import Random
from typing import TYPE_CHECKING, assert_type

from hasten.resilience import (
    BudgetStatistics,
    Deadline,
    DeadlineExceeded,
    Hedge,
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
