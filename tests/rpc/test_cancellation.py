"""Cancellation, from both sides, at every moment of a call of every kind: the other side is told, nothing is left."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest

import hasten.rpc
from tests.conftest import LoopFactory
from tests.rpc.faults._remains import other_tasks
from tests.rpc.faults._service import CALLS, CANCEL, HOLD, SERVICE, Serving, code_of, unary

Call = Any
every_kind = pytest.mark.parametrize("kind", CALLS)


def begin(channel: hasten.rpc.Channel, kind: str, request: bytes) -> Call:
    """Return a call of a kind, just made, with one request and a deadline that is far away."""
    if kind == "unary":
        return channel.unary_unary(f"/{SERVICE}/Unary")(request, timeout=60.0)
    if kind == "responses":
        return channel.unary_stream(f"/{SERVICE}/Responses")(request, timeout=60.0)
    if kind == "requests":
        return channel.stream_unary(f"/{SERVICE}/Requests")(iter([request]), timeout=60.0)
    return channel.stream_stream(f"/{SERVICE}/Both")(iter([b"first", request]), timeout=60.0)


def run(loop_factory: LoopFactory, scenario: Callable[[], Awaitable[Any]]) -> None:
    async def main() -> None:
        await scenario()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())


async def all_of(call: Call) -> None:
    """Take everything that a call answers."""
    if hasattr(call, "__aiter__"):
        async for _ in call:
            pass
    else:
        await call


async def passes(count: int) -> None:
    """Let the loop go round so many times."""
    for _ in range(count):
        await asyncio.sleep(0)


@every_kind
def test_before_the_connection(kind: str, loop_factory: LoopFactory) -> None:
    """A call that is cancelled before there is a connection never reaches the server."""

    async def scenario() -> None:
        async with Serving() as serving, hasten.rpc.Channel(serving.address) as channel:
            call = begin(channel, kind, b"")
            assert call.cancel() is True
            assert call.cancel() is False
            assert await call.code() is grpc.StatusCode.CANCELLED
            assert await unary(channel) == b"first"
            assert serving.service.begun == 1

    run(loop_factory, scenario)


@every_kind
def test_while_waiting_for_a_stream(kind: str, loop_factory: LoopFactory) -> None:
    """Nor does one that is cancelled while it waits for the server to take one more."""

    async def scenario() -> None:
        limits = hasten.rpc.Limits(concurrent_handlers=1)
        async with Serving(limits=limits) as serving, hasten.rpc.Channel(serving.address) as channel:
            held = asyncio.create_task(unary(channel, HOLD))
            await serving.service.until(lambda service: service.held == 1)
            call = begin(channel, kind, b"")
            assert call.cancel() is True
            assert await call.code() is grpc.StatusCode.CANCELLED
            serving.service.release()
            assert await held == HOLD
            assert await unary(channel) == b"first"
            assert serving.service.begun == 2

    run(loop_factory, scenario)


@every_kind
def test_before_the_answer(kind: str, loop_factory: LoopFactory) -> None:
    """grpc/grpc#43502: cancelling a call of any kind stops the handler."""

    async def scenario() -> None:
        async with Serving() as serving, hasten.rpc.Channel(serving.address) as channel:
            call = begin(channel, kind, HOLD)
            await serving.service.until(lambda service: service.held == 1)
            assert call.cancel() is True
            await serving.service.until(lambda service: service.cancelled == 1)
            assert serving.service.running == 0
            assert call.cancelled()
            assert await call.code() is grpc.StatusCode.CANCELLED
            assert await call.details() == "Locally cancelled by application!"

    run(loop_factory, scenario)


@every_kind
@pytest.mark.parametrize("way", ["task", "timeout"])
def test_by_who_waits_for_it(kind: str, way: str, loop_factory: LoopFactory) -> None:
    """Cancelling the task that waits for a call, or a timeout around it, cancels the call and stops the handler."""

    async def scenario() -> None:
        async with Serving() as serving, hasten.rpc.Channel(serving.address) as channel:
            waiting = asyncio.create_task(CALLS[kind](channel, HOLD))
            await serving.service.until(lambda service: service.held == 1)
            if way == "task":
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
            else:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(waiting, 0.001)
            await serving.service.until(lambda service: service.cancelled == 1)

    run(loop_factory, scenario)


@pytest.mark.parametrize("kind", ["responses", "both"])
@pytest.mark.parametrize("way", ["cancel", "drop"])
def test_between_two_responses(kind: str, way: str, loop_factory: LoopFactory) -> None:
    """In the middle of a response stream a call may be cancelled, or simply dropped: the handler stops."""

    async def scenario() -> None:
        async with Serving() as serving, hasten.rpc.Channel(serving.address) as channel:
            call = begin(channel, kind, HOLD)
            async for response in call:
                assert response == b"first"
                break
            if way == "cancel":
                call.cancel()
            del call
            await serving.service.until(lambda service: service.cancelled == 1)

    run(loop_factory, scenario)


@every_kind
def test_after_the_end(kind: str, loop_factory: LoopFactory) -> None:
    """A call that is over cannot be cancelled; it keeps its status."""

    async def scenario() -> None:
        async with Serving() as serving, hasten.rpc.Channel(serving.address) as channel:
            call = begin(channel, kind, b"")
            await all_of(call)
            assert call.cancel() is False
            assert not call.cancelled()
            assert await call.code() is grpc.StatusCode.OK

    run(loop_factory, scenario)


@every_kind
def test_a_handler_that_raises_cancelled_error(kind: str, loop_factory: LoopFactory) -> None:
    """grpc/grpc#29248: a handler that raises CancelledError ends its call with CANCELLED; the client does not hang."""

    async def scenario() -> None:
        async with Serving() as serving, hasten.rpc.Channel(serving.address) as channel:
            call = begin(channel, kind, CANCEL)
            assert await call.code() is grpc.StatusCode.CANCELLED
            assert await code_of(CALLS[kind](channel, CANCEL)) is grpc.StatusCode.CANCELLED

    run(loop_factory, scenario)


@every_kind
def test_in_the_same_moment_as_the_answer(kind: str, loop_factory: LoopFactory) -> None:
    """grpc/grpc#31982, #31227: whenever the cancellation falls, the call ends, as cancelled or with its answer."""

    async def scenario() -> None:
        outcomes = set()
        async with Serving() as serving, hasten.rpc.Channel(serving.address) as channel:
            await unary(channel)
            for count in range(40):
                waiting = asyncio.create_task(CALLS[kind](channel, b"answer"))
                await passes(count)
                waiting.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    assert await waiting == b"answer"
                outcomes.add(waiting.cancelled())
                await serving.service.idle()
        assert outcomes == {True, False}

    run(loop_factory, scenario)


@every_kind
def test_in_the_same_read_as_the_request(kind: str, loop_factory: LoopFactory) -> None:
    """A call that is cancelled before its handler begins leaves no place taken of `maximum_concurrent_rpcs`."""

    async def scenario() -> None:
        async with (
            Serving(maximum_concurrent_rpcs=1) as serving,
            hasten.rpc.Channel(serving.address) as channel,
        ):
            await unary(channel)
            for _ in range(3):
                call = begin(channel, kind, b"")
                await passes(3)  # the request is written, the server has not yet seen it
                call.cancel()
                await asyncio.gather(*other_tasks(), return_exceptions=True)
            while await code_of(unary(channel)) is not grpc.StatusCode.OK:
                await serving.service.idle()

    run(loop_factory, scenario)


def test_a_generator_that_waits_for_its_reader(loop_factory: LoopFactory) -> None:
    """A response generator that is cancelled at a `yield` ends in its own task and context, before its call does."""
    tasks = []

    async def responses(request: bytes, context: Any) -> AsyncIterator[bytes]:
        tasks.append(asyncio.current_task())
        try:
            while True:
                yield bytes(100_000)
        finally:
            await asyncio.sleep(0)
            tasks.append(asyncio.current_task())

    async def scenario() -> None:
        serving = Serving()
        handlers: dict[str, Any] = {"Endless": grpc.unary_stream_rpc_method_handler(responses)}
        serving.server.add_registered_method_handlers("faults.More", handlers)
        async with serving, hasten.rpc.Channel(serving.address) as channel:
            call = channel.unary_stream("/faults.More/Endless")(b"")
            await call.read()
            (connection,) = serving.server._connections
            while not connection.output.kept_bytes:
                await asyncio.sleep(0)
            call.cancel()
        assert len(tasks) == 2
        assert tasks[0] is tasks[1]

    run(loop_factory, scenario)


def test_an_answer_before_the_last_request(loop_factory: LoopFactory) -> None:
    """A server may answer before it has read all requests: what stops the requests does not cancel the answer."""
    forever = asyncio.Event()

    async def requests() -> AsyncIterator[bytes]:
        yield b"first"
        await forever.wait()

    async def answer(_: AsyncIterator[bytes], __: Any) -> bytes:
        return b"early"

    async def scenario() -> None:
        serving = Serving()
        handlers: dict[str, Any] = {"Early": grpc.stream_unary_rpc_method_handler(answer)}
        serving.server.add_registered_method_handlers("faults.More", handlers)
        async with serving, hasten.rpc.Channel(serving.address) as channel:
            for count in range(20):
                call = channel.stream_unary("/faults.More/Early")(requests())
                await passes(count)
                assert await call == b"early"
                assert await call.code() is grpc.StatusCode.OK
        assert other_tasks() == set()

    run(loop_factory, scenario)
