"""Who waits for a thread, or for what runs in one, may be cancelled at any moment; nothing is lost or begun for it."""

import asyncio
import gc
import random
import weakref
from collections.abc import Callable
from contextlib import suppress

import pytest

from hasten.concurrency import ThreadPool, ThreadWork
from hasten.resilience import DeadlineExceeded, Refused, deadline
from tests.concurrency.gates import Gate, begun
from tests.conftest import LoopFactory


def test_waiting_work_is_taken_out(loop_factory: LoopFactory) -> None:
    """The place in the queue is free at once, and the function never runs."""
    ran: list[int] = []

    async def main() -> None:
        gate = Gate()
        async with ThreadPool("stock", 1, queue=1) as pool:
            first = asyncio.create_task(pool.run(gate.pass_through))
            await begun(gate)
            for number in range(100):
                waits = asyncio.create_task(pool.run(ran.append, number))
                await asyncio.sleep(0)
                assert pool.statistics().waiting == 1
                waits.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waits
            assert pool.statistics().waiting == 0
            last = asyncio.create_task(pool.run(ran.append, 100))
            gate.open()
            await asyncio.gather(first, last)
            assert (ran, pool.statistics().left) == ([100], 100)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())


def test_begun_work_ends_and_is_dropped(loop_factory: LoopFactory) -> None:
    """The caller is free at once; the thread is not before the function has ended, and that is counted."""

    async def main() -> None:
        gate = Gate()
        told: list[ThreadWork] = []
        async with ThreadPool("stock", 1, queue=0) as pool:
            pool.add_hook(told.append)
            task = asyncio.create_task(pool.run(gate.pass_through))
            await begun(gate)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert pool.statistics().busy == 1
            with pytest.raises(Refused):
                await pool.run(int)
            gate.open()
        assert [work.outcome for work in told] == ["refused", "abandoned"]
        assert (pool.statistics().abandoned, pool.statistics().done) == (1, 0)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())


def test_a_deadline_frees_the_caller_of_what_runs(loop_factory: LoopFactory) -> None:
    """The caller has its DeadlineExceeded in time, and not when the thread returns."""

    async def main() -> None:
        gate = Gate()
        async with ThreadPool("stock", 1) as pool:
            with pytest.raises(DeadlineExceeded):
                async with deadline(0.02):
                    await pool.run(gate.pass_through)
            gate.open()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())


def test_closing_that_is_cancelled(loop_factory: LoopFactory) -> None:
    """What waits is refused at once, the cancellation passes, and the pool is closed."""

    async def main() -> None:
        gate = Gate()
        pool = ThreadPool("stock", 1)
        runs, waits = asyncio.create_task(pool.run(gate.pass_through)), asyncio.create_task(pool.run(int))
        await begun(gate)
        closing = asyncio.create_task(pool.aclose())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        with pytest.raises(Refused):
            await waits
        gate.open()
        await runs
        with pytest.raises(Refused):
            await pool.run(int)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())


@pytest.mark.parametrize("seed", range(10))
def test_random_cancellations(seed: int, loop_factory: LoopFactory) -> None:
    """After a thousand of them each call has ended in one way, and nothing runs, waits or is miscounted."""

    async def main() -> None:
        source, outcomes = random.Random(seed), dict.fromkeys(("ok", "cancelled", "refused", "error"), 0)

        def work(number: int) -> int:
            if number % 7 == 0:
                raise ValueError(number)
            return number

        async def call(number: int) -> None:
            try:
                assert await pool.run(work, number) == number
                outcomes["ok"] += 1
            except asyncio.CancelledError:
                outcomes["cancelled"] += 1
            except Refused:
                outcomes["refused"] += 1
            except ValueError:
                outcomes["error"] += 1

        async with ThreadPool("stock", 3, queue=20) as pool:
            tasks: list[asyncio.Task[None]] = []
            for number in range(1000):
                tasks.append(asyncio.create_task(call(number)))
                if source.random() < 0.5:
                    await asyncio.sleep(0)
                if source.random() < 0.3:
                    source.choice(tasks).cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        counts = pool.statistics()
        assert (counts.busy, counts.waiting) == (0, 0)
        assert counts.refused == outcomes["refused"]
        begun_, unseen = outcomes["ok"] + outcomes["error"], sum(task.cancelled() for task in tasks)
        assert begun_ <= counts.done
        assert counts.done + counts.abandoned + counts.left + counts.refused <= 1000
        assert begun_ + outcomes["cancelled"] + outcomes["refused"] + unseen == 1000

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())


def test_nothing_of_a_call_is_kept(loop_factory: LoopFactory) -> None:
    """When a call has ended, well, badly or for nobody, no collection is needed to free what it held."""

    class Thing:
        pass

    async def main() -> None:
        held: list[weakref.ref[Thing]] = []

        def fail(thing: Thing) -> None:
            raise ValueError

        async def one(function: Callable[[Thing], object]) -> None:
            thing = Thing()
            held.append(weakref.ref(thing))
            with suppress(ValueError):
                await pool.run(function, thing)

        async with ThreadPool("stock", 1) as pool:
            await one(id)
            await one(fail)
            gate = Gate()
            first = asyncio.create_task(pool.run(gate.pass_through))
            await begun(gate)
            waits = asyncio.create_task(one(id))
            await asyncio.sleep(0)
            waits.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waits
            del waits  # its cancellation holds the frames that it has passed
            gate.open()
            await first
        assert [each() for each in held] == [None] * 3

    gc.disable()
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(main())
    finally:
        gc.enable()
