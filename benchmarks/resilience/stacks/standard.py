"""What asyncio has: a timeout, and a semaphore. Neither goes along with calls, or refuses."""

import asyncio

from benchmarks.resilience._work import AT_ONCE, SECONDS, Work


async def deadline(work: Work) -> Work:
    """Call it in a block."""

    async def call() -> int:
        async with asyncio.timeout(SECONDS):
            return await work()

    return call


async def at_once(work: Work) -> Work:
    """Call it in a block."""
    semaphore = asyncio.Semaphore(AT_ONCE)

    async def call() -> int:
        async with semaphore:
            return await work()

    return call
