"""Calls together with what asyncio has for awaitables, and with callbacks, on either stack."""

import asyncio
from typing import Any

import pytest

from tests.rpc.channel._service import (
    HOLD,
    KINDS,
    Service,
    connected,
    every_kind,
    every_stack,
    in_loops,
    outcome_of,
    requests,
    unary,
)
from tests.rpc.interop._stacks import Stack


@every_stack
@every_kind
@in_loops
async def test_done_callbacks(stack: Stack, kind: str) -> None:
    """Callbacks get the call once it is over, at once when it is over already."""
    async with connected(stack, Service()) as channel:
        told: list[tuple[str, bool]] = []
        both_told = asyncio.Event()
        call = KINDS[kind](channel)
        call.add_done_callback(lambda ended: told.append(("first", ended is call)))
        call.add_done_callback(lambda _: both_told.set())
        await outcome_of(call)
        await both_told.wait()
        call.add_done_callback(lambda ended: told.append(("late", ended is call)))
        assert told == [("first", True), ("late", True)]


@every_stack
@in_loops
async def test_in_asyncio_s_tools(stack: Stack) -> None:
    """A call is an awaitable like others: gather, wait_for, TaskGroup, shield and timeout do with it what they do."""
    async with connected(stack, service := Service()) as channel:
        gathered = asyncio.gather(unary(channel), unary(channel, b"b"), requests(channel, b"c"))
        assert list(await gathered) == [b"a", b"b", b"c"]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(outcome_of(unary(channel, b"%d" % number))) for number in range(3)]
        assert [task.result() for task in tasks] == [[b"0"], [b"1"], [b"2"]]
        for make in (unary, requests):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(make(channel, HOLD), 0.02)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await make(channel, HOLD)
        await service.idle()
        call = unary(channel, HOLD)
        inner = asyncio.ensure_future(call)
        shield = asyncio.shield(inner)
        await service.until(lambda service: service.held == 1)
        shield.cancel()
        assert not call.done()
        service.release()
        assert await inner == HOLD


@every_stack
@in_loops
async def test_a_failing_task_group_cancels_its_calls(stack: Stack) -> None:
    """When one task of a group fails, the calls of the others are cancelled at their servers."""
    async with connected(stack, service := Service()) as channel:

        async def fail() -> None:
            await service.until(lambda service: service.held == 2)
            raise ValueError("no")

        async def group_of_three() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(outcome_of(unary(channel, HOLD)))
                group.create_task(outcome_of(requests(channel, HOLD)))
                group.create_task(fail())

        with pytest.raises(ExceptionGroup):
            await group_of_three()
        await service.until(lambda service: service.cancelled == 2)


@every_kind
@in_loops
async def test_a_callback_that_raises(kind: str) -> None:
    """A callback's error goes to the loop's exception handler; neither its call nor others suffer from it."""

    def fail(_: Any) -> None:
        raise LookupError("mine")

    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))
    async with connected(Stack.HASTEN, service := Service()) as channel:
        other = unary(channel, HOLD)
        await service.until(lambda service: service.held == 1)
        call = KINDS[kind](channel)
        call.add_done_callback(fail)
        await outcome_of(call)
        service.release()
        assert await other == HOLD
    assert [type(error) for error in reported] == [LookupError]
