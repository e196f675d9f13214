"""A hedged call: the answer that comes first counts, the other attempt ends, and nothing else changes."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from hasten._core.ambient import AMBIENT, Carried
from hasten.resilience import DeadlineExceeded, Hedge, RetryBudget, deadline
from tests.conftest import LoopFactory


class Replicas:
    """A function whose attempts are given what they do: an answer, an error, or an event to be waited for before.

    Attributes:
      begun, ended: Attempts, by their number.
    """

    def __init__(self, *plans: Any) -> None:
        self.plans = list(plans)
        self.begun: list[int] = []
        self.ended: list[int] = []
        self.cancelled: list[int] = []

    async def __call__(self) -> int:
        number = len(self.begun)
        self.begun.append(number)
        try:
            for step in self.plans[number]:
                if isinstance(step, asyncio.Event):
                    await step.wait()
                elif isinstance(step, BaseException):
                    raise step
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise
        finally:
            self.ended.append(number)
        return number


def warm(budget: RetryBudget | None = None) -> Hedge:
    """Return a trigger that has seen quick calls: it hedges after a millisecond."""
    hedge = Hedge(budget or RetryBudget())
    for _ in range(16):
        hedge.record(0.0001)
    return hedge


def run(main: Callable[[], Awaitable[None]], loop_factory: LoopFactory | None = None) -> None:
    async def scenario() -> None:
        await main()
        await asyncio.sleep(0)
        assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())


def test_one_that_is_answered_in_time(loop_factory: LoopFactory) -> None:
    """It is not sent twice."""

    async def main() -> None:
        replicas = Replicas(())
        assert await warm()(replicas)() == 0
        assert replicas.begun == [0]

    run(main, loop_factory)


def test_a_slow_one_is_sent_twice(loop_factory: LoopFactory) -> None:
    """The second answers, and the first is cancelled, its cleanup done, before that is returned."""

    async def main() -> None:
        replicas = Replicas((asyncio.Event(),), ())
        assert await warm()(replicas)() == 1
        assert (replicas.begun, replicas.cancelled, replicas.ended) == ([0, 1], [0], [1, 0])
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    run(main, loop_factory)


def test_the_first_may_still_win() -> None:
    """Then the second is cancelled."""

    async def main() -> None:
        sent, never = asyncio.Event(), asyncio.Event()
        replicas = Replicas((sent,), (never,))
        task = asyncio.ensure_future(warm()(replicas)())
        while len(replicas.begun) < 2:
            await asyncio.sleep(0)
        sent.set()
        assert await task == 0
        await asyncio.sleep(0)
        assert replicas.cancelled == [1]

    run(main)


def test_a_first_that_fails() -> None:
    """Before the hedge is sent its error is raised at once; afterwards the hedge's answer counts."""

    async def main() -> None:
        replicas = Replicas((OSError("at once"),))
        with pytest.raises(OSError, match="at once"):
            await warm()(replicas)()
        fails, answers = asyncio.Event(), asyncio.Event()
        replicas = Replicas((fails, OSError("later")), (answers,))
        task = asyncio.ensure_future(warm()(replicas)())
        while len(replicas.begun) < 2:
            await asyncio.sleep(0)
        fails.set()
        for _ in range(5):
            await asyncio.sleep(0)
        assert not task.done()
        answers.set()
        assert await task == 1

    run(main)


def test_both_fail() -> None:
    """The first one's error is raised, whichever came first."""

    async def main() -> None:
        fails = asyncio.Event()
        replicas = Replicas((fails, OSError("first")), (ValueError("second"),))
        task = asyncio.ensure_future(warm()(replicas)())
        while len(replicas.ended) < 1:
            await asyncio.sleep(0)
        assert not task.done()
        fails.set()
        with pytest.raises(OSError, match="first"):
            await task

    run(main)


def test_without_budget_it_is_not_sent_twice() -> None:
    """It is waited for as without a hedge."""

    async def main() -> None:
        budget = RetryBudget(0.0, minimum_per_second=0.0, reserve=1.0)
        assert budget.try_withdraw()
        event = asyncio.Event()
        replicas = Replicas((event,), ())
        task = asyncio.ensure_future(warm(budget)(replicas)())
        while not budget.statistics().refused:
            await asyncio.sleep(0)
        event.set()
        assert await task == 0

    run(main)


def test_the_hedge_carries_what_the_call_carries() -> None:
    """Its deadline and its trace."""

    async def main() -> None:
        seen = []

        @warm()
        async def call() -> int:
            ambient = AMBIENT.get()
            seen.append(None if ambient is None else ambient.traceparent)
            if len(seen) == 1:
                await asyncio.Event().wait()
            return len(seen)

        AMBIENT.set(Carried(1e9, "00-trace"))
        assert await call() == 2
        assert seen == ["00-trace"] * 2

    run(main)


@pytest.mark.parametrize("hedged", [False, True])
def test_a_cancellation_ends_both(*, hedged: bool) -> None:
    """And passes."""

    async def main() -> None:
        replicas = Replicas((asyncio.Event(),), (asyncio.Event(),))
        task = asyncio.ensure_future(warm()(replicas)())
        while len(replicas.begun) < 1 + hedged:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
        assert replicas.cancelled == [0, 1][: 1 + hedged]

    run(main)


def test_a_deadline_ends_both() -> None:
    """As its error."""

    async def main() -> None:
        replicas = Replicas((asyncio.Event(),), (asyncio.Event(),))
        with pytest.raises(DeadlineExceeded):
            async with deadline(0.02):
                await warm()(replicas)()
        await asyncio.sleep(0)
        assert sorted(replicas.ended) == sorted(replicas.begun)

    run(main)


@pytest.mark.parametrize("seed", range(10))
def test_random_ends(seed: int) -> None:
    """Of a thousand calls that end and are cancelled at any moment each has its own outcome, and none is left."""

    async def main() -> None:
        source, hedge = random.Random(seed), Hedge(RetryBudget(10.0, reserve=1000), shortest=0.0)
        for _ in range(16):
            hedge.record(1e-6)

        @hedge
        async def call(number: int) -> int:
            for _ in range(source.randrange(6)):
                await asyncio.sleep(0)
            if source.random() < 0.2:
                raise OSError(number)
            return number

        tasks = []
        for number in range(1000):
            tasks.append(asyncio.ensure_future(call(number)))
            if source.random() < 0.3:
                await asyncio.sleep(0)
            if source.random() < 0.2:
                source.choice(tasks).cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for number, outcome in enumerate(outcomes):
            if isinstance(outcome, OSError):
                assert outcome.args == (number,)
            else:
                assert outcome == number or isinstance(outcome, asyncio.CancelledError)

    run(main)
