"""What users hold when interceptors stand before a call behaves as grpc.aio's, and where that fails, as documented."""

import asyncio
import math
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError, Metadata

from tests.rpc.channel._interceptors import (
    CALLS,
    ECHOED,
    Continuation,
    Details,
    OfUnary,
    intercepting,
    passing,
    wrapping,
)
from tests.rpc.channel._service import (
    FAIL,
    FAILURE,
    HOLD,
    INITIAL,
    REQUESTS,
    TRAILING,
    Service,
    connected,
    every_kind,
    every_stack,
    failure_of,
    in_loops,
    outcome_of,
    scripted,
    unary,
)
from tests.rpc.interop._stacks import Stack

# ---- what they return


@every_stack
@in_loops
async def test_response_without_a_call(stack: Stack) -> None:
    """A unary interceptor may answer by itself: the call is over, well, and nothing is sent."""

    async def answer(continuation: Continuation, details: Details, request: Any) -> Any:
        return b"cached " + request

    async def outer(continuation: Continuation, details: Details, request: Any) -> Any:
        call = await continuation(details, request)
        assert isinstance(call, grpc.aio.UnaryUnaryCall)
        assert call.done()
        return b"outer " + await call

    service = Service()
    async with connected(stack, service, interceptors=[OfUnary(outer), OfUnary(answer)]) as channel:
        call = unary(channel)
        assert await call == await call == b"outer cached a"
        assert (call.done(), call.cancelled(), call.cancel()) == (True, False, False)
        assert (await call.code(), await call.details()) == (StatusCode.OK, "")
        assert tuple(await call.initial_metadata() or ()) == tuple(await call.trailing_metadata() or ()) == ()
        await call.wait_for_connection()
    assert service.calls == []


@in_loops
async def test_response_to_a_stream_of_requests() -> None:
    """An interceptor may answer a stream of requests by itself too; a write then says that the call is over."""

    async def answer(continuation: Continuation, details: Details, request: Any) -> Any:
        return b"cached"

    async with connected(Stack.HASTEN, Service(), interceptors=intercepting(answer)) as channel:
        call: Any = channel.stream_unary(REQUESTS)()
        with pytest.raises(asyncio.InvalidStateError, match="finished"):
            await call.write(b"a")
        assert await call == b"cached"
        await call.done_writing()


@every_stack
@in_loops
async def test_retries(stack: Stack) -> None:
    """An interceptor may go on several times; the call is the one that it returns."""
    attempts: list[Any] = []

    async def again(continuation: Continuation, details: Details, request: Any) -> Any:
        while True:
            call = await continuation(details, request)
            attempts.append(call)
            if await call.code() is StatusCode.OK:
                return call

    service = Service(scripted(StatusCode.UNAVAILABLE, StatusCode.ABORTED, None))
    async with connected(stack, service, interceptors=intercepting(again)) as channel:
        call = unary(channel)
        assert await call == b"a"
        assert await call.code() is StatusCode.OK
    assert len(attempts) == len(service.calls) == 3


# ---- failures


@every_stack
@every_kind
@in_loops
async def test_status_raised(stack: Stack, kind: str) -> None:
    """An interceptor that raises a status ends the call with it."""

    async def refuse(continuation: Continuation, details: Details, request: Any) -> Any:
        raise AioRpcError(StatusCode.PERMISSION_DENIED, Metadata(("i", "1")), Metadata(("t", "2")), "no", "why")

    service = Service()
    async with connected(stack, service, interceptors=intercepting(passing, refuse)) as channel:
        call = CALLS[kind](channel)
        told: list[Any] = []
        call.add_done_callback(told.append)
        assert (await failure_of(outcome_of(call))).code() is StatusCode.PERMISSION_DENIED
        assert (await call.code(), await call.details()) == (StatusCode.PERMISSION_DENIED, "no")
        assert await call.debug_error_string() == "why"
        assert (await call.initial_metadata(), await call.trailing_metadata()) == (
            Metadata(("i", "1")),
            Metadata(("t", "2")),
        )
        assert (call.done(), call.cancelled(), call.cancel()) == (True, False, False)
        assert told == [call]
        call.add_done_callback(told.append)
        assert told == [call, call]
        assert (await failure_of(call.wait_for_connection())).details() == "no"
    assert service.calls == []


@every_stack
@every_kind
@in_loops
async def test_error_raised(stack: Stack, kind: str) -> None:
    """An error of the interceptor's own comes out where the caller waits, whatever he waits for."""

    async def fail(continuation: Continuation, details: Details, request: Any) -> Any:
        raise LookupError("mine")

    async with connected(stack, Service(), interceptors=intercepting(fail)) as channel:
        call = CALLS[kind](channel)
        with pytest.raises(LookupError, match="mine"):
            await outcome_of(call)
        for ask in (call.code, call.details, call.initial_metadata, call.trailing_metadata, call.wait_for_connection):
            with pytest.raises(LookupError, match="mine"):
                await ask()
        assert (call.done(), call.cancelled(), call.cancel()) == (True, False, False)


@in_loops
async def test_error_leaves_no_call_open() -> None:
    """A call that an interceptor had begun when it failed is cancelled: nobody is left to take its response."""

    async def fail(continuation: Continuation, details: Details, request: Any) -> Any:
        kept.append(await continuation(details, request))
        raise LookupError("mine")

    kept: list[Any] = []
    service = Service()
    async with connected(Stack.HASTEN, service, interceptors=intercepting(fail)) as channel:
        for call in CALLS.values():
            with pytest.raises(LookupError):
                await outcome_of(call(channel, HOLD))
        assert all(call.cancelled() for call in kept)
        await service.idle()


@every_stack
@every_kind
@in_loops
async def test_failure_of_the_call(stack: Stack, kind: str) -> None:
    """A failed call passes through with status and metadata, which an interceptor can read as well."""
    seen: list[Any] = []

    async def look(continuation: Continuation, details: Details, request: Any) -> Any:
        call = await continuation(details, request)
        if hasattr(call, "__await__"):
            seen.append((await call.code(), await call.details()))
            seen.append(tuple(await call.trailing_metadata()))
        seen.append(tuple(await call.initial_metadata()))
        return call

    async with connected(stack, Service(), interceptors=intercepting(look)) as channel:
        call = CALLS[kind](channel, FAIL)
        error = await failure_of(outcome_of(call))
        assert (error.code(), error.details()) == (await call.code(), await call.details()) == FAILURE
        assert tuple(await call.initial_metadata()) == INITIAL
        assert tuple(await call.trailing_metadata()) == TRAILING
    assert seen == ([FAILURE, TRAILING, INITIAL] if kind in {"unary", "requests"} else [INITIAL])


# ---- done callbacks


@every_stack
@every_kind
@in_loops
async def test_done_callbacks(stack: Stack, kind: str) -> None:
    """A done callback is called once, when the call is over, with the call that it was added to."""
    inner: list[Any] = []
    told_inner: list[Any] = []

    async def watch(continuation: Continuation, details: Details, request: Any) -> Any:
        call = await continuation(details, request)
        call.add_done_callback(told_inner.append)
        inner.append(call)
        return call

    service = Service()
    async with connected(stack, service, interceptors=intercepting(watch)) as channel:
        call = CALLS[kind](channel, HOLD)
        told: asyncio.Queue[Any] = asyncio.Queue()
        call.add_done_callback(told.put_nowait)
        await service.until(lambda service: service.held == 1)
        call.add_done_callback(told.put_nowait)
        assert (told.qsize(), call.done()) == (0, False)
        service.release()
        await outcome_of(call)
        assert [await told.get(), await told.get(), call.done()] == [call, call, True]
        call.add_done_callback(told.put_nowait)
        assert told.get_nowait() is call
    assert told_inner == inner


@in_loops
async def test_done_callback_of_a_response() -> None:
    """A done callback on an answer without a call is called too, where grpc.aio's outer interceptors get an error."""
    told: list[Any] = []

    async def answer(continuation: Continuation, details: Details, request: Any) -> Any:
        return b"cached"

    async def watch(continuation: Continuation, details: Details, request: Any) -> Any:
        call = await continuation(details, request)
        call.add_done_callback(told.append)
        return call

    async with connected(Stack.HASTEN, Service(), interceptors=[OfUnary(watch), OfUnary(answer)]) as channel:
        assert await unary(channel) == b"cached"
    assert [call.done() for call in told] == [True]


@every_kind
@in_loops
async def test_done_callback_that_raises(kind: str) -> None:
    """A done callback that raises goes to the loop's exception handler; other callbacks and calls are not touched."""
    told: list[Any] = []
    problems: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context["exception"]))

    def fail(call: Any) -> None:
        raise LookupError(repr(call))

    async with connected(Stack.HASTEN, Service(), interceptors=intercepting(passing)) as channel:
        call = CALLS[kind](channel)
        call.add_done_callback(fail)
        call.add_done_callback(told.append)
        assert await outcome_of(call) == await outcome_of(CALLS[kind](channel)) == ECHOED[kind]
        call.add_done_callback(fail)
    assert told == [call]
    assert [f"{type(call).__name__} Channel." in str(each) for each in problems] == [True, True]


@in_loops
async def test_no_cycles() -> None:
    """A call that is over is freed with its last reference, without a garbage collection."""
    freed: list[str] = []

    class Watched:
        def __init__(self, name: str) -> None:
            self.name = name

        def __del__(self) -> None:
            freed.append(self.name)

    async with connected(Stack.HASTEN, Service(), interceptors=intercepting(passing, wrapping)) as channel:
        for name, make in CALLS.items():
            call = make(channel)
            call.watched = Watched(name)
            call.add_done_callback(lambda _: None)
            await outcome_of(call)
            interception = call._interception
            interception.watched = Watched(f"{name}'s interception")
            del call, interception
            await asyncio.sleep(0)
            assert freed == [name, f"{name}'s interception"]
            freed.clear()


# ---- the rest of the call


@in_loops
async def test_time_remaining() -> None:
    """The time that remains is the caller's timeout while interceptors run, then that of the call; None without."""
    go = asyncio.Event()

    async def hold(continuation: Continuation, details: Details, request: Any) -> Any:
        await go.wait()
        return await continuation(details, request)

    service = Service()
    async with connected(Stack.HASTEN, service, interceptors=intercepting(hold)) as channel:
        call = unary(channel, HOLD, timeout=50.0)
        endless = unary(channel, HOLD)
        assert (call.time_remaining(), endless.time_remaining()) == (50.0, None)
        go.set()
        await service.until(lambda service: service.held == 2)
        assert 0.0 < (call.time_remaining() or math.inf) < 50.0
        assert endless.time_remaining() is None
        service.release()
        assert (await call, await endless) == (HOLD, HOLD)


@in_loops
async def test_close_with_grace() -> None:
    """A closing channel gives interceptors its grace to end, and cancels the calls of those that do not."""
    go = asyncio.Event()

    async def hold(continuation: Continuation, details: Details, request: Any) -> Any:
        call = await continuation(details, request)
        await call
        await (go if request == b"fast" else asyncio.Event()).wait()
        return call

    service = Service()
    async with connected(Stack.HASTEN, service, interceptors=intercepting(hold)) as channel:
        fast, slow = unary(channel, b"fast"), unary(channel, b"slow")
        await service.until(lambda service: service.ended == 2)
        fast.add_done_callback(lambda _: None)
        go.set()
        await channel.close(grace=0.05)
        assert await fast == b"fast"
        with pytest.raises(asyncio.CancelledError):
            await slow


@in_loops
async def test_close_at_once() -> None:
    """A channel closed without grace cancels calls that are still with their interceptors."""

    async def hold(continuation: Continuation, details: Details, request: Any) -> Any:
        await asyncio.Event().wait()

    async with connected(Stack.HASTEN, Service(), interceptors=intercepting(hold)) as channel:
        calls = [make(channel) for make in CALLS.values()]
        await asyncio.sleep(0)
        await channel.close()
        for call in calls:
            with pytest.raises(asyncio.CancelledError):
                await outcome_of(call)
            assert call.cancelled()


@in_loops
async def test_names_for_the_ledger() -> None:
    """An intercepted call says what it waits for, as one without interceptors."""
    async with connected(Stack.HASTEN, Service(), interceptors=intercepting(passing)) as channel:
        calls = [make(channel, b"q") for make in CALLS.values()]
        assert [call.wait_name.partition(" → ")[0] for call in calls] == [
            "rpc Channel.Unary",
            "rpc Channel.Responses",
            "rpc Channel.Requests",
            "rpc Channel.Both",
        ]
        assert [call.wait_identity for call in calls] == ["b'q'", "", "", ""]
        for call in calls:
            await outcome_of(call)
