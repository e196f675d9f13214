"""Streams behind interceptors: iterators in place of calls, reading and writing, as on grpc.aio or as documented."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc import StatusCode
from grpc.aio import EOF, AioRpcError, Metadata

from tests.rpc.channel._interceptors import (
    ABCS,
    CALLS,
    ECHOED,
    Continuation,
    Details,
    each_of,
    every_shape,
    intercepting,
    passing,
    with_responses,
    wrapping,
)
from tests.rpc.channel._service import (
    BOTH,
    FAIL,
    FAILURE,
    HOLD,
    INITIAL,
    REQUESTS,
    TRAILING,
    Service,
    connected,
    every_stack,
    failure_of,
    in_loops,
    outcome_of,
    responses,
    scripted,
)
from tests.rpc.interop._stacks import Stack

# ---- iterators in place of calls


@every_stack
@with_responses
@in_loops
async def test_iterator_around_responses(stack: Stack, kind: str) -> None:
    """An interceptor may return an iterator for the responses; the status stays that of its call."""

    async def around(continuation: Continuation, details: Details, request: Any) -> Any:
        call = await continuation(details, request)

        async def louder() -> AsyncIterator[bytes]:
            async for response in call:
                yield response.upper()

        return louder()

    async def outer(continuation: Continuation, details: Details, request: Any) -> Any:
        call = await continuation(details, request)
        assert isinstance(call, ABCS[kind])
        return wrapped(call)

    async def wrapped(call: Any) -> AsyncIterator[bytes]:
        async for response in call:
            yield response + b"!"

    async with connected(stack, Service(), interceptors=intercepting(outer, around)) as channel:
        call = CALLS[kind](channel)
        told: list[Any] = []
        call.add_done_callback(told.append)
        assert await outcome_of(call) == [response.upper() + b"!" for response in ECHOED[kind]]
        assert (call.done(), call.cancelled(), await call.code()) == (True, False, StatusCode.OK)
        assert told == [call]
        assert call.cancel() is False


@every_stack
@with_responses
@in_loops
async def test_iterator_around_a_failure(stack: Stack, kind: str) -> None:
    """A failure passes through an iterator, and the call shows its status and metadata."""
    async with connected(stack, Service(), interceptors=intercepting(wrapping, wrapping)) as channel:
        call = CALLS[kind](channel, FAIL)
        error = await failure_of(outcome_of(call))
        assert (error.code(), error.details()) == (await call.code(), await call.details()) == FAILURE
        assert tuple(await call.initial_metadata()) == INITIAL
        assert tuple(await call.trailing_metadata()) == TRAILING


@with_responses
@in_loops
async def test_iterator_without_a_call(kind: str) -> None:
    """Responses may come from nowhere: the status is the iterator's; grpc.aio fails here (grpc/grpc#37208)."""

    async def invent(continuation: Continuation, details: Details, request: Any) -> Any:
        return each_of(b"x", b"y")

    service = Service()
    async with connected(Stack.HASTEN, service, interceptors=intercepting(passing, invent)) as channel:
        call = CALLS[kind](channel)
        told: list[Any] = []
        call.add_done_callback(told.append)
        code = asyncio.ensure_future(call.code())
        assert (await call.read(), call.done(), told) == (b"x", False, [])
        assert await outcome_of(call) == [b"y"]
        assert (call.done(), call.cancelled(), call.cancel(), told) == (True, False, False, [call])
        assert (await code, await call.details(), await call.debug_error_string()) == (StatusCode.OK, "", "")
        assert (await call.initial_metadata(), await call.trailing_metadata()) == (Metadata(), Metadata())
        assert await call.read() is EOF
    assert service.calls == []


@with_responses
@in_loops
async def test_iterator_that_raises(kind: str) -> None:
    """An iterator without a call that raises a status gives the call that status, and says so each time."""

    async def invent(continuation: Continuation, details: Details, request: Any) -> Any:
        async def fail() -> AsyncIterator[bytes]:
            yield b"x"
            raise AioRpcError(StatusCode.DATA_LOSS, None, Metadata(("key", "1")), "gone")

        return fail()

    async with connected(Stack.HASTEN, Service(), interceptors=intercepting(invent)) as channel:
        call = CALLS[kind](channel)
        assert await call.read() == b"x"
        for _ in range(2):
            assert (await failure_of(call.read())).code() is StatusCode.DATA_LOSS
        assert (await call.code(), await call.details(), call.done()) == (StatusCode.DATA_LOSS, "gone", True)
        assert await call.trailing_metadata() == Metadata(("key", "1"))
        assert (await failure_of(call.wait_for_connection())).details() == "gone"


@with_responses
@in_loops
async def test_neither_call_nor_iterator(kind: str) -> None:
    """An interceptor of streams that returns neither, by mistake, fails its call by TypeError."""

    async def forget(continuation: Continuation, details: Details, request: Any) -> Any:
        await continuation(details, request)

    service = Service()
    async with connected(Stack.HASTEN, service, interceptors=intercepting(forget)) as channel:
        call = CALLS[kind](channel, HOLD)
        with pytest.raises(TypeError, match="async iterable"):
            await call.read()
        with pytest.raises(TypeError):
            await call.code()
        assert call.done()
        await service.idle()


@in_loops
async def test_retries_in_the_iterator() -> None:
    """An iterator may make its calls when it is read, one after the other; the status is that of the newest."""

    async def again(continuation: Continuation, details: Details, request: Any) -> Any:
        async def attempts() -> AsyncIterator[bytes]:
            for _ in range(3):
                call = await continuation(details, request)
                try:
                    async for response in call:
                        yield response
                except AioRpcError:
                    continue
                return

        return attempts()

    service = Service(scripted(StatusCode.UNAVAILABLE, StatusCode.ABORTED, None))
    async with connected(Stack.HASTEN, service, interceptors=intercepting(again)) as channel:
        call = responses(channel, timeout=60.0)
        assert (call.done(), call.time_remaining()) == (False, 60.0)
        assert await outcome_of(call) == [b"a", b"b"]
        assert (await call.code(), call.done(), call.cancelled()) == (StatusCode.OK, True, False)
    assert len(service.calls) == 3


# ---- reading


@every_stack
@with_responses
@in_loops
async def test_reading(stack: Stack, kind: str) -> None:
    """Responses come by read or by iteration, which may be mixed on an intercepted call."""
    async with connected(stack, Service(), interceptors=intercepting(passing, wrapping)) as channel:
        call = CALLS[kind](channel)
        assert await call.read() == b"a"
        assert [response async for response in call] == ECHOED[kind][1:]
        assert await call.read() is EOF


@with_responses
@every_shape
@in_loops
async def test_reading_what_failed(kind: str, shape: Any) -> None:
    """Each read of a call that failed says so, as without interceptors; grpc.aio's second one tells a good end."""
    async with connected(Stack.HASTEN, Service(), interceptors=intercepting(shape)) as channel:
        call = CALLS[kind](channel, FAIL)
        for _ in range(3):
            assert (await failure_of(call.read())).code() is FAILURE[0]
        assert (await failure_of(outcome_of(call))).code() is FAILURE[0]


# ---- writing


@every_stack
@in_loops
async def test_writing(stack: Stack) -> None:
    """Requests may be written, with and without waiting for responses; the server gets them in order."""
    service = Service()
    async with connected(stack, service, interceptors=intercepting(passing)) as channel:
        one: Any = channel.stream_unary(REQUESTS)()
        for number in range(20):
            await one.write(b"%d" % number)
        await one.done_writing()
        await one.done_writing()
        assert (await one).split() == [b"%d" % number for number in range(20)]

        many: Any = channel.stream_stream(BOTH)()
        for number in range(20):
            await many.write(b"%d" % number)
            assert await many.read() == b"%d" % number
        await many.done_writing()
        assert await many.read() is EOF
        assert await many.code() is StatusCode.OK


@every_stack
@in_loops
async def test_writing_when_it_is_too_late(stack: Stack) -> None:
    """A write to a call that is over, or half-closed, is an invalid state; to one with an iterator, wrong usage."""
    async with connected(stack, Service(), interceptors=intercepting(passing)) as channel:
        call: Any = channel.stream_stream(BOTH)()
        await call.done_writing()
        assert await call.read() is EOF
        with pytest.raises(asyncio.InvalidStateError):
            await call.write(b"a")

        failed: Any = channel.stream_stream(BOTH)()
        await failed.write(FAIL)
        assert (await failure_of(failed.read())).code() is FAILURE[0]
        with pytest.raises(asyncio.InvalidStateError, match="finished"):
            await failed.write(b"a")

        given = CALLS["both"](channel)
        with pytest.raises(grpc.aio.UsageError, match="may not be mixed"):
            await given.write(b"a")
        with pytest.raises(grpc.aio.UsageError, match="may not be mixed"):
            await given.done_writing()
        assert await outcome_of(given) == [b"a"]


@in_loops
async def test_half_closed() -> None:
    """A write after done_writing is an invalid state from then on, not only once the server knows."""
    async with connected(Stack.HASTEN, Service(), interceptors=intercepting(passing)) as channel:
        call: Any = channel.stream_stream(BOTH)()
        await call.done_writing()
        with pytest.raises(asyncio.InvalidStateError, match="half closed"):
            await call.write(b"a")
        assert await outcome_of(call) == []


@every_stack
@in_loops
async def test_writing_to_what_interceptors_refused(stack: Stack) -> None:
    """A write says that the call is over when an interceptor has raised."""

    async def refuse(continuation: Continuation, details: Details, request: Any) -> Any:
        raise AioRpcError(StatusCode.PERMISSION_DENIED, Metadata(), Metadata())

    async with connected(stack, Service(), interceptors=intercepting(refuse)) as channel:
        call: Any = channel.stream_unary(REQUESTS)()
        with pytest.raises(asyncio.InvalidStateError, match="finished"):
            await call.write(b"a")
        assert await call.code() is StatusCode.PERMISSION_DENIED


@in_loops
async def test_writing_while_an_interceptor_waits_for_the_response() -> None:
    """Requests go out while an interceptor awaits the call; with grpc.aio that stands still for ever."""

    async def wait(continuation: Continuation, details: Details, request: Any) -> Any:
        call = await continuation(details, request)
        assert await call.code() is StatusCode.OK
        return call

    async with connected(Stack.HASTEN, Service(), interceptors=intercepting(wait)[2:3]) as channel:
        call: Any = channel.stream_unary(REQUESTS)()
        await call.write(b"a")
        await call.write(b"b")
        await call.done_writing()
        assert await call == b"a b"


@in_loops
async def test_requests_that_an_attempt_left() -> None:
    """A second attempt gets the requests that the first one did not take."""

    async def again(continuation: Continuation, details: Details, request: Any) -> Any:
        call = await continuation(details, request)
        return call if await call.code() is StatusCode.OK else await continuation(details, request)

    service = Service(scripted(StatusCode.UNAVAILABLE, None))
    async with connected(Stack.HASTEN, service, interceptors=intercepting(again)) as channel:
        call: Any = channel.stream_unary(REQUESTS)()
        await call.write(b"lost")
        await service.until(lambda service: len(service.calls) == 1 and service.running == 0)
        await call.write(b"kept")
        await call.done_writing()
        assert await call == b"kept"
    assert [seen.requests for seen in service.calls] == [[b"lost"], [b"kept"]]
