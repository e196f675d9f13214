"""The ambient deadline: what a block sees, when it ends, and what it refuses."""

import asyncio
import gc
import math
import pickle
import weakref
from collections.abc import Callable, Coroutine, Iterator
from time import monotonic
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hasten._core.ambient import AMBIENT, Carried
from hasten._core.errors import HastenError
from hasten.resilience import Deadline, DeadlineExceeded, deadline, deadline_at, expired, remaining, require
from hasten.resilience._expiry import expiry_of
from tests.conftest import LoopFactory

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
Value = TypeVar("Value")
Run = Callable[[Coroutine[Any, Any, Value]], Value]


@pytest.fixture
def run(loop_factory: LoopFactory) -> Iterator[Run[Any]]:
    """Run a coroutine on a loop of its own."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        yield runner.run


async def never() -> None:
    """Wait for what does not come."""
    await asyncio.Event().wait()


def ambient_deadline() -> float:
    ambient = AMBIENT.get()
    return math.inf if ambient is None else ambient.deadline


def test_without_a_deadline() -> None:
    """Without a deadline there is no end of time, and any work may begin."""
    assert remaining() == math.inf
    assert not expired()
    require(1e9)


def test_ends_in_time(run: Run[None]) -> None:
    """A block that ends in time leaves nothing behind: no cancellation, no deadline."""

    async def main() -> None:
        async with deadline(60):
            assert 0 < remaining() <= 60
            assert not expired()
        task = asyncio.current_task()
        assert task is not None
        assert not task.cancelling()
        assert AMBIENT.get() is None

    run(main())


def test_ends_the_block(run: Run[None]) -> None:
    """A block that is not done is cancelled when its deadline has passed, never before, and raises DeadlineExceeded."""

    async def main() -> None:
        with pytest.raises(DeadlineExceeded, match=r"^the deadline has passed$") as caught:
            async with deadline(0.05) as block:
                await never()
        assert monotonic() >= block.deadline
        assert isinstance(caught.value.__cause__, asyncio.CancelledError)
        assert isinstance(caught.value, TimeoutError)
        assert isinstance(caught.value, HastenError)
        assert AMBIENT.get() is None

    run(main())


def test_absolute(run: Run[None]) -> None:
    """`deadline_at` takes a point in time by time.monotonic()."""

    async def main() -> None:
        when = monotonic() + 60
        async with deadline_at(when):
            assert ambient_deadline() == when

    run(main())


@pytest.mark.parametrize("seconds", [0.0, -1.0, -math.inf, math.nan])
def test_nothing_begins_too_late(run: Run[None], seconds: float) -> None:
    """A block whose deadline has passed when it is entered does not begin."""

    async def main() -> None:
        begun = False
        with pytest.raises(DeadlineExceeded):
            async with deadline(seconds):
                begun = True
        assert not begun
        assert AMBIENT.get() is None

    run(main())


def test_nothing_begins_under_a_deadline_gone_by(run: Run[None]) -> None:
    """A caller's deadline that has passed lets no block begin, however long its own is."""

    async def main() -> None:
        AMBIENT.set(Carried(monotonic() - 1, TRACE))
        with pytest.raises(DeadlineExceeded):
            async with deadline(60):
                pytest.fail("begun")
        assert expired()
        assert remaining() == 0.0

    run(main())


def test_infinite(run: Run[None]) -> None:
    """An infinite deadline narrows nothing."""

    async def main() -> None:
        async with deadline(math.inf):
            assert remaining() == math.inf
        async with deadline(60), deadline(math.inf):
            assert remaining() <= 60

    run(main())


def test_watches_only_what_narrows(run: Run[None]) -> None:
    """A block that ends by the one around it in the same task is not watched beside it; one in another task is."""

    async def longer(watched: int) -> None:
        async with deadline(90):
            assert len(expiry_of(asyncio.get_running_loop()).watched) == watched

    async def main() -> None:
        async with deadline(60):
            await longer(1)
            await asyncio.create_task(longer(2))
            async with deadline(30):
                await longer(2)

    run(main())


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(min_value=1.0, max_value=1e6) | st.just(math.inf), min_size=1, max_size=8))
def test_nesting_only_shortens(spans: list[float]) -> None:
    """At every depth the ambient deadline is the earliest around, and leaving a block brings back the one before."""

    async def nest(depth: int) -> None:
        if depth == len(spans):
            return
        before = ambient_deadline()
        block = deadline(spans[depth])
        own = block.deadline
        async with block:
            assert ambient_deadline() == block.deadline == min(before, own)
            await nest(depth + 1)
        assert ambient_deadline() == before

    asyncio.run(nest(0))


def test_keeps_the_trace(run: Run[None]) -> None:
    """The trace of the request goes through every block, also with no deadline of the caller's."""

    async def main() -> None:
        AMBIENT.set(Carried(math.inf, TRACE))
        async with deadline(60), deadline(30), deadline(40):
            ambient = AMBIENT.get()
            assert ambient is not None
            assert ambient.traceparent == TRACE

    run(main())


def test_caller_is_shorter(run: Run[None]) -> None:
    """A longer block under a caller's deadline ends by the caller's."""

    async def main() -> None:
        AMBIENT.set(Carried(monotonic() + 0.003, TRACE))
        with pytest.raises(DeadlineExceeded):
            async with deadline(60):
                await never()

    run(main())


def test_child_task_inherits(run: Run[None]) -> None:
    """A task begun inside sees the deadline, and a longer block in it ends by it."""

    async def child() -> None:
        assert remaining() <= 0.05
        async with deadline(60):
            await never()

    async def main() -> None:
        async with deadline(0.05):
            task = asyncio.create_task(child())
        with pytest.raises(DeadlineExceeded):
            await task

    run(main())


def test_thread_inherits(run: Run[None]) -> None:
    """A thread that works for the request can ask for its deadline."""

    async def main() -> None:
        async with deadline(60):
            assert await asyncio.to_thread(remaining) <= 60
            with pytest.raises(DeadlineExceeded):
                await asyncio.to_thread(require, 61)

    run(main())


def test_require(run: Run[None]) -> None:
    """Work that needs more than is left is refused at once, with both figures; other work is not."""

    async def main() -> None:
        AMBIENT.set(Carried(monotonic() + 60, ""))
        require()
        require(30)
        with pytest.raises(
            DeadlineExceeded, match=r"^the work needs 100\.000 s, the deadline leaves (60|59)\."
        ) as caught:
            require(100)
        assert caught.value.needed == 100
        assert 0 < caught.value.left <= 60
        AMBIENT.set(Carried(monotonic(), ""))
        with pytest.raises(DeadlineExceeded, match=r"^the deadline has passed$"):
            require()

    run(main())


def test_error_can_be_pickled() -> None:
    """The error comes out of a process pool as it went in."""
    copy = pickle.loads(pickle.dumps(DeadlineExceeded(0.25, 0.5)))
    assert (type(copy), copy.left, copy.needed) == (DeadlineExceeded, 0.25, 0.5)
    assert str(copy) == "the work needs 0.500 s, the deadline leaves 0.250 s"


def test_every_block_has_its_own_end(run: Run[None]) -> None:
    """Of many blocks at once each ends by its own deadline, in whatever order they began."""

    async def end(block: Deadline) -> None:
        with pytest.raises(DeadlineExceeded):
            async with block:
                await never()
        assert monotonic() >= block.deadline

    async def main() -> None:
        await asyncio.gather(*(end(deadline(0.001 * (1 + 7 * index % 20))) for index in range(60)))

    run(main())


def test_one_block_at_a_time(run: Run[None]) -> None:
    """A deadline that is in use cannot be entered once more."""

    async def main() -> None:
        block = deadline(60)
        async with block:
            with pytest.raises(RuntimeError, match="one block"):
                await block.__aenter__()
            assert ambient_deadline() == block.deadline
        assert AMBIENT.get() is None

    run(main())


def test_generator_closed_elsewhere(run: Run[None]) -> None:
    """A generator that holds a block and is closed by another task ends without an error, and that task's own
    deadline stays."""

    async def numbers() -> Any:
        async with deadline(60):
            yield 1
            yield 2

    async def close(generator: Any) -> None:
        AMBIENT.set(Carried(100.0, TRACE))
        await generator.aclose()
        assert AMBIENT.get() == Carried(100.0, TRACE)

    async def main() -> None:
        generator = numbers()
        assert await anext(generator) == 1
        await asyncio.create_task(close(generator))

    run(main())


def test_closed_loop_is_let_go(loop_factory: LoopFactory) -> None:
    """Blocks work on one loop after the other in a thread, and a closed one is not kept alive."""

    async def main() -> None:
        async with deadline(60):
            pass
        with pytest.raises(DeadlineExceeded):
            async with deadline(0.001):
                await never()

    kept = []
    for _ in range(2):
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(main())
            kept.append(weakref.ref(runner.get_loop()))
        del runner
    gc.collect()
    assert [reference() for reference in kept] == [None, None]


def test_requests_are_let_go(run: Run[None]) -> None:
    """The timer holds on to nothing of the request that armed it."""

    class Request:
        deadline = math.inf
        traceparent = ""

    async def serve() -> "weakref.ref[Request]":
        request = Request()
        AMBIENT.set(request)
        async with deadline(60):
            return weakref.ref(request)

    async def main() -> None:
        reference = await asyncio.create_task(serve())
        await asyncio.sleep(0)  # the loop holds the task while it runs what waited for it
        gc.collect()
        assert reference() is None

    run(main())
