"""The ledger over a long history of requests, disconnects and failures: nothing is lost, left over or growing.

Run by `make soak`; the last result stands in docs/explanation/ledger.md.
"""

import asyncio
import gc
import random
import time
import tracemalloc
from collections import Counter

import pytest
from fastapi import FastAPI

from hasten.ledger import Account, Ledger
from hasten.ledger._records import RequestRecord, TaskRecord
from hasten.ledger._statistics import Statistics
from tests.ledger.cases import make_app, with_middleware
from tests.ledger.serving import LoopFactory, Served, is_shell, serving

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
KEEP_ALIVE = 5.0
"""Seconds that uvicorn's keep-alive timers last."""


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


class Notes:
    """A listener that keeps counts alone: what the test keeps must not grow either."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.coverages: Counter[int] = Counter()  # by per mille
        self.ends: Counter[int] = Counter()  # by second

    def __call__(self, account: Account) -> None:
        self.statuses[account.status] += 1
        self.ends[int(account.started + account.wall)] += 1
        if account.wall > 0.001:
            self.coverages[int(account.coverage * 1000)] += 1

    def lately(self, seconds: float) -> int:
        """Return how many requests ended in the last seconds, to a second."""
        since = int(time.monotonic() - seconds)
        return sum(ended for second, ended in self.ends.items() if second >= since)


def records() -> list[RequestRecord | TaskRecord]:
    """Return the records that are left in this process."""
    gc.collect()
    return [kept for kept in gc.get_objects() if isinstance(kept, RequestRecord | TaskRecord)]


def bytes_in_use(ledger: Ledger) -> int:
    """Return the memory in use without the ledger's statistics, which begin anew.

    They fill up to a bound of their own, sooner on a busy machine, whose requests have more kinds of lines.
    """
    ledger._statistics = Statistics(ledger.sites)
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def failing(app: FastAPI) -> FastAPI:
    """Add a route whose handler raises."""

    @app.get("/broken")
    async def broken() -> None:
        await asyncio.sleep(0.001)
        raise KeyError("broken")

    return app


def test_a_long_history_leaves_nothing_behind(loop_factory: LoopFactory) -> None:
    """Of 12,800 requests each has one account that adds up; no record outlives the loop, and memory stays flat.

    While the loop runs, empty shells of records are left where it keeps timers that were made in a request: uvicorn's
    keep-alive timers, for 5 s.
    """
    source, notes = random.Random(1), Notes()
    app = failing(with_middleware(make_app()))

    async def history() -> tuple[int, int]:
        asked, sizes = 0, []
        tracemalloc.start()
        async with serving(app, listeners=[notes]) as served:
            for number in range(ROUNDS):
                outcomes = await asyncio.gather(*(client(served, source) for _ in range(CLIENTS)))
                asked += outcomes.count("asked")
                if number % (ROUNDS // 4) == ROUNDS // 4 - 1:
                    sizes.append(bytes_in_use(app.state.ledger))
            await served.ask("/fast")
        tracemalloc.stop()
        left = records()
        assert all(isinstance(kept, RequestRecord) and is_shell(kept) for kept in left)
        assert len(left) <= notes.lately(KEEP_ALIVE)
        return asked, max(sizes[1:]) - sizes[0]

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        asked, growth = runner.run(history())
    requests = notes.statuses.total()
    print(f"\nrequests {requests}, statuses {dict(notes.statuses)}, growth {growth} bytes")
    assert requests >= asked
    assert app.state.ledger.on
    assert not records()
    assert growth < MOST_GROWTH_BYTES
    explained = sorted(notes.coverages.elements())
    assert explained[len(explained) // 2] >= 980
    assert explained[len(explained) // 20] >= 950
