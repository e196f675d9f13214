"""aiolimiter; it waits where ours refuses, and does neither here."""

from aiolimiter import AsyncLimiter

from benchmarks.resilience._work import A_SECOND, Work


async def rate(work: Work) -> Work:
    """Call it in a block."""
    limiter = AsyncLimiter(A_SECOND, 1.0)

    async def call() -> int:
        async with limiter:
            return await work()

    return call
