"""A call behind interceptors that is dropped is cancelled, and nothing is left of calls that were cancelled."""

import asyncio
import gc
import random
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import pytest
from grpc import StatusCode
from grpc.aio import EOF, AioRpcError

from hasten.rpc.channel._exchange import Exchange
from hasten.rpc.channel._interceptors import Interception
from hasten.rpc.channel._substitutes import EndedCall, IteratedCall
from hasten.rpc.channel._unary import UnaryUnaryCall
from hasten.rpc.channel._written import WrittenRequests
from tests.rpc.channel._interceptors import (
    CALLS,
    Continuation,
    Details,
    every_shape,
    intercepting,
    passing,
    with_responses,
    wrapping,
)
from tests.rpc.channel._service import (
    HOLD,
    Service,
    connected,
    every_stack,
    in_loops,
    outcome_of,
    responses,
    unary,
)
from tests.rpc.interop._stacks import Stack

KEPT_BY_CALLS = (Interception, WrittenRequests, IteratedCall, EndedCall, Exchange, UnaryUnaryCall)
PASSES = 20
"""Passes of the loop in which everything that was told to end does."""


# ---- calls that are dropped


@with_responses
@every_shape
@in_loops
async def test_dropped_in_mid_stream(kind: str, shape: Any) -> None:
    """A stream that nobody holds any more is cancelled, with done callbacks too (compare grpc/grpc#25449)."""
    service = Service()
    told: list[Any] = []

    async def look(continuation: Continuation, details: Details, request: Any) -> Any:
        call = await continuation(details, request)
        call.add_done_callback(told.append)
        return call

    async with connected(Stack.HASTEN, service, interceptors=intercepting(shape, look)) as channel:
        call = CALLS[kind](channel, HOLD)
        call.add_done_callback(told.append)
        if kind == "responses":
            async for response in call:
                assert response == b"first"
                break
        await service.until(lambda service: service.held == 1)
        del call
        gc.collect()
        await service.until(lambda service: service.cancelled == 1)
        assert [await each.code() for each in told] == [StatusCode.CANCELLED] * 2


@pytest.mark.parametrize("kind", ["responses", "requests", "both"])
@in_loops
async def test_dropped_before_the_call(kind: str) -> None:
    """A stream that is dropped while its interceptors work cancels them."""
    cancelled = asyncio.Event()

    async def hold(continuation: Continuation, details: Details, request: Any) -> Any:
        reached.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    reached = asyncio.Event()
    async with connected(Stack.HASTEN, Service(), interceptors=intercepting(hold)) as channel:
        call = CALLS[kind](channel)
        await reached.wait()
        del call
        gc.collect()
        await cancelled.wait()


@in_loops
async def test_an_iterator_that_is_dropped() -> None:
    """The interceptor's iterator is closed when its call is dropped, so that a span can end there."""
    closed = asyncio.Event()

    async def around(continuation: Continuation, details: Details, request: Any) -> Any:
        call = await continuation(details, request)

        async def traced() -> AsyncIterator[bytes]:
            try:
                async for response in call:
                    yield response
            finally:
                closed.set()

        return traced()

    async with connected(Stack.HASTEN, Service(), interceptors=intercepting(around)) as channel:
        call = responses(channel, HOLD)
        assert await call.read() == b"first"
        del call
        gc.collect()
        await closed.wait()


@every_stack
@in_loops
async def test_a_unary_call_that_is_dropped(stack: Stack) -> None:
    """A unary call that nobody awaits goes on, as one without interceptors, and its done callback is called."""
    service = Service()
    done = asyncio.Event()
    async with connected(stack, service, interceptors=intercepting(passing)) as channel:
        unary(channel, HOLD).add_done_callback(lambda _: done.set())
        await service.until(lambda service: service.held == 1)
        gc.collect()
        service.release()
        await done.wait()
        assert (service.ended, service.cancelled) == (1, 0)


# ---- and nothing is left


@in_loops
async def test_nothing_is_left() -> None:
    """After 300 calls, cancelled at random moments in random ways, no task, handler or object of theirs is left."""
    chance = random.Random(1)
    service = Service()

    async def dawdle(continuation: Continuation, details: Details, request: Any) -> Any:
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)
        call = await continuation(details, request)
        if chance.random() < 0.3:
            await call.initial_metadata()
        return call

    async with connected(Stack.HASTEN, service, interceptors=intercepting(wrapping, dawdle)) as channel:
        await channel.channel_ready()
        before = asyncio.all_tasks()
        for _ in range(300):
            await ended_somehow(chance.choice(list(CALLS.values()))(channel, HOLD), chance)
        gc.collect()
        await service.idle()
        for _ in range(PASSES):
            await asyncio.sleep(0)
        gc.collect()
        assert asyncio.all_tasks() - before == set()
        assert [each for each in gc.get_objects() if type(each) in KEPT_BY_CALLS] == []


async def ended_somehow(call: Any, chance: random.Random) -> None:
    """Cancel a call, or the task that waits for it, or drop it, a few loop passes on."""
    way = chance.choice(("cancel", "task", "drop"))
    waiting = asyncio.ensure_future(outcome_of(call)) if way == "task" or chance.random() < 0.5 else None
    for _ in range(chance.randrange(1, 12)):
        await asyncio.sleep(0)
    if way == "cancel" or (way == "drop" and isinstance(call, grpc.aio.UnaryUnaryCall)):
        call.cancel()
    if waiting is not None:
        waiting.cancel()
        await gathered(waiting)


@in_loops
async def test_after_cancellation_the_channel_works() -> None:
    """A channel whose calls were cancelled in mid-stream serves the next ones."""
    service = Service()
    async with connected(Stack.HASTEN, service, interceptors=intercepting(passing)) as channel:
        for _ in range(3):
            call = responses(channel, HOLD)
            assert await call.read() == b"first"
            call.cancel()
            with pytest.raises((asyncio.CancelledError, AioRpcError)):
                await call.read()
        last = responses(channel)
        assert [await last.read() for _ in range(3)] == [b"a", b"b", EOF]


async def gathered(*waiting: Any) -> list[Any]:
    """Wait for all; return what they came to."""
    return list(await asyncio.gather(*waiting, return_exceptions=True))
