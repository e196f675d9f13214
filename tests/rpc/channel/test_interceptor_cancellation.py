"""Cancellation passes through interceptors in every phase of a call, and a call that is dropped leaves nothing."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import pytest
from grpc import StatusCode

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
)
from tests.rpc.channel._service import (
    BOTH,
    HOLD,
    REQUESTS,
    Service,
    connected,
    every_kind,
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
WORDS = "Locally cancelled by application!"


class Holding:
    """An interceptor that waits: before the call, or with it."""

    def __init__(self, *, calls_first: bool = False) -> None:
        self.reached = asyncio.Event()
        self.calls: list[Any] = []
        self._calls_first = calls_first

    async def __call__(self, continuation: Continuation, details: Details, request: Any) -> Any:
        if self._calls_first:
            self.calls.append(await continuation(details, request))
        self.reached.set()
        await asyncio.Event().wait()


async def waiting_for(call: Any, service: Service) -> "asyncio.Task[Any]":
    """Return a task that waits for a response while the server waits at HOLD.

    Nothing is on its way then: grpc.aio may miss a cancellation while a response comes.
    """
    if isinstance(call, grpc.aio.UnaryStreamCall):
        assert await call.read() == b"first"
    await service.until(lambda service: service.held == 1)
    waiting: asyncio.Task[Any] = asyncio.ensure_future(outcome_of(call))
    await asyncio.sleep(0)
    return waiting


# ---- by cancel()


@every_stack
@every_kind
@in_loops
async def test_while_the_interceptor_works(stack: Stack, kind: str) -> None:
    """A call cancelled before its interceptors made one is never sent, and looks as any cancelled call."""
    holding, service = Holding(), Service()
    async with connected(stack, service, interceptors=intercepting(passing, holding)) as channel:
        call = CALLS[kind](channel)
        told = asyncio.Event()
        call.add_done_callback(lambda it: told.set() if it is call else None)
        await holding.reached.wait()
        assert (call.done(), call.cancelled()) == (False, False)
        assert call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await outcome_of(call)
        await told.wait()
        assert (call.done(), call.cancelled(), call.cancel()) == (True, True, False)
        assert (await call.code(), await call.details()) == (StatusCode.CANCELLED, WORDS)
        assert tuple(await call.initial_metadata() or ()) == tuple(await call.trailing_metadata() or ()) == ()
    assert service.calls == []


@every_stack
@every_kind
@in_loops
async def test_before_the_first_step(stack: Stack, kind: str) -> None:
    """A call may be cancelled as soon as it is made."""
    service = Service()
    async with connected(stack, service, interceptors=intercepting(passing)) as channel:
        call = CALLS[kind](channel)
        assert call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await outcome_of(call)
        assert (call.cancelled(), await call.code()) == (True, StatusCode.CANCELLED)
    assert service.calls == []


@every_stack
@every_kind
@every_shape
@in_loops
async def test_while_the_server_works(stack: Stack, kind: str, shape: Any) -> None:
    """A call cancelled while the server works ends at once, and the server is told."""
    service = Service()
    async with connected(stack, service, interceptors=intercepting(shape, shape)) as channel:
        call = CALLS[kind](channel, HOLD)
        told = asyncio.Event()
        call.add_done_callback(lambda it: told.set() if it is call else None)
        waiting = await waiting_for(call, service)
        assert call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await told.wait()
        assert (call.done(), call.cancelled(), call.cancel()) == (True, True, False)
        assert (await call.code(), await call.details()) == (StatusCode.CANCELLED, WORDS)
        await service.until(lambda service: service.cancelled == 1)


@every_kind
@in_loops
async def test_while_the_interceptor_holds_the_call(kind: str) -> None:
    """The server is told too when the interceptor has begun the call, and waits for something else than its end."""
    holding, service = Holding(calls_first=True), Service()
    async with connected(Stack.HASTEN, service, interceptors=intercepting(holding)) as channel:
        call = CALLS[kind](channel, HOLD)
        await service.until(lambda service: service.held == 1)
        assert call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await outcome_of(call)
        await service.until(lambda service: service.cancelled == 1)
        assert [inner.cancelled() for inner in holding.calls] == [True]


@every_stack
@every_kind
@every_shape
@in_loops
async def test_when_all_is_over(stack: Stack, kind: str, shape: Any) -> None:
    """Cancelling a call that is over changes nothing."""
    async with connected(stack, Service(), interceptors=intercepting(shape)) as channel:
        call = CALLS[kind](channel)
        await outcome_of(call)
        assert await call.code() is StatusCode.OK
        assert (call.cancel(), call.cancelled(), await call.code()) == (False, False, StatusCode.OK)


@every_stack
@in_loops
async def test_an_interceptor_that_answers_all_the_same(stack: Stack) -> None:
    """An interceptor may answer when it is cancelled; the call is then not cancelled."""

    async def insist(continuation: Continuation, details: Details, request: Any) -> Any:
        try:
            return await (await continuation(details, request))
        except asyncio.CancelledError:
            return b"cached"

    service = Service()
    async with connected(stack, service, interceptors=intercepting(insist)[:1]) as channel:
        call = unary(channel, HOLD)
        await service.until(lambda service: service.held == 1)
        assert call.cancel()
        assert await call == b"cached"
        assert (call.cancelled(), await call.code()) == (False, StatusCode.OK)
        await service.until(lambda service: service.cancelled == 1)


@every_stack
@in_loops
async def test_an_interceptor_that_cancels(stack: Stack) -> None:
    """An interceptor that cancels its call cancels the caller's."""

    async def refuse(continuation: Continuation, details: Details, request: Any) -> Any:
        call = await continuation(details, request)
        call.cancel()
        return call

    async with connected(stack, Service(), interceptors=intercepting(passing, refuse)) as channel:
        for make in CALLS.values():
            call = make(channel, HOLD)
            with pytest.raises(asyncio.CancelledError):
                await outcome_of(call)
            assert (call.cancelled(), await call.code()) == (True, StatusCode.CANCELLED)


# ---- by the task that waits


@every_stack
@every_kind
@in_loops
async def test_the_waiting_task_before_the_call(stack: Stack, kind: str) -> None:
    """Cancelling the task that waits for the responses cancels the interceptors."""
    holding, service = Holding(), Service()
    async with connected(stack, service, interceptors=intercepting(holding)) as channel:
        call = CALLS[kind](channel)
        waiting = asyncio.ensure_future(outcome_of(call))
        await holding.reached.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (call.cancelled(), await call.code()) == (True, StatusCode.CANCELLED)
    assert service.calls == []


@every_stack
@every_kind
@every_shape
@in_loops
async def test_the_waiting_task(stack: Stack, kind: str, shape: Any) -> None:
    """Cancelling the task that waits for the responses cancels the call, on the server too."""
    service = Service()
    async with connected(stack, service, interceptors=intercepting(shape)) as channel:
        call = CALLS[kind](channel, HOLD)
        waiting = await waiting_for(call, service)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (await call.code(), call.cancelled()) == (StatusCode.CANCELLED, True)
        await service.until(lambda service: service.cancelled == 1)


@every_kind
@in_loops
async def test_who_waits_for_the_interceptors_response(kind: str) -> None:
    """The server is told when an interceptor waits for the status of its call, as OpenTelemetry's do."""

    async def wait(continuation: Continuation, details: Details, request: Any) -> Any:
        call = await continuation(details, request)
        await call.code()
        return call

    service = Service()
    async with connected(Stack.HASTEN, service, interceptors=intercepting(passing, wait)) as channel:
        waiting = asyncio.ensure_future(outcome_of(CALLS[kind](channel, HOLD)))
        await service.until(lambda service: service.held == 1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await service.until(lambda service: service.cancelled == 1)


@every_kind
@in_loops
async def test_who_asks_only(kind: str) -> None:
    """Cancelling a task that asks for status or metadata leaves the call alone, in each phase."""
    go = asyncio.Event()

    async def hold(continuation: Continuation, details: Details, request: Any) -> Any:
        await go.wait()
        return await continuation(details, request)

    service = Service()
    async with connected(Stack.HASTEN, service, interceptors=intercepting(hold)) as channel:
        call = CALLS[kind](channel, HOLD)
        for phase in (1, 2):
            asking = [asyncio.ensure_future(ask()) for ask in (call.code, call.details, call.trailing_metadata)]
            await asyncio.sleep(0)
            for each in asking:
                each.cancel()
            assert all(isinstance(each, asyncio.CancelledError) for each in await gathered(*asking))
            if phase == 1:
                go.set()
                await service.until(lambda service: service.held == 1)
        service.release()
        assert HOLD in await outcome_of(call)


async def gathered(*waiting: Any) -> list[Any]:
    """Wait for all; return what they came to."""
    return list(await asyncio.gather(*waiting, return_exceptions=True))


# ---- iterators of the interceptor's own


@with_responses
@in_loops
async def test_an_iterator_between_two_attempts(kind: str) -> None:
    """A cancelled call wakes who reads while the interceptor's iterator waits for something else than a call."""
    pausing = asyncio.Event()

    async def again(continuation: Continuation, details: Details, request: Any) -> Any:
        async def attempts() -> AsyncIterator[bytes]:
            call = await continuation(details, request)
            async for response in call:
                yield response
            pausing.set()
            await asyncio.Event().wait()

        return attempts()

    async with connected(Stack.HASTEN, Service(), interceptors=intercepting(again)) as channel:
        call = CALLS[kind](channel)
        reading = asyncio.ensure_future(reading_on(call))
        await pausing.wait()
        assert call.cancel()
        assert await reading == 0
        assert (call.cancelled(), call.cancel(), await call.code()) == (True, False, StatusCode.CANCELLED)


async def reading_on(call: Any) -> int:
    """Read until the call is cancelled; return how many cancellations the task itself has then."""
    task = asyncio.current_task()
    assert task is not None
    with pytest.raises(asyncio.CancelledError):
        await outcome_of(call)
    return task.cancelling()


@with_responses
@in_loops
async def test_an_iterator_without_a_call(kind: str) -> None:
    """A call whose iterator makes none is cancelled as others are, read or unread."""

    async def invent(continuation: Continuation, details: Details, request: Any) -> Any:
        async def nothing() -> AsyncIterator[bytes]:
            await asyncio.Event().wait()
            yield b""

        return nothing()

    async with connected(Stack.HASTEN, Service(), interceptors=intercepting(invent)) as channel:
        unread, read = CALLS[kind](channel), CALLS[kind](channel)
        reading = asyncio.ensure_future(reading_on(read))
        for call in (unread, read):
            code = asyncio.ensure_future(call.code())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert call.cancel()
            assert await code is StatusCode.CANCELLED
            assert (call.cancelled(), call.cancel()) == (True, False)
        assert await reading == 0
        for call in (unread, read):
            with pytest.raises(asyncio.CancelledError):
                await call.read()


@in_loops
async def test_an_iterator_of_two_calls() -> None:
    """All calls whose responses an iterator brings together are cancelled, not only the newest."""

    async def twice(continuation: Continuation, details: Details, request: Any) -> Any:
        calls = [await continuation(details, request) for _ in range(2)]

        async def joined() -> AsyncIterator[bytes]:
            for call in calls:
                async for response in call:
                    yield response

        return joined()

    service = Service()
    async with connected(Stack.HASTEN, service, interceptors=intercepting(twice)) as channel:
        call = responses(channel, HOLD)
        assert await call.read() == b"first"
        await service.until(lambda service: service.held == 2)
        assert call.cancel()
        await service.until(lambda service: service.cancelled == 2)


# ---- writers


@every_stack
@pytest.mark.parametrize("path", [REQUESTS, BOTH], ids=["requests", "both"])
@in_loops
async def test_a_writer_whose_call_is_cancelled(stack: Stack, path: str) -> None:
    """A write that waits when the call is cancelled says that the call is over."""
    holding = Holding()
    async with connected(stack, Service(), interceptors=intercepting(holding)) as channel:
        call: Any = channel.stream_unary(path)() if path == REQUESTS else channel.stream_stream(path)()
        writing = asyncio.ensure_future(call.write(b"a"))
        await holding.reached.wait()
        call.cancel()
        with pytest.raises(asyncio.InvalidStateError, match="finished"):
            await writing


@in_loops
async def test_a_writer_that_is_cancelled() -> None:
    """A write that is cancelled before its request is taken withdraws it; the call goes on."""
    go = asyncio.Event()

    async def hold(continuation: Continuation, details: Details, request: Any) -> Any:
        await go.wait()
        return await continuation(details, request)

    async with connected(Stack.HASTEN, Service(), interceptors=intercepting(hold)) as channel:
        call: Any = channel.stream_unary(REQUESTS)()
        writing = asyncio.ensure_future(call.write(b"withdrawn"))
        await asyncio.sleep(0)
        writing.cancel()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await writing
        await call.write(b"sent")
        await call.done_writing()
        assert await call == b"sent"
