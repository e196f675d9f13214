"""hasten.rpc over long histories: deadlines are kept, cancellations leave nothing, memory stays flat.

Run by `make soak`. The long rolling restarts and the year of stream ids stand beside their short forms, in
tests/rpc/faults.
"""

import asyncio
import gc
import tracemalloc

import pytest

import hasten.rpc
from tests.conftest import LoopFactory
from tests.relay import Relay
from tests.rpc.faults._load import OpenLoad
from tests.rpc.faults._remains import live_calls, other_tasks
from tests.rpc.faults._service import Serving, unary
from tests.rpc.faults.test_black_hole import LATE_SECONDS, lateness
from tests.rpc.faults.test_random_cancellations import Canceller

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]

MOST_GROWTH_BYTES = 512 * 1024
QUANTILES = (("median", 0.5), ("p90", 0.9), ("p99", 0.99))


def test_lateness(loop_factory: LoopFactory) -> None:
    """Of 5,000 calls into a black hole, 99 in 100 end at most 20 ms after their deadline.

    The lateness is measured in the process that calls, between the deadline and the call's end. On a machine that does
    nothing else it is the timer's millisecond; what is beyond is the system keeping the process from the CPU.
    """

    async def scenario() -> list[float]:
        async with (
            Serving() as serving,
            Relay(serving.address).listening() as relay,
            hasten.rpc.Channel(relay.address) as channel,
        ):
            await unary(channel)
            relay.freeze()
            late: list[float] = []
            for _ in range(50):
                late += await lateness(channel, [0.05 + 0.003 * number for number in range(100)])
            return sorted(late)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        late = runner.run(scenario())
    shown = ", ".join(f"{name} {late[int(len(late) * share)] * 1e3:.2f} ms" for name, share in QUANTILES)
    print(f"\nlateness: {shown}, largest {late[-1] * 1e3:.2f} ms")
    assert late[0] >= 0.0
    assert late[int(len(late) * 0.99)] <= LATE_SECONDS


def test_random_cancellations(loop_factory: LoopFactory) -> None:
    """20,000 random cancellations beside a steady load leave no call and no task, and memory stays flat."""

    async def scenario() -> tuple[int, set[str]]:
        sizes = []
        tracemalloc.start()
        async with Serving() as serving, hasten.rpc.Channel(serving.address) as channel:
            async with OpenLoad(channel, rate=200.0) as load:
                for seed in range(20):
                    await asyncio.gather(
                        *(Canceller(serving.address, seed * 20 + each).cancel(50) for each in range(20))
                    )
                    gc.collect()
                    sizes.append(tracemalloc.get_traced_memory()[0])
            await serving.service.idle()
            assert other_tasks() == set()
        tracemalloc.stop()
        return max(sizes[10:]) - sizes[4], {code.name for code in load.outcomes}

    before = len(live_calls())
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        growth, codes = runner.run(scenario())
    print(f"\ngrowth {growth} bytes")
    assert codes == {"OK"}
    assert growth < MOST_GROWTH_BYTES
    assert len(live_calls()) == before
