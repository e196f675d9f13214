"""Functions that a request has run in threads, by executors and by `ThreadPool`, with several ledgers in a process."""

import asyncio
import functools
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import anyio
import anyio.to_thread
import pytest

from hasten.concurrency import ThreadPool
from hasten.concurrency._crew import Crew
from hasten.ledger._records import REQUEST, RequestRecord
from hasten.ledger._sites import SiteTable
from hasten.ledger._threads import ThreadTimer
from tests.concurrency.gates import Gate, begun
from tests.ledger.serving import LoopFactory


def work() -> int:
    return 7


def test_a_request_is_noted_by_its_own_ledger_alone() -> None:
    """Each function is noted once, under a site of the ledger that records the request, whoever wrapped last."""
    tables = [SiteTable() for _ in range(3)]
    timers = [ThreadTimer(table) for table in tables]
    for timer in timers:
        timer.install()
    try:
        for table in tables:
            table.function(copy_context)  # so that their numbers differ
            request = RequestRecord(0.0, table)
            with ThreadPoolExecutor(1) as pool:
                context = copy_context()
                context.run(REQUEST.set, request)
                assert context.run(pool.submit, work).result() == 7
            ((_, site, *_),) = request.threads
            assert table.sites[site].function.endswith("work")
    finally:
        for timer in reversed(timers):
            timer.remove()


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (functools.partial(copy_context().run, work), ()),
        (copy_context().run, (work,)),
        (functools.partial(copy_context().run), (work,)),
        (functools.partial(work), ()),
    ],
    ids=["asyncio.to_thread", "context.run", "partial of context.run", "partial"],
)
def test_what_a_context_runs_is_named(function: Callable[..., int], arguments: tuple[Any, ...]) -> None:
    """A function that is handed over to be run in a context is named, not the context."""
    table = SiteTable()
    timer = ThreadTimer(table)
    timer.install()
    try:
        request = RequestRecord(0.0, table)
        with ThreadPoolExecutor(1) as pool:
            context = copy_context()
            context.run(REQUEST.set, request)
            assert context.run(pool.submit, function, *arguments).result() == 7
        ((_, site, *_),) = request.threads
        assert table.sites[site].function == "work"
    finally:
        timer.remove()


# ---- ThreadPool


@pytest.fixture
def timers() -> Iterator[list[ThreadTimer]]:
    """Return the timers of three ledgers, in place; afterwards `ThreadPool` is as it was."""
    before = Crew.submit
    timers = [ThreadTimer(SiteTable()) for _ in range(3)]
    for timer in timers:
        timer.install()
    yield timers
    for timer in reversed(timers):
        timer.remove()
    assert Crew.submit is before


def recorded(use: Callable[[], Awaitable[None]], table: SiteTable, loop_factory: LoopFactory) -> RequestRecord:
    """Return the record of a request that has run `use`."""
    request = RequestRecord(0.0, table)
    context = copy_context()
    context.run(REQUEST.set, request)

    async def main() -> None:
        await use()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main(), context=context)
    return request


def test_a_pools_work_is_noted_by_its_own_ledger_alone(timers: list[ThreadTimer], loop_factory: LoopFactory) -> None:
    """What a `ThreadPool` runs is noted once, by the ledger that records the request, for the task that waits."""

    async def use() -> None:
        async with ThreadPool("stock", 1) as pool:
            made = pool.run(work)  # in one step, and run in another
            request = REQUEST.get()
            assert request is not None
            request.running = 3
            assert await made == 7

    for timer in timers:
        (table,) = timer.tables
        ((task, site, handed, started, ended),) = recorded(use, table, loop_factory).threads
        assert (task, table.sites[site].function) == (3, "work")
        assert handed < started <= ended


def test_callers_that_give_up_are_noted(timers: list[ThreadTimer], loop_factory: LoopFactory) -> None:
    """Who is cancelled in the queue has queued until then; who is while the function runs has waited until then."""

    async def use() -> None:
        gate = Gate()
        async with ThreadPool("stock", 1) as pool:
            running = asyncio.create_task(pool.run(gate.pass_through))
            await begun(gate)
            waiting = asyncio.create_task(pool.run(work))
            await asyncio.sleep(0)
            for task in (waiting, running):
                task.cancel()
                await asyncio.wait([task])
            request = REQUEST.get()
            assert request is not None
            assert len(request.threads) == 2
            gate.open()

    (table,) = timers[0].tables
    queued, ran = recorded(use, table, loop_factory).threads
    assert [table.sites[site].function for _, site, *_ in (queued, ran)] == ["work", "Gate.pass_through"]
    assert queued[2] < queued[3] == queued[4]
    assert ran[2] < ran[3] < ran[4]


def test_work_that_outlives_its_request_is_not_noted(timers: list[ThreadTimer], loop_factory: LoopFactory) -> None:
    """A record that is closed, and may be a shell already, gets nothing any more."""

    async def use() -> None:
        gate = Gate()
        async with ThreadPool("stock", 1) as pool:
            running = asyncio.create_task(pool.run(gate.pass_through))
            await begun(gate)
            request = REQUEST.get()
            assert request is not None
            request.close()
            gate.open()
            await running
            await pool.run(work)

    (table,) = timers[0].tables
    assert recorded(use, table, loop_factory).threads == []


def test_anyios_work_is_noted_for_the_task_that_waits(timers: list[ThreadTimer], loop_factory: LoopFactory) -> None:
    """A call that is made in one step and begun in another is the other's; begun after the request, it is nobody's."""

    async def use() -> None:
        request = REQUEST.get()
        assert request is not None
        first, second = anyio.to_thread.run_sync(work), anyio.to_thread.run_sync(work)
        request.running = 3
        assert await first == 7
        assert [task for task, *_ in request.threads] == [3]
        request.close()
        request.drop()
        assert await second == 7

    (table,) = timers[0].tables
    assert recorded(use, table, loop_factory).threads == []


def test_pools_are_not_loaded_for_a_ledger() -> None:
    """Who has no `ThreadPool` does not pay for its import."""
    program = """
import sys
import hasten
from hasten.ledger._sites import SiteTable
from hasten.ledger._threads import ThreadTimer
timer = ThreadTimer(SiteTable())
timer.install()
timer.remove()
print("hasten.concurrency" in sys.modules)
"""
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, capture_output=True, text=True, timeout=50, check=True).stdout.strip() == "False"
