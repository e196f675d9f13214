"""Guards: each use begins and ends one piece of work, and tells how it ended."""

import asyncio
import inspect
import pickle

import pytest

from hasten.resilience import DeadlineExceeded, Refused
from hasten.resilience._guard import Guard
from tests.resilience.clocks import Clock


class Notes:
    """Admits all but what it is told to refuse, and notes."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.refuses = False
        self.ended: list[tuple[float, type[BaseException] | None]] = []
        self.under_way = 0

    def begin(self, now: float) -> None:
        if self.refuses:
            raise Refused("notes", "told to")
        self.under_way += 1

    def end(self, began: float, now: float, error: BaseException | None) -> None:
        self.under_way -= 1
        self.ended.append((now - began, None if error is None else type(error)))

    def guard(self) -> Guard:
        return Guard(self, self.clock)


@pytest.fixture
def notes() -> Notes:
    return Notes(Clock())


def test_a_block(notes: Notes) -> None:
    """It is told with its seconds, and its error, which passes."""
    with notes.guard():
        notes.clock.now += 2.0
        assert notes.under_way == 1
    with pytest.raises(ValueError, match="no"), notes.guard():
        raise ValueError("no")
    assert notes.ended == [(2.0, None), (0.0, ValueError)]


def test_blocks_beside_each_other(notes: Notes) -> None:
    """Each has its own time."""
    first, second = notes.guard(), notes.guard()
    first.__enter__()
    notes.clock.now += 1.0
    second.__enter__()
    notes.clock.now += 1.0
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    assert notes.ended == [(2.0, None), (1.0, None)]


def test_functions(notes: Notes) -> None:
    """Each call is one, of a coroutine function from its first step to its last."""

    @notes.guard()
    def work(number: int, *, more: int = 0) -> int:
        """Work."""
        notes.clock.now += 1.0
        if number < 0:
            raise KeyError
        return number + more

    @notes.guard()
    async def slow(number: int) -> int:
        await asyncio.sleep(0)
        notes.clock.now += 3.0
        if number < 0:
            raise KeyError
        return number

    assert (work.__name__, work.__doc__) == ("work", "Work.")
    assert inspect.iscoroutinefunction(slow)
    assert work(1, more=2) == 3
    assert asyncio.run(slow(4)) == 4
    with pytest.raises(KeyError):
        work(-1)
    with pytest.raises(KeyError):
        asyncio.run(slow(-1))
    assert notes.ended == [(1.0, None), (3.0, None), (1.0, KeyError), (3.0, KeyError)]


def test_a_call_that_is_cancelled(notes: Notes) -> None:
    """It has ended by its cancellation, which passes."""

    async def scenario() -> None:
        begun = asyncio.Event()

        @notes.guard()
        async def stuck() -> None:
            begun.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(stuck())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
    assert [kind for _, kind in notes.ended] == [asyncio.CancelledError]
    assert notes.under_way == 0


def test_what_is_refused_does_not_begin(notes: Notes) -> None:
    """Nothing of it runs, and no end is told."""
    notes.refuses = True
    ran = []

    @notes.guard()
    async def work() -> None:
        ran.append(1)

    with pytest.raises(Refused, match="notes: told to"):
        asyncio.run(work())
    with pytest.raises(Refused), notes.guard():
        ran.append(2)
    assert ran == []
    assert notes.ended == []


def test_a_refusal_survives_a_process_border() -> None:
    """It can be pickled, with its values."""
    refused = pickle.loads(pickle.dumps(Refused("limiter", "full", 0.25)))
    assert (refused.by, refused.reason, refused.retry_after) == ("limiter", "full", 0.25)
    assert str(refused) == "limiter: full; again in 0.25 s"
    assert not isinstance(refused, DeadlineExceeded)
