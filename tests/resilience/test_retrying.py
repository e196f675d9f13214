"""Retries: as often as the policy says, within budget and deadline, of the errors that are named; never otherwise."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from hasten.resilience import DeadlineExceeded, Refused, Retry, RetryBudget, RetryPolicy, deadline

PLAIN = RetryPolicy(attempts=3, first_backoff=1.0, longest_backoff=10.0, jitter=0.0)


class Calls:
    """A function that fails by the errors it is given, one after the other, and then answers.

    Attributes:
      made: How often it was called.
    """

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.made = 0

    async def __call__(self, answer: int = 7) -> int:
        self.made += 1
        if self.errors:
            raise self.errors.pop(0)
        return answer


class Pauses:
    """Notes how long was waited, and does not wait."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def retry_of(pauses: Pauses, **settings: Any) -> Retry:
    return Retry(**{"policy": PLAIN, "on": ConnectionError, "sleep": pauses, "chance": lambda: 0.5, **settings})


async def by_decorator(retry: Retry, calls: Calls) -> int:
    @retry
    async def work(answer: int) -> int:
        return await calls(answer)

    return await work(7)


async def by_block(retry: Retry, calls: Calls) -> int:
    async for attempt in retry.attempts():
        with attempt:
            assert attempt.number == calls.made + 1
            found = await calls()
    return found


WAYS = pytest.mark.parametrize("way", [by_decorator, by_block])
Way = Callable[[Retry, Calls], Awaitable[int]]


def run(way: Way, retry: Retry, calls: Calls) -> int:
    async def scenario() -> int:
        return await way(retry, calls)

    return asyncio.run(scenario())


@WAYS
def test_what_fails_is_tried_again(way: Way) -> None:
    """After the policy's pauses, until it is answered."""
    pauses, calls = Pauses(), Calls(ConnectionError(), ConnectionResetError())
    assert run(way, retry_of(pauses), calls) == 7
    assert calls.made == 3
    assert pauses.seconds == [1.0, 2.0]


@WAYS
def test_the_last_error_is_raised(way: Way) -> None:
    """As it is, with a note that says why there was no further attempt."""
    last = ConnectionError("third")
    calls = Calls(ConnectionError("first"), ConnectionError("second"), last, ConnectionError("never"))
    with pytest.raises(ConnectionError) as raised:
        run(way, retry_of(Pauses()), calls)
    assert raised.value is last
    assert last.__notes__ == ["hasten: no attempt after number 3: it was the last"]


@WAYS
def test_other_errors_are_not_retried(way: Way) -> None:
    """Neither are cancellations."""
    for error in (ValueError(), KeyError()):
        calls = Calls(error)
        with pytest.raises(type(error)):
            run(way, retry_of(Pauses()), calls)
        assert calls.made == 1


@WAYS
def test_a_deadline_is_never_retried(way: Way) -> None:
    """Even where its error is one that is named."""
    calls = Calls(DeadlineExceeded())
    with pytest.raises(DeadlineExceeded):
        run(way, retry_of(Pauses(), on=Exception), calls)
    assert calls.made == 1


@WAYS
def test_no_pause_outlasts_the_deadline(way: Way) -> None:
    """Who would be too late is told at once."""
    pauses, calls = Pauses(), Calls(ConnectionError("why"))

    async def scenario() -> None:
        async with deadline(0.5):
            await way(retry_of(pauses), calls)

    with pytest.raises(ConnectionError) as raised:
        asyncio.run(scenario())
    assert raised.value.__notes__ == ["hasten: no attempt after number 1: the deadline comes before it"]
    assert pauses.seconds == []


@WAYS
def test_the_budget_bounds_all_calls(way: Way) -> None:
    """When all fail, a hundred calls are sent 100 times, a tenth of that more, and the reserve."""
    budget = RetryBudget(0.1, minimum_per_second=0.0, reserve=1.0)
    retry, made = retry_of(Pauses(), budget=budget), 0
    for _ in range(100):
        calls = Calls(*[ConnectionError() for _ in range(5)])
        with pytest.raises(ConnectionError):
            run(way, retry, calls)
        made += calls.made
    assert 105 <= made <= 100 + 10 + 1


@WAYS
def test_a_refusal_is_asked_again_when_it_says(way: Way) -> None:
    """Not before its `retry_after`, if it is named."""
    pauses, calls = Pauses(), Calls(Refused("breaker", "open", 4.0))
    assert run(way, retry_of(pauses, on=Refused), calls) == 7
    assert pauses.seconds == [4.0]


@WAYS
def test_a_cancellation_passes(way: Way) -> None:
    """At once, in an attempt."""

    class Stuck(Calls):
        async def __call__(self, answer: int = 7) -> int:
            self.made += 1
            await asyncio.Event().wait()
            return answer

    async def scenario() -> int:
        calls = Stuck()
        task = asyncio.ensure_future(way(retry_of(Pauses(), on=Exception), calls))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return calls.made

    assert asyncio.run(scenario()) == 1
