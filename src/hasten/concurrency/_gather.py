"""`gather` and `map_concurrent`: many calls, a limit on how many are under way, and no stray one when it ends."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from math import inf
from time import monotonic
from typing import Any, TypeVar, overload

from hasten._core.errors import ConfigurationError
from hasten.concurrency._calls import Calls
from hasten.resilience import deadline_at

A = TypeVar("A")
T = TypeVar("T")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")
T5 = TypeVar("T5")
Call = Coroutine[Any, Any, T]


@overload
def gather(first: Awaitable[T1], /, *, limit: int | None = None, timeout: float | None = None) -> Call[tuple[T1]]: ...
@overload
def gather(
    first: Awaitable[T1], second: Awaitable[T2], /, *, limit: int | None = None, timeout: float | None = None
) -> Call[tuple[T1, T2]]: ...
@overload
def gather(
    first: Awaitable[T1],
    second: Awaitable[T2],
    third: Awaitable[T3],
    /,
    *,
    limit: int | None = None,
    timeout: float | None = None,
) -> Call[tuple[T1, T2, T3]]: ...
@overload
def gather(
    first: Awaitable[T1],
    second: Awaitable[T2],
    third: Awaitable[T3],
    fourth: Awaitable[T4],
    /,
    *,
    limit: int | None = None,
    timeout: float | None = None,
) -> Call[tuple[T1, T2, T3, T4]]: ...
@overload
def gather(
    first: Awaitable[T1],
    second: Awaitable[T2],
    third: Awaitable[T3],
    fourth: Awaitable[T4],
    fifth: Awaitable[T5],
    /,
    *,
    limit: int | None = None,
    timeout: float | None = None,
) -> Call[tuple[T1, T2, T3, T4, T5]]: ...
@overload
def gather(
    *awaitables: Awaitable[T], limit: int | None = None, timeout: float | None = None
) -> Call[tuple[T, ...]]: ...
async def gather(
    *awaitables: Awaitable[Any],
    limit: int | None = None,
    timeout: float | None = None,  # noqa: ASYNC109 - what asyncio.timeout does not do: it is a part of the ambient deadline
) -> tuple[Any, ...]:
    """Return the results of all, in their order; when one fails, cancel the others, wait for them, and raise its error.

        product, stock, reviews = await gather(load(7), level(7), ratings(7), timeout=0.2)

    As asyncio.gather, with three differences. Nothing is left behind: when it returns or raises, none of the calls runs
    any more, as with a TaskGroup. The first error itself is raised, not a group; others stand in its notes. And they
    end by the ambient deadline, or `timeout` seconds, whichever is earlier.

    Args:
      awaitables: Coroutines, tasks, futures; the same one twice has its result twice.
      limit: At most so many coroutines are under way; all unless told.
      timeout: Seconds for all together.
    Raises:
      DeadlineExceeded: the deadline has passed.
      ConfigurationError: `limit` is below 1.
    Cancellation: cancels all, and has waited for them when it comes out. Coroutines that were not begun are closed.
    """
    unique = {id(each): each for each in awaitables}
    calls = iter(unique.values())
    try:
        _check(limit, "gather")
        async with deadline_at(inf if timeout is None else monotonic() + timeout):
            results = dict(zip(unique, await Calls(calls, limit or inf, made=True).results(), strict=True))
    finally:
        _drop(calls)
    return tuple([results[id(each)] for each in awaitables])


def _drop(calls: Iterator[Awaitable[Any]]) -> None:
    """End calls that were not begun, because there was no time for any."""
    for call in calls:
        if asyncio.isfuture(call):
            call.cancel()
        elif asyncio.iscoroutine(call):
            call.close()


async def map_concurrent(
    function: Callable[[A], Awaitable[T]],
    items: Iterable[A],
    *,
    limit: int,
    timeout: float | None = None,  # noqa: ASYNC109 - as gather's
) -> list[T]:
    """Return what `function` returns for each item, in their order, with at most `limit` calls under way.

        levels = await map_concurrent(level, products, limit=20)

    Items are taken as there is room, so that a million of them are no million tasks. When a call fails, the others are
    cancelled and waited for, and its error is raised. A call costs 3.6 µs on uvloop and 6.4 on asyncio, where
    asyncio.gather behind a Semaphore takes 12.9 and 14.6, aiometer 28 and 33, and an anyio task group with a
    CapacityLimiter 80, of which each has all tasks at once but aiometer (CPU, 20,000 items, 50 under way).

    Args:
      limit: What the other side can do with, not what this one can.
      timeout: Seconds for all together; the ambient deadline holds, too.
    Raises:
      DeadlineExceeded: the deadline has passed.
      ConfigurationError: `limit` is below 1.
    Cancellation: cancels all, and has waited for them when it comes out.
    """
    _check(limit, "map_concurrent")
    async with deadline_at(inf if timeout is None else monotonic() + timeout):
        return await Calls(map(function, items), limit, made=False).results()


def _check(limit: int | None, name: str) -> None:
    if limit is not None and limit < 1:
        raise ConfigurationError(f"{name}(limit={limit})", "must be at least 1")
