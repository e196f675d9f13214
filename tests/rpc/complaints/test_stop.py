"""Complaints about a server's end: it hangs, or is not graceful."""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

import hasten.rpc
from hasten.rpc._limits import LARGEST_STREAM_ID
from hasten.rpc.wire._frames import (
    END_STREAM,
    GOAWAY,
    INITIAL_WINDOW_SIZE,
    RST_STREAM,
    ErrorCode,
    goaway_frame,
)
from tests.conftest import LoopFactory
from tests.rpc._peers import RawClient, data, request
from tests.rpc.faults._processes import ServerProcess
from tests.rpc.faults._service import CALLS, HOLD, MANY, SERVICE, Serving, code_of, unary

Scenario = Callable[[], Awaitable[None]]
UNARY = f"/{SERVICE}/Unary"
QUICKLY_BACK = [("grpc.initial_reconnect_backoff_ms", 100)]
RESPONSES = f"/{SERVICE}/Responses"


def run(loop_factory: LoopFactory, scenario: Callable[[], Any]) -> None:
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())


@pytest.mark.parametrize("kind", CALLS)
def test_stop_with_open_streams(kind: str, loop_factory: LoopFactory) -> None:
    """grpc/grpc#28999: stop(None) does not hang on an open call; the client gets CANCELLED, the handler is stopped."""

    async def scenario() -> None:
        async with Serving() as serving, hasten.rpc.Channel(serving.address) as channel:
            held = asyncio.create_task(code_of(CALLS[kind](channel, HOLD)))
            await serving.service.until(lambda service: service.held == 1)
            await serving.server.stop(None)
            assert await held is grpc.StatusCode.CANCELLED
            assert (serving.service.running, serving.service.cancelled) == (0, 1)

    run(loop_factory, scenario)


def test_stop_with_a_reader_that_stands_still(loop_factory: LoopFactory) -> None:
    """grpc/grpc#28999: a client that reads nothing of a long response does not keep the server from stopping."""

    async def scenario() -> None:
        async with Serving() as serving, hasten.rpc.Channel(serving.address) as channel:
            call = channel.unary_stream(RESPONSES)(MANY)
            await call.read()
            await stalled(serving)
            await serving.server.stop(None)
            assert serving.service.running == 0
            assert await call.code() is grpc.StatusCode.CANCELLED

    run(loop_factory, scenario)


async def stalled(serving: Serving) -> None:
    """Wait until a response of the server's only connection waits for the client's window."""
    (connection,) = serving.server._connections
    while not connection.output.kept_bytes:
        await asyncio.sleep(0)


@pytest.mark.usefixtures("impatient")
def test_stop_after_a_handler_whose_answer_waits(loop_factory: LoopFactory) -> None:
    """grpc/grpc#28999: nor does an answer that is complete but has no room in the client's window."""

    async def scenario() -> None:
        async with Serving() as serving, RawClient(serving.port, {INITIAL_WINDOW_SIZE: 0}) as peer:
            await peer.send(request(1, UNARY), data(1, b"answer", END_STREAM))
            await serving.service.until(lambda service: service.ended == 1)
            await stalled(serving)
            await serving.server.stop(0.01)
            assert ErrorCode.CANCEL in [frame.code for frame in await peer.rest() if frame.kind == RST_STREAM]

    run(loop_factory, scenario)


@pytest.mark.usefixtures("impatient")
def test_stop_after_the_client_has_said_goodbye(loop_factory: LoopFactory) -> None:
    """grpc/grpc#28999: nor does a client that sent GOAWAY, has a call open, and stays connected."""

    async def scenario() -> None:
        async with Serving() as serving, RawClient(serving.port) as peer:
            await peer.send(request(1, UNARY), data(1, HOLD, END_STREAM), goaway_frame(0, ErrorCode.NO_ERROR, ""))
            await serving.service.until(lambda service: service.held == 1)
            stopping = asyncio.create_task(serving.server.stop(30.0))
            first = await peer.until(GOAWAY)
            assert first.last_stream_id == LARGEST_STREAM_ID
            serving.service.release()
            assert await peer.status(1) == "0"
            await stopping

    run(loop_factory, scenario)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("words", [b"", b"PRI * HT"], ids=["nothing", "half-a-preface"])
def test_stop_with_a_client_that_never_spoke(words: bytes, loop_factory: LoopFactory) -> None:
    """grpc/grpc#28999: nor does a connection on which no HTTP/2 has begun."""

    async def scenario() -> None:
        async with Serving() as serving, RawClient(serving.port, handshake=False) as peer:
            await peer.send(words)
            while not serving.server._connections:
                await asyncio.sleep(0)
            await serving.server.stop(30.0)
            assert await peer.goaway()

    run(loop_factory, scenario)


@pytest.mark.parametrize("kind", CALLS)
def test_graceful_stop(kind: str, loop_factory: LoopFactory) -> None:
    """stop(grace) lets open calls of each kind come to their good end, and takes no new ones meanwhile."""

    async def scenario() -> None:
        async with Serving() as serving, hasten.rpc.Channel(serving.address, options=QUICKLY_BACK) as channel:
            held = asyncio.create_task(CALLS[kind](channel, HOLD))
            await serving.service.until(lambda service: service.held == 1)
            stopping = asyncio.create_task(serving.server.stop(30.0))
            await channel.wait_for_state_change(grpc.ChannelConnectivity.READY)
            assert await code_of(unary(channel)) is grpc.StatusCode.UNAVAILABLE
            serving.service.release()
            assert await held == HOLD
            await stopping
            assert serving.service.cancelled == 0

    run(loop_factory, scenario)


def test_graceful_stop_after_abort(loop_factory: LoopFactory) -> None:
    """grpc/grpc#37239: after a handler has aborted, stop(grace) still waits for the other calls, and no longer."""

    async def abort(_: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no")

    async def scenario() -> None:
        serving = Serving()
        handlers: dict[str, Any] = {"Abort": grpc.unary_unary_rpc_method_handler(abort)}
        serving.server.add_registered_method_handlers("faults.More", handlers)
        async with serving, hasten.rpc.Channel(serving.address) as channel:
            aborted = channel.unary_unary("/faults.More/Abort")(b"")
            assert await code_of(aborted) is grpc.StatusCode.FAILED_PRECONDITION
            held = asyncio.create_task(unary(channel, HOLD))
            await serving.service.until(lambda service: service.held == 1)
            stopping = asyncio.create_task(serving.server.stop(30.0))
            await channel.wait_for_state_change(grpc.ChannelConnectivity.READY)
            serving.service.release()
            assert await held == HOLD
            await stopping

    run(loop_factory, scenario)


def test_the_grace_ends(loop_factory: LoopFactory) -> None:
    """stop(grace) cancels what is still running at the end of the grace."""

    async def scenario() -> None:
        async with Serving() as serving, hasten.rpc.Channel(serving.address) as channel:
            held = asyncio.create_task(code_of(unary(channel, HOLD)))
            await serving.service.until(lambda service: service.held == 1)
            await serving.server.stop(0.01)
            assert await held is grpc.StatusCode.CANCELLED
            assert serving.service.cancelled == 1

    run(loop_factory, scenario)


def test_stop_twice(loop_factory: LoopFactory) -> None:
    """A second stop(None) cuts the grace of the first short; both return, and so does a third."""

    async def scenario() -> None:
        async with Serving() as serving, hasten.rpc.Channel(serving.address) as channel:
            held = asyncio.create_task(code_of(unary(channel, HOLD)))
            await serving.service.until(lambda service: service.held == 1)
            first = asyncio.create_task(serving.server.stop(30.0))
            await channel.wait_for_state_change(grpc.ChannelConnectivity.READY)
            await serving.server.stop(None)
            assert await held is grpc.StatusCode.CANCELLED
            await first
            await serving.server.stop(5.0)
            assert not await serving.server.wait_for_termination()

    run(loop_factory, scenario)


def test_a_shorter_grace_holds(loop_factory: LoopFactory) -> None:
    """Of two graces the one that ends first counts, as with grpc.aio."""

    async def scenario() -> None:
        async with Serving() as serving, hasten.rpc.Channel(serving.address) as channel:
            held = asyncio.create_task(code_of(unary(channel, HOLD)))
            await serving.service.until(lambda service: service.held == 1)
            graces = (30.0, 0.01, 30.0)
            await asyncio.gather(*(serving.server.stop(grace) for grace in graces))
            assert await held is grpc.StatusCode.CANCELLED

    run(loop_factory, scenario)


def test_stop_goes_on_when_its_caller_is_cancelled(loop_factory: LoopFactory) -> None:
    """Whoever waits for stop may be cancelled: the server goes on stopping."""

    async def scenario() -> None:
        async with Serving() as serving, hasten.rpc.Channel(serving.address) as channel:
            held = asyncio.create_task(unary(channel, HOLD))
            await serving.service.until(lambda service: service.held == 1)
            stopping = asyncio.create_task(serving.server.stop(30.0))
            await channel.wait_for_state_change(grpc.ChannelConnectivity.READY)
            stopping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await stopping
            serving.service.release()
            assert await held == HOLD
            assert not await serving.server.wait_for_termination()

    run(loop_factory, scenario)


def test_stop_before_start(loop_factory: LoopFactory) -> None:
    """A server that was never started can be stopped; its port is free again."""

    async def scenario() -> None:
        serving = Serving()
        await serving.server.stop(None)
        await serving.server.stop(1.0)
        async with Serving(serving.port) as again, hasten.rpc.Channel(again.address) as channel:
            assert await unary(channel) == b"first"

    run(loop_factory, scenario)


@pytest.mark.may_block  # a socket's file is removed in the loop: once, at the end of a server
@pytest.mark.parametrize("started", [True, False], ids=["started", "not-started"])
def test_stopping_twice_leaves_the_successors_socket_alone(started: bool, tmp_path: Path) -> None:  # noqa: FBT001
    """A second stop does not remove the file of a unix socket that another server has bound since."""

    async def scenario() -> None:
        address = f"unix:{tmp_path}/s"
        first, second = Serving(), Serving()
        first.server.add_insecure_port(address)
        if started:
            await first.server.start()
        await first.server.stop(None)
        second.server.add_insecure_port(address)
        async with second, hasten.rpc.Channel(address) as channel:
            await first.server.stop(None)
            assert await unary(channel) == b"first"

    asyncio.run(scenario())


def test_stop_from_a_handler(loop_factory: LoopFactory) -> None:
    """A handler may stop its own server: stop waits for it, it must not wait for stop, and its answer arrives."""
    stopping: list[asyncio.Task[None]] = []

    async def scenario() -> None:
        serving = Serving()

        async def stop(_: bytes, __: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
            stopping.append(asyncio.create_task(serving.server.stop(30.0)))
            return b"stopping"

        handlers: dict[str, Any] = {"Stop": grpc.unary_unary_rpc_method_handler(stop)}
        serving.server.add_registered_method_handlers("faults.More", handlers)
        async with serving, hasten.rpc.Channel(serving.address) as channel:
            assert await channel.unary_unary("/faults.More/Stop")(b"") == b"stopping"
            await stopping[0]

    run(loop_factory, scenario)


def test_a_process_that_is_told_to_end_ends(loop_factory: LoopFactory) -> None:
    """grpc/grpc#26123: a process whose server was stopped ends by itself, with open calls finished."""

    async def scenario() -> None:
        async with ServerProcess() as server, hasten.rpc.Channel(server.address) as channel:
            await unary(channel)
            server.send(signal.SIGTERM)
            assert await server.ended() == 0

    run(loop_factory, scenario)
