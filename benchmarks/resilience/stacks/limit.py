"""What no guard can beat: the call itself; a failure caught by hand, and one more call after a pass of the loop."""

import asyncio

from benchmarks.resilience._work import Work


async def bare(work: Work) -> Work:
    """Return it as it is."""
    return work


async def again(work: Work) -> Work:
    """Return what calls once more after a failure."""

    async def call() -> int:
        try:
            return await work()
        except ConnectionError:
            await asyncio.sleep(0)
            return await work()

    return call
