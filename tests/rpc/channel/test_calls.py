"""Call objects behave as grpc.aio's, on either stack: outcomes, cancellation, deadlines, callbacks."""

import asyncio
import pickle
from typing import Any

import grpc
import grpc.aio
import pytest

from tests.rpc.channel._service import (
    FAIL,
    FAILURE,
    HOLD,
    INITIAL,
    KINDS,
    TRAILING,
    Pending,
    Service,
    code_of,
    connected,
    every_kind,
    every_stack,
    failure_of,
    in_loops,
    outcome_of,
    requests,
    responses,
    unary,
)
from tests.rpc.interop._stacks import Stack

CANCELLED_DETAILS = "Locally cancelled by application!"


@every_stack
@every_kind
@in_loops
async def test_success(stack: Stack, kind: str) -> None:
    """A call that ended well gives its responses, and status OK without details and metadata."""
    async with connected(stack, Service()) as channel:
        call = KINDS[kind](channel)
        assert b" ".join(await outcome_of(call)) in {b"a", b"a b"}
        assert call.done()
        assert not call.cancelled()
        assert not call.cancel()
        assert await call.code() is grpc.StatusCode.OK
        assert (await call.details(), await call.debug_error_string()) == ("", "")
        assert (tuple(await call.initial_metadata()), tuple(await call.trailing_metadata())) == ((), ())
        await call.wait_for_connection()


@every_stack
@every_kind
@in_loops
async def test_failure(stack: Stack, kind: str) -> None:
    """A call that failed says so in an AioRpcError and by its methods, with the server's details and metadata."""
    async with connected(stack, Service()) as channel:
        call = KINDS[kind](channel, FAIL)
        error = await failure_of(outcome_of(call))
        assert (error.code(), error.details()) == FAILURE
        assert (tuple(error.initial_metadata() or ()), tuple(error.trailing_metadata() or ())) == (INITIAL, TRAILING)
        assert call.done()
        assert not call.cancelled()
        assert (await call.code(), await call.details()) == FAILURE
        assert await call.debug_error_string() == error.debug_error_string()
        assert FAILURE[1] in (error.debug_error_string() or "")
        assert (tuple(await call.initial_metadata()), tuple(await call.trailing_metadata())) == (INITIAL, TRAILING)
        assert (await failure_of(call.wait_for_connection())).code() is FAILURE[0]


@every_stack
@pytest.mark.parametrize("request_", [b"a", FAIL], ids=["ok", "failed"])
@pytest.mark.parametrize("make", [unary, requests])
@in_loops
async def test_awaited_often(stack: Stack, make: Any, request_: bytes) -> None:
    """A call with one response may be awaited any number of times, by several tasks, with the same outcome."""
    async with connected(stack, service := Service()) as channel:
        call = make(channel, request_)
        outcomes = await asyncio.gather(*(_outcome(call) for _ in range(3)))
        assert [*outcomes, await _outcome(call)] == [outcomes[0]] * 4
        assert len(service.calls) == 1


async def _outcome(call: Pending) -> object:
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details()


@every_stack
@in_loops
async def test_error_is_pickled(stack: Stack) -> None:
    """An error comes through pickle with everything it says, as process pools need it."""
    async with connected(stack, Service()) as channel:
        error = await failure_of(unary(channel, FAIL))
    copy = pickle.loads(pickle.dumps(error))
    assert isinstance(copy, grpc.aio.AioRpcError)
    assert (copy.code(), copy.details()) == FAILURE
    assert (tuple(copy.initial_metadata() or ()), tuple(copy.trailing_metadata() or ())) == (INITIAL, TRAILING)
    assert str(copy) == str(error)


@every_stack
@every_kind
@in_loops
async def test_cancelled_before_it_is_sent(stack: Stack, kind: str) -> None:
    """A call that is cancelled at once never ends otherwise."""
    async with connected(stack, Service()) as channel:
        call = KINDS[kind](channel, HOLD)
        assert call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await outcome_of(call)
        await _is_cancelled(call)


@every_stack
@every_kind
@in_loops
async def test_cancelled_while_it_is_open(stack: Stack, kind: str) -> None:
    """Cancelling an open call raises CancelledError where it is awaited, and stops its handler."""
    async with connected(stack, service := Service()) as channel:
        call = KINDS[kind](channel, HOLD)
        waiting = asyncio.ensure_future(outcome_of(call))
        await service.until(lambda service: service.held == 1)
        assert call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await _is_cancelled(call)
        await service.until(lambda service: service.cancelled == 1)


async def _is_cancelled(call: Pending) -> None:
    assert call.done()
    assert call.cancelled()
    assert not call.cancel()
    assert await call.code() is grpc.StatusCode.CANCELLED
    assert await call.details() == CANCELLED_DETAILS
    assert tuple(await call.trailing_metadata()) == ()


@every_stack
@every_kind
@in_loops
async def test_the_waiting_task_is_cancelled(stack: Stack, kind: str) -> None:
    """Cancelling the task that waits for a call cancels the call, and stops its handler."""
    async with connected(stack, service := Service()) as channel:
        call = KINDS[kind](channel, HOLD)
        if kind == "responses":
            assert await anext(aiter(call)) == b"first"  # before that grpc.aio cancels its own task alone now and then
        waiting = asyncio.ensure_future(outcome_of(call))
        await service.until(lambda service: service.held == 1)
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await call.code() is grpc.StatusCode.CANCELLED
        assert call.cancelled()
        await service.until(lambda service: service.cancelled == 1)


@every_stack
@in_loops
async def test_cancelled_by_the_server(stack: Stack) -> None:
    """A status CANCELLED that the server sends is an error like others, no CancelledError."""

    async def cancel(request: bytes, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.CANCELLED, "not today")
        return request

    async with connected(stack, Service(cancel)) as channel:
        call = unary(channel)
        error = await failure_of(call)
        assert (error.code(), error.details()) == (grpc.StatusCode.CANCELLED, "not today")
        assert call.cancelled()


@every_stack
@every_kind
@in_loops
async def test_timeout(stack: Stack, kind: str) -> None:
    """A call ends with DEADLINE_EXCEEDED once its time is over, and its handler with it; no time at all is over."""
    async with connected(stack, service := Service()) as channel:
        call = KINDS[kind](channel, HOLD, timeout=30.0)
        assert 29.0 < call.time_remaining() <= 30.0
        call.cancel()
        for seconds in (0.05, 0.0, -1.0):
            call = KINDS[kind](channel, HOLD, timeout=seconds)
            try:
                code = await code_of(outcome_of(call))
            except asyncio.CancelledError:
                if stack is Stack.HASTEN or kind not in {"requests", "both"}:
                    raise
                continue  # grpc.aio's writer, which finds that the call has ended, may cancel it
            if stack is Stack.HASTEN or kind != "both" or code is not grpc.StatusCode.INTERNAL:
                # or trip over its end: "Internal error from Core"
                assert code is grpc.StatusCode.DEADLINE_EXCEEDED
            assert call.time_remaining() == 0
        assert await code_of(outcome_of(KINDS[kind](channel))) is grpc.StatusCode.OK
        await service.idle()


@every_stack
@in_loops
async def test_the_server_is_told_the_timeout(stack: Stack) -> None:
    """What is left of the deadline travels with the call; without a deadline there is none on either side."""
    async with connected(stack, service := Service()) as channel:
        call = unary(channel)
        assert call.time_remaining() is None
        await call
        await unary(channel, timeout=20.0)
    without, with_ = (call.seconds for call in service.calls)
    assert without is None
    assert with_ is not None
    assert 15.0 < with_ < 20.2


@every_stack
@every_kind
@in_loops
async def test_shown(stack: Stack, kind: str) -> None:
    """A call shows how it ended."""
    async with connected(stack, Service()) as channel:
        call = KINDS[kind](channel, FAIL)
        assert FAILURE[0].name not in repr(call)
        await code_of(outcome_of(call))
        assert FAILURE[0].name in repr(call)
        assert FAILURE[1] in repr(call)


@every_stack
@in_loops
async def test_the_connection_may_be_waited_for(stack: Stack) -> None:
    """`wait_for_connection` returns for a call that is under way, and raises what ended one before."""
    async with connected(stack, service := Service()) as channel:
        call = responses(channel, HOLD)
        await call.wait_for_connection()
        assert not call.done()
        service.release()
        assert await outcome_of(call) == [b"first", HOLD]
