"""The driver is transparent: what a task sends, throws, yields, returns or raises passes through unchanged."""

import asyncio
import contextvars
import gc
import sys
import threading
import traceback
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any

import pytest

from hasten.ledger import Ledger
from hasten.ledger._records import REQUEST, RequestRecord
from tests.ledger.serving import LoopFactory

if TYPE_CHECKING:
    from hasten.ledger._loop_state import LoopState


class Recorded:
    """A loop with a ledger on which coroutines run as the tasks of one recorded request."""

    def __init__(self, loop_factory: LoopFactory, *, close_first: bool = False) -> None:
        self.loop_factory = loop_factory
        self.close_first = close_first
        self.request = RequestRecord(0.0)

    def run(self, main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Run `main()` on a new loop, as a task of the request."""

        async def outer() -> Any:
            ledger = Ledger(sample_every=1, detail=True)
            loop = asyncio.get_running_loop()
            ledger.attach(loop)
            try:
                REQUEST.set(self.request)
                return await loop.create_task(main())
            finally:
                ledger.detach(loop)

        with asyncio.Runner(loop_factory=self.loop_factory) as runner:
            return runner.run(outer())


@pytest.fixture
def recorded(loop_factory: LoopFactory) -> Recorded:
    return Recorded(loop_factory)


def test_the_value_is_returned(recorded: Recorded) -> None:
    """A task's result is the coroutine's."""

    async def main() -> list[int]:
        await asyncio.sleep(0)
        return [1, 2]

    assert recorded.run(main) == [1, 2]
    assert recorded.request.closed


def test_an_exception_keeps_its_traceback_and_context(recorded: Recorded) -> None:
    """What the coroutine raises arrives with the user's frames, cause and context, and none of ours as context."""

    async def inner() -> None:
        await asyncio.sleep(0)
        raise KeyError("lost")

    async def main() -> None:
        await inner()

    with pytest.raises(KeyError) as caught:
        recorded.run(main)
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert names[-2:] == ["main", "inner"]
    assert caught.value.__context__ is None


def test_stop_iteration_stays_a_runtime_error(recorded: Recorded) -> None:
    """StopIteration raised in a coroutine becomes RuntimeError (PEP 479), as without the driver."""

    async def main() -> None:
        raise StopIteration(1)

    with pytest.raises(RuntimeError):
        recorded.run(main)


def test_cancellation_reaches_the_innermost_await(recorded: Recorded) -> None:
    """A cancelled task sees CancelledError at its await, may clean up with awaits, and ends cancelled."""
    cleaned = []

    async def main() -> None:
        child = asyncio.create_task(victim())
        await asyncio.sleep(0)
        child.cancel("enough")
        with pytest.raises(asyncio.CancelledError):
            await child
        assert child.cancelled()

    async def victim() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append(1)

    recorded.run(main)
    assert cleaned == [1]


def test_a_swallowed_cancellation_can_be_uncancelled(recorded: Recorded) -> None:
    """asyncio.timeout works: it cancels, uncancels and raises TimeoutError."""

    async def main() -> int:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await asyncio.Event().wait()
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    assert recorded.run(main) == 0


def test_a_task_cancelled_before_it_starts_warns_of_nothing(recorded: Recorded) -> None:
    """No `was never awaited` warning comes from the coroutine that was never started."""

    async def main() -> None:
        child = asyncio.create_task(asyncio.sleep(1))
        child.cancel()
        with pytest.raises(asyncio.CancelledError):
            await child

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recorded.run(main)
        recorded.request.close()
        gc.collect()


def test_a_task_cancelled_as_its_request_ends_warns_of_nothing(recorded: Recorded) -> None:
    """Nor where the account is made between its making and its first step."""

    async def main() -> None:
        child = asyncio.create_task(asyncio.sleep(1))
        recorded.request.close()
        child.cancel()
        with pytest.raises(asyncio.CancelledError):
            await child

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recorded.run(main)
        gc.collect()


def test_work_after_the_account_goes_on_unrecorded(recorded: Recorded) -> None:
    """Once the account is made, tasks still get their results, exceptions and cancellations."""

    async def main() -> list[Any]:
        tasks = [asyncio.create_task(late(step)) for step in ("return", "raise", "cancel", "swallow")]
        await asyncio.sleep(0)
        recorded.request.close()
        tasks[2].cancel()
        tasks[3].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    async def late(end: str) -> str:
        try:
            await asyncio.sleep(0.001)
        except asyncio.CancelledError:
            if end == "cancel":
                raise
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        if end == "raise":
            raise KeyError(end)
        return end

    results = recorded.run(main)
    assert results[0] == "return"
    assert isinstance(results[1], KeyError)
    assert isinstance(results[2], asyncio.CancelledError)
    assert results[3] == "swallow"


def test_the_task_shows_the_users_names(recorded: Recorded) -> None:
    """repr, get_coro and names of a task show the user's function."""

    async def main() -> tuple[str, str]:
        child = asyncio.create_task(asyncio.sleep(0), name="mine")
        await child
        return child.get_name(), child.get_coro().__qualname__  # type: ignore[union-attr]

    assert recorded.run(main) == ("mine", "sleep")


def test_context_variables_are_the_tasks_own(recorded: Recorded) -> None:
    """A variable set in a task is seen there at later steps and nowhere else."""
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)

    async def child() -> int:
        variable.set(7)
        await asyncio.sleep(0)
        return variable.get()

    async def main() -> tuple[int, int]:
        return await asyncio.create_task(child()), variable.get()

    assert recorded.run(main) == (7, 0)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
def test_eager_tasks_run_within_their_makers_step(recorded: Recorded) -> None:
    """A task that starts eagerly is recorded and gives its result."""

    async def child() -> int:
        await asyncio.sleep(0)
        return 3

    async def main() -> int:
        task = asyncio.Task(child(), loop=asyncio.get_running_loop(), eager_start=True)  # type: ignore[call-arg, unused-ignore]
        return await task

    assert recorded.run(main) == 3


def test_no_cycles_are_left_behind(recorded: Recorded) -> None:
    """Records, drivers and exceptions are freed by reference counts alone: nothing waits for a collection."""

    async def fails() -> None:
        await asyncio.sleep(0)
        raise KeyError(1)

    async def main() -> int:
        await asyncio.sleep(0)
        gc.collect()
        gc.disable()
        try:
            for _ in range(50):
                task = asyncio.create_task(fails())
                await asyncio.wait([task])
                task.exception()
                del task
            recorded.request.close()
            await asyncio.sleep(0)
            found = gc.collect()
        finally:
            gc.enable()
        return found

    bare = _collected_without_ledger(fails)
    for thread in threading.enumerate():
        if thread.name == "hasten-watchdog":  # an earlier test's: it keeps that one's ledger until its next look
            thread.join(10)
    assert recorded.run(main) <= bare + 5


def _collected_without_ledger(fails: Callable[[], Coroutine[Any, Any, None]]) -> int:
    async def main() -> int:
        gc.collect()
        gc.disable()
        try:
            for _ in range(50):
                task = asyncio.create_task(fails())
                await asyncio.wait([task])
                task.exception()
                del task
            return gc.collect()
        finally:
            gc.enable()

    return asyncio.run(main())


class Awaited:
    """An awaitable with an `__await__` of its own."""

    def __await__(self) -> Generator[Any, Any, int]:
        yield from asyncio.sleep(0.001).__await__()
        return 5


def test_foreign_awaitables_work(recorded: Recorded) -> None:
    """Custom `__await__`, nested asynchronous generators and closing one early behave as without the driver."""
    closed = []

    async def numbers() -> Any:
        try:
            for number in range(3):
                await asyncio.sleep(0.001)
                yield number
        finally:
            await asyncio.sleep(0)
            closed.append(1)

    async def main() -> int:
        generator = numbers()
        first = await anext(generator)
        await generator.aclose()
        awaited: Awaitable[int] = Awaited()
        total: int = await awaited + first
        return total

    assert recorded.run(main) == 5
    assert closed == [1]


def test_clocks_are_given_back(loop_factory: LoopFactory) -> None:
    """Attaching and detaching leaves factory, callbacks and file descriptors as they were."""
    callbacks = list(gc.callbacks)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        before = loop.get_task_factory()
        ledger = Ledger()
        ledger.attach(loop)
        attached = ledger.loop(loop)
        assert attached is not None
        state: LoopState = attached.state
        ledger.detach(loop)
        assert loop.get_task_factory() is before
        assert state.closed

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())
    assert gc.callbacks == callbacks
