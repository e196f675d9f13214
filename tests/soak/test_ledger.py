"""The ledger over a long history of requests, disconnects and failures: nothing is lost, left over or growing.

Run by `make soak`; the last result stands in docs/explanation/ledger.md.
"""

import asyncio
import gc
import random
import tracemalloc
from collections import Counter

import pytest

from hasten.ledger import Account
from hasten.ledger._records import RequestRecord, TaskRecord
from tests.ledger.cases import make_app, with_middleware
from tests.ledger.serving import LoopFactory, Served, serving

pytestmark = [pytest.mark.soak, pytest.mark.may_block, pytest.mark.timeout(900)]

ROUNDS = 400
CLIENTS = 32
TARGETS = (
    "/fast",
    "/items/7",
    "/gather",
    "/group",
    "/anyio-group",
    "/queue",
    "/stream",
    "/thread",
    "/yields",
    "/broken",
)
MOST_GROWTH_BYTES = 512 * 1024


async def client(served: Served, source: random.Random) -> str:
    """Ask for a random target; one in five goes away in the middle."""
    target = source.choice(TARGETS)
    if source.random() < 0.8:
        await served.ask_one(target)
        return "asked"
    _, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(f"GET {target} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
    await asyncio.sleep(source.random() * 0.02)
    writer.transport.abort()
    return "gone"


def test_a_long_history_leaves_nothing_behind(loop_factory: LoopFactory) -> None:
    """Of 12,800 requests each has one account that adds up; no record is left and memory stays flat."""
    source = random.Random(1)
    coverages: Counter[int] = Counter()  # by per mille: what the test keeps must not grow either
    statuses: Counter[int] = Counter()

    def note(account: Account) -> None:
        statuses[account.status] += 1
        if account.wall > 0.001:
            coverages[int(account.coverage * 1000)] += 1

    async def history() -> tuple[int, int, int]:
        app = with_middleware(make_app())

        @app.get("/broken")
        async def broken() -> None:
            await asyncio.sleep(0.001)
            raise KeyError("broken")

        asked, sizes = 0, []
        tracemalloc.start()
        async with serving(app, listeners=[note]) as served:
            for number in range(ROUNDS):
                outcomes = await asyncio.gather(*(client(served, source) for _ in range(CLIENTS)))
                asked += outcomes.count("asked")
                if number % (ROUNDS // 4) == ROUNDS // 4 - 1:
                    gc.collect()
                    sizes.append(tracemalloc.get_traced_memory()[0])
            await served.ask("/fast")
            assert app.state.ledger.on
        tracemalloc.stop()
        gc.collect()
        left = sum(isinstance(kept, RequestRecord | TaskRecord) for kept in gc.get_objects())
        return asked, left, max(sizes[1:]) - sizes[0]

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        asked, left, growth = runner.run(history())
    print(f"\nrequests {sum(statuses.values())}, statuses {dict(statuses)}, growth {growth} bytes")
    assert sum(statuses.values()) >= asked
    assert left == 0
    assert growth < MOST_GROWTH_BYTES
    explained = sorted(coverages.elements())
    assert explained[len(explained) // 2] >= 980
    assert explained[len(explained) // 20] >= 950
