"""Calls that are sent again when they fail: as often as a policy says, while a budget and the deadline have room."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import wraps
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from hasten.resilience._budget import RetryBudget
from hasten.resilience._deadline import DeadlineExceeded, remaining
from hasten.resilience._refused import Refused
from hasten.resilience._retry import RetryPolicy

P = ParamSpec("P")
T = TypeVar("T")
Errors = type[Exception] | tuple[type[Exception], ...]
_THREE_ATTEMPTS = RetryPolicy()


class Retry:
    """Retries what fails by some errors.

        retry = Retry(on=ConnectionError)

        @retry
        async def stock(item: int) -> int: ...

        async for attempt in retry.attempts():
            with attempt:
                ...

    Only for what may be done twice. The error of the last attempt is raised as it is, with a note that says why there
    is no further one: attempts used up, no budget, or a deadline that the pause would outlast. `DeadlineExceeded` is
    never retried. A call that succeeds costs 0.15 µs, a block 0.75.

    One retry for many functions is one budget for all of them, which is what a service wants that calls another.

    Args:
      policy: How often, and the pauses.
      on: Errors that are worth another attempt. A `Refused` among them is asked again after its `retry_after`.
      budget: Of all retries together; one of its own if not given.
      sleep: Waits for so many seconds.
      chance: From 0 to 1, 1 left out.
    """

    __slots__ = ("_chance", "_sleep", "budget", "on", "policy")

    def __init__(
        self,
        policy: RetryPolicy = _THREE_ATTEMPTS,
        *,
        on: Errors,
        budget: RetryBudget | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.policy = policy
        self.on = on
        self.budget = budget or RetryBudget()
        self._sleep = sleep
        self._chance = chance

    def __call__(self, function: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        """Return `function`, each call of which is retried."""
        on, deposit = self.on, self.budget.deposit

        @wraps(function)
        async def retried(*args: P.args, **kwargs: P.kwargs) -> T:
            deposit()
            attempt = 1
            while True:
                try:
                    return await function(*args, **kwargs)
                except on as error:
                    await self.pause(attempt, error)
                attempt += 1

        return retried

    def attempts(self) -> "Attempts":
        """Return the attempts of one piece of work, to be gone through by `async for`."""
        self.budget.deposit()
        return Attempts(self)

    async def pause(self, attempt: int, error: Exception) -> None:
        """Wait before the next attempt.

        Args:
          attempt: That has failed, 1 for the first.
        Raises:
          Exception: `error`, if there is to be none.
        """
        seconds = self.policy.delay(attempt, self._chance)
        if isinstance(error, Refused):
            seconds = max(seconds, error.retry_after)
        reason = self._refusal(attempt, error, seconds)
        if reason:
            error.add_note(f"hasten: no attempt after number {attempt}: {reason}")
            raise error
        await self._sleep(seconds)

    def _refusal(self, attempt: int, error: Exception, seconds: float) -> str:
        """Return why there is to be no further attempt; empty if there is."""
        if isinstance(error, DeadlineExceeded):
            return "the deadline has passed"
        if attempt >= self.policy.attempts:
            return "it was the last"
        if remaining() <= seconds:
            return "the deadline comes before it"
        if not self.budget.try_withdraw():
            return "the retry budget is used up"
        return ""


class Attempts:
    """The attempts of one piece of work; a block that does not raise is the last."""

    __slots__ = ("_error", "_number", "_over", "_retry")

    def __init__(self, retry: Retry) -> None:
        self._retry = retry
        self._number = 0
        self._error: Exception | None = None
        self._over = False

    @property
    def number(self) -> int:
        """Of the attempt under way, 1 for the first."""
        return self._number

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Self:
        if self._over:
            raise StopAsyncIteration
        error, self._error = self._error, None
        if error is not None:
            await self._retry.pause(self._number, error)
        self._number += 1
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if isinstance(error, Exception) and isinstance(error, self._retry.on):
            self._error = error
            return True
        self._over = True
        return False
