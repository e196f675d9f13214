"""A thread pool bounds what runs and what waits, takes the caller's context along, and begins nothing for nobody."""

import asyncio
import functools
import threading
from collections.abc import Callable, Coroutine, Iterator
from time import monotonic
from typing import Any

import pytest

from hasten._core.ambient import AMBIENT, Carried
from hasten._core.errors import ConfigurationError
from hasten.concurrency import ThreadPool, ThreadWork
from hasten.resilience import DeadlineExceeded, Refused, deadline, remaining
from tests.concurrency.gates import Gate, begun
from tests.conftest import LoopFactory

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture
def run(loop_factory: LoopFactory) -> Iterator[Run]:
    """Run a coroutine on a loop of its own."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        yield runner.run


def test_results_and_errors_come_back(run: Run) -> None:
    """What the function returns or raises, its caller gets, with positional and named arguments."""

    def divide(number: float, *, by: float) -> float:
        return number / by

    async def main() -> None:
        async with ThreadPool("sums", 2) as pool:
            assert await pool.run(divide, 6.0, by=3.0) == 2.0
            with pytest.raises(ZeroDivisionError):
                await pool.run(divide, 6.0, by=0.0)
            counts = pool.statistics()
            assert (counts.done, counts.busy, counts.waiting) == (2, 0, 0)
            assert 0.0 < counts.longest_run <= counts.run_seconds
            assert 0.0 < counts.longest_queue <= counts.queue_seconds

    run(main())


def test_it_runs_in_a_thread_of_the_pool(run: Run) -> None:
    """The function runs in a thread that has the pool's name, and a wrapped one keeps its own name."""
    pool = ThreadPool("images", 1)

    @pool.wrap
    def where() -> str:
        """Tell where."""
        return threading.current_thread().name

    async def main() -> None:
        async with pool:
            assert await where() == "hasten-images-0"
        assert (where.__name__, where.__doc__) == ("where", "Tell where.")

    run(main())


def test_at_most_so_many_run_and_wait(run: Run) -> None:
    """Beyond the threads calls wait, in their order, and beyond the queue they are refused at once."""

    async def main() -> None:
        gates, order = [Gate() for _ in range(4)], []

        def work(number: int) -> int:
            order.append(number)
            gates[number].pass_through()
            return number

        async with ThreadPool("stock", 2, queue=2) as pool:
            tasks = [asyncio.create_task(pool.run(work, number)) for number in range(4)]
            await begun(gates[0], gates[1])
            counts = pool.statistics()
            assert (counts.threads, counts.busy, counts.waiting) == (2, 2, 2)
            with pytest.raises(Refused, match=r"^threads stock: 2 are busy, and 2 wait$"):
                await pool.run(work, 9)
            gates[1].open()
            await begun(gates[2])
            assert sorted(order) == [0, 1, 2]
            for gate in gates:
                gate.open()
            assert await asyncio.gather(*tasks) == [0, 1, 2, 3]
            assert pool.statistics().refused == 1

    run(main())


def test_no_queue_takes_what_a_thread_is_free_for(run: Run) -> None:
    """With a queue of 0 a call is refused only while all threads are busy."""

    async def main() -> None:
        gate = Gate()
        async with ThreadPool("stock", 1, queue=0) as pool:
            for _ in range(3):
                assert await pool.run(int, "7") == 7
            task = asyncio.create_task(pool.run(gate.pass_through))
            await begun(gate)
            with pytest.raises(Refused):
                await pool.run(int, "7")
            gate.open()
            await task
            assert await pool.run(int, "7") == 7

    run(main())


def test_one_pool_does_not_take_anothers_threads(run: Run) -> None:
    """While the dependency of one stalls, another pool's calls go on."""

    async def main() -> None:
        gate = Gate()
        async with ThreadPool("slow", 1) as slow, ThreadPool("quick", 1) as quick:
            stalled = [asyncio.create_task(slow.run(gate.pass_through)) for _ in range(5)]
            await begun(gate)
            assert await quick.run(int, "7") == 7
            gate.open()
            await asyncio.gather(*stalled)

    run(main())


def test_the_context_goes_along(run: Run) -> None:
    """The function sees the caller's deadline and trace, and what it sets stays in its thread."""
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    def look() -> tuple[float, str]:
        ambient = AMBIENT.get()
        assert ambient is not None
        AMBIENT.set(None)
        return remaining() if ambient.deadline < 0 else ambient.deadline, ambient.traceparent

    async def main() -> None:
        async with ThreadPool("stock", 1) as pool:
            AMBIENT.set(Carried(monotonic() + 60.0, trace))
            until, seen = await pool.run(look)
            assert seen == trace
            assert 0.0 < until - monotonic() <= 60.0
            assert AMBIENT.get() is not None

    run(main())


def test_late_work_is_not_begun(run: Run) -> None:
    """Work whose deadline passes while it waits is told so, and never runs; nor does what comes after its deadline."""
    ran: list[int] = []

    async def main() -> None:
        gate = Gate()
        async with ThreadPool("stock", 1) as pool:
            task = asyncio.create_task(pool.run(gate.pass_through))
            await begun(gate)
            with pytest.raises(DeadlineExceeded):
                async with deadline(0.01):
                    await pool.run(ran.append, 1)
            AMBIENT.set(Carried(monotonic() + 0.01, ""))
            with pytest.raises(DeadlineExceeded):
                await pool.run(ran.append, 2)
            with pytest.raises(DeadlineExceeded):
                await pool.run(ran.append, 3)
            AMBIENT.set(None)
            gate.open()
            await task
            await pool.run(int)
            assert ran == []
            assert pool.statistics().expired == 2

    run(main())


def test_a_thread_looks_at_the_deadline_itself(run: Run) -> None:
    """Work that a thread takes after its deadline, while the loop is held, is not begun."""
    ran: list[int] = []

    async def main() -> None:
        gate, taken = Gate(), threading.Event()
        async with ThreadPool("stock", 1) as pool:
            first = asyncio.create_task(pool.run(gate.pass_through))
            await begun(gate)
            second = asyncio.create_task(in_time(pool))
            third = asyncio.create_task(pool.run(taken.set))
            await asyncio.sleep(0)
            while monotonic() < until[0]:
                pass  # the loop is held until the deadline has passed
            gate.open()
            assert taken.wait(10)  # so the second was taken, too
            with pytest.raises(DeadlineExceeded):
                await second
            await asyncio.gather(first, third)
            assert (ran, pool.statistics().expired) == ([], 1)

    until = [0.0]

    async def in_time(pool: ThreadPool) -> None:
        async with deadline(0.02) as block:
            until[0] = block.deadline
            await pool.run(ran.append, 1)

    run(main())


def test_stop_iteration_comes_back_as_an_error(run: Run) -> None:
    """A function that raises StopIteration does not leave its caller waiting for ever."""

    async def main() -> None:
        async with ThreadPool("stock", 1) as pool:
            with pytest.raises(RuntimeError, match="StopIteration"):
                await pool.run(next, iter(()))

    run(main())


def test_hooks_are_told(run: Run) -> None:
    """Each piece of work is told of with its outcome, and a hook that raises harms nobody."""

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(str(context["exception"])))
        async with ThreadPool("stock", 1, queue=0) as pool:
            pool.add_hook(broken)
            pool.add_hook(told.append)
            await pool.run(int, "7")
            with pytest.raises(ValueError, match="seven"):
                await pool.run(int, "seven")
            gate = Gate()
            task = asyncio.create_task(pool.run(gate.pass_through))
            await begun(gate)
            with pytest.raises(Refused):
                await pool.run(int, "7")
            gate.open()
            await task
        assert [work.outcome for work in told] == ["ok", "error", "refused", "ok"]
        assert {work.pool for work in told} == {"stock"}
        assert failures == ["broken"] * 4
        ok, _, refused, _ = told
        assert ok.waited > 0.0 < ok.ran
        assert refused.waited == 0.0 == refused.ran

    told: list[ThreadWork] = []
    failures: list[str] = []

    def broken(_: ThreadWork) -> None:
        raise RuntimeError("broken")

    run(main())


def test_closing_waits_for_what_there_is(run: Run) -> None:
    """What runs and what waits ends before the pool is closed, new work is refused, and its threads end."""

    async def main() -> None:
        gate = Gate()
        pool = ThreadPool("stock", 1)
        tasks = [asyncio.create_task(pool.run(gate.pass_through)), asyncio.create_task(pool.run(int, "7"))]
        await begun(gate)
        closing = asyncio.create_task(pool.aclose())
        await asyncio.sleep(0)
        with pytest.raises(Refused, match="closing"):
            await pool.run(int, "7")
        gate.open()
        await closing
        assert [task.done() for task in tasks] == [True, True]
        with pytest.raises(Refused, match="closed"):
            await pool.run(int, "7")
        async with pool:  # an app that starts again
            assert await pool.run(int, "7") == 7
        join("hasten-stock-")

    run(main())


def test_closing_twice_at_once(run: Run) -> None:
    """Both wait for what there is."""

    async def main() -> None:
        gate = Gate()
        pool = ThreadPool("stock", 1)
        task = asyncio.create_task(pool.run(gate.pass_through))
        await begun(gate)
        closing = [asyncio.create_task(pool.aclose()) for _ in range(2)]
        await asyncio.sleep(0)
        gate.open()
        await asyncio.gather(*closing)
        assert task.done()

    run(main())


def test_what_waited_in_vain_is_in_the_statistics(run: Run) -> None:
    """A queue in which all expire does not look like one in which nobody waits."""

    async def main() -> None:
        gate = Gate()
        async with ThreadPool("stock", 1) as pool:
            task = asyncio.create_task(pool.run(gate.pass_through))
            await begun(gate)
            with pytest.raises(DeadlineExceeded):
                async with deadline(0.01):
                    await pool.run(int)
            assert pool.statistics().longest_queue >= 0.009
            gate.open()
            await task

    run(main())


def test_closing_gives_up_in_time(run: Run) -> None:
    """What has not begun when the time is over is refused; what runs comes to its end, and its caller hears of it."""

    async def main() -> None:
        gate = Gate()
        pool = ThreadPool("stock", 1)
        runs, waits = asyncio.create_task(pool.run(gate.pass_through)), asyncio.create_task(pool.run(int, "7"))
        await begun(gate)
        await pool.aclose(0.0)
        with pytest.raises(Refused, match="closed"):
            await waits
        gate.open()
        await runs
        join("hasten-stock-")

    run(main())


def test_one_loop_after_the_other(loop_factory: LoopFactory) -> None:
    """A pool whose loop has ended serves the next one, as in a row of tests; two at once it refuses to serve."""
    pool = ThreadPool("stock", 1)
    gates = []

    async def left() -> None:
        gates.append(gate := Gate())
        task = asyncio.create_task(pool.run(gate.pass_through))
        await begun(gate)
        assert not task.done()

    async def after() -> None:
        assert await pool.run(int, "7") == 7

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(left())
        with asyncio.Runner(loop_factory=loop_factory) as second, pytest.raises(RuntimeError, match="another"):
            second.run(after())
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(after())
        gates[0].open()
        runner.run(pool.aclose())
        join("hasten-stock-")


def join(prefix: str) -> None:
    """Wait until the threads of closed pools have ended."""
    for thread in threading.enumerate():
        if thread.name.startswith(prefix) and thread is not threading.current_thread():
            thread.join(10)
            assert not thread.is_alive()


@pytest.mark.parametrize(
    "make",
    [
        lambda: ThreadPool("", 1),
        lambda: ThreadPool("stock", 0),
        lambda: ThreadPool("stock", 1, queue=-1),
        lambda: ThreadPool("stock", 1).wrap(asyncio.sleep),
        lambda: ThreadPool("stock", 1).wrap(functools.partial(asyncio.sleep, 1)),
    ],
)
def test_what_is_no_pool(make: Callable[[], object]) -> None:
    """It is refused in one line, which says what it must be."""
    with pytest.raises(ConfigurationError, match=r"must|coroutine"):
        make()
