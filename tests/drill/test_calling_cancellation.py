"""Calls at a rate that are given up."""

import asyncio

from hasten.drill._calling import drive
from tests.conftest import LoopFactory


def test_cancelling_ends_the_calls(loop_factory: LoopFactory) -> None:
    """Those that are under way are cancelled, and none is made any more."""
    begun: list[int] = []
    ended: list[int] = []

    async def main() -> None:
        some = asyncio.Event()

        async def call() -> str:
            begun.append(1)
            if len(begun) == 3:
                some.set()
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                ended.append(1)
            return "never"

        driving = asyncio.create_task(drive(call, 1000.0, 60.0))
        await some.wait()
        driving.cancel()
        await asyncio.wait([driving])
        assert driving.cancelled()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())
    assert len(begun) == len(ended) >= 3
