"""Deadlines, retry budgets, hedging, breakers: small, without I/O, each with its own clock and source of chance given.

`deadline` says how long work is worth doing. `Retry` sends a failed call again, as a `RetryPolicy` says; `Hedge` tells
when a slow one may be sent twice; a `RetryBudget` (with `Throttle`, where a gRPC service config asks for it) whether
there is room for either. `Breaker` leaves a dependency that is ill alone, `AdaptiveBreaker` asks one as much as it
answers, `Bulkhead` bounds what one may take of the service, `Limiter` what the service takes on itself, and `RateLimit`
how often something happens. What they refuse is `Refused`.
"""

from hasten.resilience._adaptive import AdaptiveBreaker, AdaptiveStatistics
from hasten.resilience._breaker import Breaker
from hasten.resilience._breaker_statistics import BreakerStatistics
from hasten.resilience._budget import BudgetStatistics, RetryBudget
from hasten.resilience._bulkhead import Bulkhead, BulkheadStatistics
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
from hasten.resilience._limiter import Limiter
from hasten.resilience._limiter_statistics import LimiterStatistics
from hasten.resilience._priority import Priority
from hasten.resilience._rate_limit import RateLimit, RateLimitStatistics
from hasten.resilience._refused import Refused
from hasten.resilience._retry import RetryPolicy
from hasten.resilience._retrying import Attempts, Retry
from hasten.resilience._throttle import Throttle

__all__ = (
    "AdaptiveBreaker",
    "AdaptiveStatistics",
    "Attempts",
    "Breaker",
    "BreakerStatistics",
    "BudgetStatistics",
    "Bulkhead",
    "BulkheadStatistics",
    "Deadline",
    "DeadlineExceeded",
    "Hedge",
    "Limiter",
    "LimiterStatistics",
    "Priority",
    "RateLimit",
    "RateLimitStatistics",
    "Refused",
    "Retry",
    "RetryBudget",
    "RetryPolicy",
    "Throttle",
    "deadline",
    "deadline_at",
    "expired",
    "remaining",
    "require",
)
