"""purgatory, its state in memory, with its breaker in hand: its decorator asks the factory for it at each call."""

from purgatory import AsyncCircuitBreakerFactory

from benchmarks.resilience._work import FAILURES, Work


async def breaker(work: Work) -> Work:
    """Call it in a block."""
    within = await AsyncCircuitBreakerFactory(default_threshold=FAILURES, default_ttl=30).get_breaker("work")

    async def call() -> int:
        async with within:
            return await work()

    return call
