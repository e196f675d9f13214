"""What is guarded: a coroutine function that awaits nothing, and one that fails every other time."""

from collections.abc import Callable, Coroutine
from typing import Any

Work = Callable[[], Coroutine[Any, Any, int]]
"""Guarded or not."""

ANSWER = 42
FAILURES = 5
"""In a row that open a breaker: the default of both peers."""
SECONDS = 1.0
"""A call may take so long; none does."""
AT_ONCE = 20
A_SECOND = 1e9
"""More than can be called: a rate limit that never refuses."""


async def work() -> int:
    """Answer at once."""
    return ANSWER


def work_that_fails_first() -> Work:
    """Return what fails at the first call, answers at the second, fails at the third, and so on."""
    fails = False

    async def flaky() -> int:
        nonlocal fails
        fails = not fails
        if fails:
            raise ConnectionError
        return ANSWER

    return flaky
