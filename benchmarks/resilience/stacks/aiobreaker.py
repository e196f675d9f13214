"""aiobreaker called by its `call_async`, without a wrapper; its state in memory."""

from datetime import timedelta
from functools import partial

from aiobreaker import CircuitBreaker  # type: ignore[import-untyped]

from benchmarks.resilience._work import FAILURES, Work


async def breaker(work: Work) -> Work:
    """Return what calls it by a breaker."""
    return partial(CircuitBreaker(fail_max=FAILURES, timeout_duration=timedelta(seconds=30)).call_async, work)
