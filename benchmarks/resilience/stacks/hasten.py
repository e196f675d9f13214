"""hasten.resilience with its defaults, as a decorator and as a block where it has both forms."""

from collections.abc import Callable

from benchmarks.resilience._work import A_SECOND, AT_ONCE, FAILURES, SECONDS, Work
from hasten.resilience import (
    AdaptiveBreaker,
    Breaker,
    Bulkhead,
    Hedge,
    Limiter,
    RateLimit,
    Retry,
    RetryBudget,
    RetryPolicy,
    deadline,
)
from hasten.resilience._guard import Guard

_SAMPLES = 16  # from which a hedge knows when to be sent


def _in_block(guard: Callable[[], Guard], work: Work) -> Work:
    async def call() -> int:
        with guard():
            return await work()

    return call


def _retry() -> Retry:
    """Return three attempts without pauses, and a budget that one retry a call does not use up."""
    return Retry(RetryPolicy(attempts=3, first_backoff=0.0), on=ConnectionError, budget=RetryBudget(2.0))


async def retry(work: Work) -> Work:
    """Decorate it."""
    guarded: Work = _retry()(work)  # type: ignore[assignment]
    return guarded


async def retry_block(work: Work) -> Work:
    """Call it in a block of its own for each attempt."""
    attempts = _retry().attempts

    async def call() -> int:
        async for attempt in attempts():
            with attempt:
                answer = await work()
        return answer

    return call


def _breaker() -> Breaker:
    return Breaker(failures=FAILURES, failing=(ConnectionError,))


async def breaker(work: Work) -> Work:
    """Decorate it."""
    return _breaker().guard()(work)


async def breaker_block(work: Work) -> Work:
    """Call it in a block."""
    return _in_block(_breaker().guard, work)


async def adaptive(work: Work) -> Work:
    """Decorate it with the breaker that refuses a share."""
    return AdaptiveBreaker().guard()(work)


async def adaptive_block(work: Work) -> Work:
    """Call it in a block of the breaker that refuses a share."""
    return _in_block(AdaptiveBreaker().guard, work)


async def deadline_block(work: Work) -> Work:
    """Call it in a block, which is the one form there is."""

    async def call() -> int:
        async with deadline(SECONDS):
            return await work()

    return call


async def bulkhead(work: Work) -> Work:
    """Decorate it."""
    guarded: Work = Bulkhead(AT_ONCE, waiting=1000)(work)  # type: ignore[assignment]
    return guarded


async def bulkhead_block(work: Work) -> Work:
    """Call it in a block."""
    within = Bulkhead(AT_ONCE, waiting=1000)

    async def call() -> int:
        async with within:
            return await work()

    return call


async def limiter(work: Work) -> Work:
    """Decorate it with a limit that is found."""
    return Limiter(initial=AT_ONCE, most=AT_ONCE).guard()(work)


async def limiter_block(work: Work) -> Work:
    """Call it in a block of a limit that is found."""
    return _in_block(Limiter(initial=AT_ONCE, most=AT_ONCE).guard, work)


async def rate(work: Work) -> Work:
    """Decorate it."""
    return RateLimit(A_SECOND).guard()(work)


async def rate_block(work: Work) -> Work:
    """Call it in a block."""
    return _in_block(RateLimit(A_SECOND).guard, work)


async def hedge(work: Work) -> Work:
    """Decorate it; it is known what a call takes."""
    trigger = Hedge(RetryBudget())
    for _ in range(_SAMPLES):
        trigger.record(SECONDS)
    guarded: Work = trigger(work)  # type: ignore[assignment]
    return guarded
