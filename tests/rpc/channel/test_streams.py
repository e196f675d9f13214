"""Streams of requests and responses, in each style that grpc.aio has, on either stack."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc
import grpc.aio
import pytest

from tests.conftest import LoopFactory
from tests.rpc.channel._service import (
    BOTH,
    FAIL,
    FAILURE,
    HOLD,
    REQUESTS,
    Service,
    both,
    connected,
    every_stack,
    failure_of,
    in_loops,
    outcome_of,
    responses,
    scripted,
    written,
)
from tests.rpc.interop._stacks import Stack

MIXED = "may not be mixed on a single RPC"


class Counted:
    """An asynchronous iterator that is no generator."""

    def __init__(self) -> None:
        self.left = 2

    def __aiter__(self) -> "Counted":
        return self

    async def __anext__(self) -> bytes:
        if not self.left:
            raise StopAsyncIteration
        self.left -= 1
        return b"%d" % self.left


async def asynchronous() -> AsyncIterator[bytes]:
    yield b"1"
    yield b"0"


def generated() -> Iterator[bytes]:
    yield b"1"
    yield b"0"


async def raising_asynchronous() -> AsyncIterator[bytes]:
    yield b"1"
    raise ValueError("mine")


def raising() -> Iterator[bytes]:
    yield b"1"
    raise ValueError("mine")


@every_stack
@pytest.mark.parametrize("make", [asynchronous, generated, Counted, lambda: [b"1", b"0"]])
@in_loops
async def test_requests_from_an_iterator(stack: Stack, make: Callable[[], Any]) -> None:
    """Requests come from any iterable or asynchronous iterable."""
    async with connected(stack, Service()) as channel:
        assert await outcome_of(channel.stream_unary(REQUESTS)(make())) == [b"1 0"]
        assert await outcome_of(channel.stream_stream(BOTH)(make())) == [b"1", b"0"]


@every_stack
@in_loops
async def test_no_requests(stack: Stack) -> None:
    """A stream of requests may be empty."""
    nothing: Any = iter(())
    async with connected(stack, Service()) as channel:
        assert await outcome_of(channel.stream_unary(REQUESTS)(nothing)) == [b""]
        assert await outcome_of(channel.stream_stream(BOTH)(nothing)) == []


@every_stack
@pytest.mark.parametrize("make", [raising, raising_asynchronous, lambda: 5])
@pytest.mark.parametrize("path", [REQUESTS, BOTH])
def test_an_iterator_that_raises(stack: Stack, make: Callable[[], Any], path: str, loop_factory: LoopFactory) -> None:
    """When the requests cannot be iterated to their end, the call is cancelled on both sides."""

    async def scenario() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context.get("exception")))
        async with connected(stack, service := Service()) as channel:
            kind = channel.stream_unary if path == REQUESTS else channel.stream_stream
            call: Any = kind(path)(make())
            with pytest.raises(asyncio.CancelledError):
                await outcome_of(call)
            assert await call.code() is grpc.StatusCode.CANCELLED
            await service.idle()

    reported: list[Any] = []
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())
    if stack is Stack.HASTEN:  # grpc.aio tells nobody what was raised
        assert [type(error) for error in reported] == [TypeError if make() == 5 else ValueError]


@every_stack
@in_loops
async def test_write_and_read(stack: Stack) -> None:
    """Requests may be written and responses read in turns; after the end there are EOF and InvalidStateError."""
    async with connected(stack, Service()) as channel:
        call = written(channel)
        for request in (b"a", b"b"):
            await call.write(request)
            assert await call.read() == request
        await call.done_writing()
        await call.done_writing()
        with pytest.raises(asyncio.InvalidStateError, match='half closed after calling "done_writing"'):
            await call.write(b"c")
        assert await call.read() is grpc.aio.EOF
        assert await call.read() is grpc.aio.EOF
        with pytest.raises(asyncio.InvalidStateError, match="already finished"):
            await call.write(b"c")
        await call.done_writing()
        assert await call.code() is grpc.StatusCode.OK


@every_stack
@in_loops
async def test_written_requests_of_one_response(stack: Stack) -> None:
    """Requests may be written to a call that is then awaited for its one response."""
    async with connected(stack, Service()) as channel:
        call: Any = channel.stream_unary(REQUESTS)()
        await call.write(b"a")
        await call.write(b"b")
        await call.done_writing()
        assert await call == b"a b"
        with pytest.raises(asyncio.InvalidStateError, match="already finished"):
            await call.write(b"c")


@every_stack
@in_loops
async def test_the_server_ends_a_call_that_is_written(stack: Stack) -> None:
    """A failure in mid-stream is told by each read and by no write, which cannot know of it."""
    async with connected(stack, Service()) as channel:
        call = written(channel)
        await call.write(FAIL)
        for _ in range(2):
            assert (await failure_of(call.read())).code() is FAILURE[0]
        with pytest.raises(asyncio.InvalidStateError, match="already finished"):
            await call.write(b"a")
        await call.done_writing()


@every_stack
@in_loops
async def test_responses_before_a_failure(stack: Stack) -> None:
    """Responses that came before the failure are read first."""
    turns = scripted(None, None, grpc.StatusCode.ABORTED)
    async with connected(stack, Service(turns)) as channel:
        call = both(channel, b"a", b"b", b"c")
        read = []
        error: grpc.aio.AioRpcError | None = None
        try:
            async for response in call:
                read.append(response)  # noqa: PERF401 (a comprehension would lose what came before)
        except grpc.aio.AioRpcError as raised:
            error = raised
        assert read == [b"a", b"b"]
        assert error is not None
        assert error.code() is grpc.StatusCode.ABORTED


@every_stack
@in_loops
async def test_mixed_styles_of_reading(stack: Stack) -> None:
    """Responses are iterated or read, never both on one call."""
    async with connected(stack, Service()) as channel:
        call = responses(channel, b"a b c")
        assert await call.read() == b"a"
        with pytest.raises(grpc.aio.UsageError, match=MIXED):
            await outcome_of(call)
        call = responses(channel, b"a b c")
        assert await anext(aiter(call)) == b"a"
        with pytest.raises(grpc.aio.UsageError, match=MIXED):
            await call.read()
        assert call.cancel()


@every_stack
@in_loops
async def test_mixed_styles_of_writing(stack: Stack) -> None:
    """Requests come from an iterator or are written, never both on one call."""
    async with connected(stack, service := Service()) as channel:
        call = both(channel, HOLD)
        for misuse in (lambda: call.write(b"a"), call.done_writing):
            with pytest.raises(grpc.aio.UsageError, match=MIXED):
                await misuse()
        service.release()
        assert await outcome_of(call) == [HOLD]


@pytest.mark.parametrize(("make", "wanted"), [(responses, (HOLD,)), (both, (b"a", HOLD))], ids=["responses", "both"])
@in_loops
async def test_break(make: Callable[..., Any], wanted: tuple[bytes, ...]) -> None:
    """Who leaves the loop over the responses early, and drops the call, cancels it at the server.

    grpc.aio keeps such a call, and the server sends on. A done callback does not hold the call; it is told.
    """
    async with connected(Stack.HASTEN, service := Service()) as channel:
        async for _ in make(channel, *wanted):
            break
        gc.collect()
        await service.until(lambda service: service.cancelled == 1)
        told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        call = make(channel, *wanted)
        call.add_done_callback(told.set_result)
        await call.read()
        del call
        gc.collect()
        await service.until(lambda service: service.cancelled == 2)
        assert (await told).cancelled()


@every_stack
@in_loops
async def test_cancelled_before_all_was_read(stack: Stack) -> None:
    """Cancelling a call whose responses have all come, and are not all read, ends the reading all the same."""
    async with connected(stack, service := Service()) as channel:
        call = responses(channel, b"a b c")
        assert await call.read() == b"a"
        await service.idle()
        await outcome_of(responses(channel))  # on the same connection: what the server sent before has come
        assert not call.done()
        assert call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call.read()
        assert call.done()
        assert call.cancelled()


@every_stack
@in_loops
async def test_many_responses(stack: Stack) -> None:
    """Responses come complete and in order when there are more of them than windows take at once."""
    parts = [b"%06d" % number * 1000 for number in range(400)]
    async with connected(stack, Service()) as channel:
        assert await outcome_of(responses(channel, b" ".join(parts))) == parts


@every_stack
@in_loops
async def test_many_requests(stack: Stack) -> None:
    """Requests arrive complete and in order when there are more of them than windows take at once."""
    parts = [b"%06d" % number * 1000 for number in range(400)]
    async with connected(stack, service := Service()) as channel:
        assert await outcome_of(both(channel, *parts)) == parts
    assert service.only.requests == parts


@every_stack
@in_loops
async def test_streams_interleave(stack: Stack) -> None:
    """Several streams go on beside each other on one channel, each with its own messages."""

    async def talk(channel: grpc.aio.Channel, name: int) -> list[bytes]:
        call = written(channel)
        heard = []
        for number in range(20):
            await call.write(b"%d-%d" % (name, number))
            heard.append(await call.read())
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        return heard

    async with connected(stack, Service()) as channel:
        heard = await asyncio.gather(*(talk(channel, name) for name in range(10)))
    assert heard == [[b"%d-%d" % (name, number) for number in range(20)] for name in range(10)]
