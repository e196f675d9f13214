"""Running a test's coroutine in a loop of its own."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from tests.conftest import LoopFactory

Result = TypeVar("Result")


_LONGEST = 50.0  # seconds: below the tests' own timeout, whose signal uvloop does not see while it waits


def run(loop_factory: LoopFactory, scenario: Coroutine[Any, Any, Result]) -> Result:
    """Run a scenario to its end, and close the loop; one that waits for ever fails with what it waited for."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(_bounded(scenario))


async def _bounded(scenario: Coroutine[Any, Any, Result]) -> Result:
    async with asyncio.timeout(_LONGEST):
        return await scenario


async def passes(count: int = 10) -> None:
    """Let the loop turn so many times."""
    for _ in range(count):
        await asyncio.sleep(0)
