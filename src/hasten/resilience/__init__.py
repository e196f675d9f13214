"""Deadlines, retry budgets, hedging, breakers: small, without I/O, each with its own clock and source of chance given.

`deadline` says how long work is worth doing, `RetryPolicy` when a failed call may be sent again, `Hedge` when a slow
one may be sent twice, and `RetryBudget` (with `Throttle`, where a gRPC service config asks for it) whether there is
room for either. `Breaker` says when to leave a dependency that is ill alone.
"""

from hasten.resilience._breaker import Breaker, BreakerStatistics
from hasten.resilience._budget import BudgetStatistics, RetryBudget
from hasten.resilience._deadline import (
    Deadline,
    DeadlineExceeded,
    deadline,
    deadline_at,
    expired,
    remaining,
    require,
)
from hasten.resilience._hedge import Hedge
from hasten.resilience._retry import RetryPolicy
from hasten.resilience._throttle import Throttle

__all__ = (
    "Breaker",
    "BreakerStatistics",
    "BudgetStatistics",
    "Deadline",
    "DeadlineExceeded",
    "Hedge",
    "RetryBudget",
    "RetryPolicy",
    "Throttle",
    "deadline",
    "deadline_at",
    "expired",
    "remaining",
    "require",
)
