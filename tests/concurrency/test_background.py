"""Background tasks are held until they end, are bounded, log their errors, and work for no request."""

import asyncio
import gc
import logging
from collections.abc import Callable, Coroutine, Iterator
from math import inf
from time import monotonic
from typing import Any

import pytest

from hasten._core.ambient import AMBIENT, Carried
from hasten._core.errors import ConfigurationError
from hasten.concurrency import Background
from hasten.resilience import Refused, remaining
from tests.conftest import LoopFactory

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture
def run(loop_factory: LoopFactory) -> Iterator[Run]:
    """Run a coroutine on a loop of its own."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        yield runner.run


async def never() -> None:
    """Wait for what does not come, in a cycle that only a reference from outside keeps alive."""
    await asyncio.Event().wait()


def test_a_kept_task_is_not_collected(run: Run) -> None:
    """A task that nothing else refers to is there after a collection, where a plain one is destroyed."""

    async def main() -> None:
        destroyed: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: destroyed.append(context["message"]))
        background = Background()
        background.keep(never())
        asyncio.get_running_loop().create_task(never())
        await asyncio.sleep(0)
        gc.collect()
        assert destroyed == ["Task was destroyed but it is pending!"]
        assert background.statistics().running == 1
        await background.aclose(0.0)

    run(main())


def test_an_error_is_logged_once(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged when the task ends, with its traceback, and not again when the task is collected."""

    async def fail() -> None:
        raise LookupError("gone")

    async def main() -> None:
        async with Background() as background:
            background.keep(fail(), name="mail")
        gc.collect()
        assert background.statistics().failed == 1

    with caplog.at_level(logging.ERROR):
        run(main())
    (record,) = caplog.records
    assert record.message == "mail failed in the background"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], LookupError)


def test_it_can_be_awaited_all_the_same(run: Run) -> None:
    """Who wants the result takes the task and awaits it."""

    async def value() -> int:
        return 7

    async def main() -> None:
        async with Background() as background:
            assert await background.keep(value()) == 7
        assert background.statistics().done == 1

    run(main())


def test_at_most_so_many(run: Run) -> None:
    """Beyond the bound a coroutine is refused and closed, and so it is when the app stops."""

    async def main() -> None:
        background = Background(2)
        for _ in range(2):
            background.keep(never())
        refused: Any = never()
        with pytest.raises(Refused, match="background: 2 tasks run"):
            background.keep(refused)
        assert refused.cr_frame is None
        await background.aclose(0.0)
        with pytest.raises(Refused, match="closing"):
            background.keep(never())
        counts = background.statistics()
        assert (counts.running, counts.cancelled, counts.refused) == (0, 2, 2)

    run(main())


def test_it_has_the_trace_and_not_the_deadline(run: Run) -> None:
    """The request's deadline does not end what goes on behind it."""
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    async def look() -> tuple[float, str]:
        ambient = AMBIENT.get()
        assert ambient is not None
        return remaining(), ambient.traceparent

    async def main() -> None:
        AMBIENT.set(Carried(monotonic() - 1.0, trace))
        async with Background() as background:
            assert await background.keep(look()) == (inf, trace)
        assert remaining() == 0.0

    run(main())


def test_what_runs_has_time_to_end(run: Run) -> None:
    """Closing waits for it, and a background that was closed can be used again."""

    async def main() -> None:
        gate, ended = asyncio.Event(), []

        async def work() -> None:
            await gate.wait()
            ended.append(True)

        background = Background()
        for _ in range(2):
            async with background:
                background.keep(work())
                asyncio.get_running_loop().call_soon(gate.set)
        assert ended == [True, True]

    run(main())


def test_what_is_no_bound() -> None:
    """It is refused with what it must be."""
    with pytest.raises(ConfigurationError, match="at least 1"):
        Background(0)
