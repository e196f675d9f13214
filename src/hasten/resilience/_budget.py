"""How many retries and hedges a client may add to its load: a share of its calls, whatever fails.

Attempts per call bound what one call may cost; they multiply when everything fails: 3 retries are 4 times the load on
a backend that is down, and three layers of services that do so are 64 times. A budget over all calls is 1.1 and 1.33.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from hasten._core.errors import ConfigurationError

_TOKEN = 1_000_000
"""Tokens are counted in millionths, as whole numbers: ten deposits of 0.1 are one, and no history adds up errors."""


@dataclass(frozen=True, slots=True)
class BudgetStatistics:
    """What a budget has counted since it was made.

    Attributes:
      calls: Deposits.
      granted, refused: Withdrawals.
      balance: How many the next withdrawals may be, without what time adds.
    """

    calls: int
    granted: int
    refused: int
    balance: float


class RetryBudget:
    """A token bucket: each call that starts puts in `ratio`, each retry or hedge takes out 1. One event loop's.

    Over any history: granted <= ratio * calls + minimum_per_second * seconds + reserve.

    It counts at the start of a call, so that the budget does not lag behind when calls take long or never end: with a
    backend that fails half of its calls, 3 retries without a budget send 1.87 times the calls, with it 1.10 times.
    A call that succeeds costs one deposit, 0.06 µs (measured on a shared 2-core machine).

    Args:
      ratio: Retries and hedges per call in the long run.
      minimum_per_second: Added by time, for clients that call so seldom that a share of their calls is nothing. It is
        over and above `ratio`: keep it far below the client's rate of calls.
      reserve: Most tokens that are saved up in quiet times; a new budget is full.
      clock: Seconds, never going back.
    Source: Finagle's RetryBudget, with a bounded bucket in place of deposits that expire after 10 s; Google SRE book,
      chapter Addressing Cascading Failures, Retries.
    """

    __slots__ = ("_at", "_calls", "_capacity", "_clock", "_deposit", "_granted", "_per_second", "_refused", "_tokens")

    def __init__(
        self,
        ratio: float = 0.1,
        *,
        minimum_per_second: float = 1.0,
        reserve: float = 10.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Make a full budget.

        Raises:
          ConfigurationError: `ratio` is not from 0 to 10, `minimum_per_second` negative, or `reserve` below 1.
        """
        _check("ratio", ratio, 0.0, 10.0)
        _check("minimum_per_second", minimum_per_second, 0.0, 1e6)
        _check("reserve", reserve, 1.0, 1e6)
        self._deposit = round(ratio * _TOKEN)
        self._per_second = minimum_per_second * _TOKEN
        self._capacity = self._tokens = round(reserve * _TOKEN)
        self._clock = clock
        self._at = clock()
        self._calls = 0
        self._granted = 0
        self._refused = 0

    def deposit(self) -> None:
        """Note that a call starts: once for each call, not for its retries and hedges; 0.06 µs."""
        self._calls += 1
        tokens = self._tokens + self._deposit
        self._tokens = tokens if tokens < self._capacity else self._capacity

    def try_withdraw(self) -> bool:
        """Take one retry or hedge out; False, and nothing is taken, when there is none: then do not send it; 0.2 µs."""
        now = self._clock()
        # Here alone time adds its part: between two withdrawals it does not matter when it came in.
        tokens = min(self._tokens + int((now - self._at) * self._per_second), self._capacity)
        self._at = now
        if tokens < _TOKEN:
            self._tokens = tokens
            self._refused += 1
            return False
        self._tokens = tokens - _TOKEN
        self._granted += 1
        return True

    def statistics(self) -> BudgetStatistics:
        """Return the counts now."""
        return BudgetStatistics(self._calls, self._granted, self._refused, self._tokens / _TOKEN)


def _check(name: str, value: float, low: float, high: float) -> None:
    if not (math.isfinite(value) and low <= value <= high):
        raise ConfigurationError(f"RetryBudget({name}={value})", f"must be from {low:g} to {high:g}")
