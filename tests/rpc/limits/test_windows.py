"""Flow control: what the peer may send."""

import asyncio
from typing import Any

import grpc
import pytest

import hasten.rpc
from hasten.rpc.wire._frames import (
    DATA,
    END_STREAM,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PING,
    PREFACE,
    RST_STREAM,
    WINDOW_UPDATE,
    ErrorCode,
    frame,
    settings_frame,
)
from tests.rpc._peers import (
    RawClient,
    RawPeer,
    RawServer,
    data,
    message,
    request,
    reset,
    response,
)
from tests.rpc.limits._serving import CHAT, READ, SAY, Serving, code_of, say, until
from tests.rpc.limits.conftest import Run

A_PING = frame(PING, 0, 0, bytes(8))


async def widened(peer: RawPeer, stream_id: int) -> int:
    """Return by how much a window was widened until the answer to a PING."""
    await peer.send(A_PING)
    increments = 0
    while (each := await peer.next()).kind != PING:
        increments += each.increment if (each.kind, each.stream_id) == (WINDOW_UPDATE, stream_id) else 0
    return increments


@pytest.mark.bounds("stream_window_bytes")
def test_more_data_than_the_stream_window(run: Run) -> None:
    """The window is told to the peer; a byte more than it resets the stream, whoever reads or not; others go on."""

    async def scenario() -> None:
        async with Serving(stream_window_bytes=1000) as serving, RawClient(serving.port) as peer:
            assert peer.settings[INITIAL_WINDOW_SIZE] == 1000
            await peer.send(request(1, READ), data(1, bytes(990)), frame(DATA, 0, 1, message(b"")))
            await peer.send(request(3, READ), data(3, bytes(990)), frame(DATA, 0, 3, message(b"") + b"\0"))
            refused = await peer.until(RST_STREAM)
            assert (refused.stream_id, refused.code) == (3, ErrorCode.FLOW_CONTROL_ERROR)
            serving.release()
            await peer.send(frame(DATA, END_STREAM, 1))
            assert await peer.status(1) == "0"

    run(scenario())


@pytest.mark.bounds("stream_window_bytes")
def test_padding_counts_for_the_window(run: Run) -> None:
    """Padding takes as much of a window as data does."""

    async def scenario() -> None:
        async with Serving(stream_window_bytes=1000) as serving, RawClient(serving.port) as peer:
            padded = frame(DATA, 0x8, 1, bytes((249,)) + bytes(249))
            await peer.send(request(1, READ), padded * 5)
            assert (await peer.until(RST_STREAM, 1)).code is ErrorCode.FLOW_CONTROL_ERROR

    run(scenario())


@pytest.mark.bounds("stream_window_bytes")
def test_the_window_is_widened_as_messages_are_read(run: Run) -> None:
    """While nobody reads the window stays as it is; read messages are given back."""

    async def scenario() -> None:
        async with Serving(stream_window_bytes=1000, ping_seconds=0.0) as serving, RawClient(serving.port) as peer:
            await peer.send(request(1, READ), data(1, bytes(495)), data(1, bytes(495)))
            assert await widened(peer, 1) == 0
            serving.release()
            await until(lambda: serving.connection.held_bytes == 0)
            assert await widened(peer, 1) == 1000

    run(scenario())


@pytest.mark.bounds("stream_window_bytes")
def test_a_message_longer_than_the_window(run: Run) -> None:
    """A message that is longer than the window is widened for at once, as soon as its length is known."""

    async def scenario() -> None:
        async with Serving(stream_window_bytes=1000, ping_seconds=0.0) as serving, RawClient(serving.port) as peer:
            whole = message(bytes(5000))
            await peer.send(request(1, SAY), frame(DATA, 0, 1, whole[:1000]))
            assert await widened(peer, 1) == 4005
            await peer.send(frame(DATA, END_STREAM, 1, whole[1000:]))
            assert await peer.status(1) == "0"

    run(scenario())


@pytest.mark.bounds("stream_window_bytes")
@pytest.mark.parametrize("window", [1, 4, 5, 6])
def test_a_window_of_a_few_bytes(window: int, run: Run) -> None:
    """Even where a message's prefix is longer than the window calls of all kinds work, on both sides."""

    async def scenario() -> None:
        limits = hasten.rpc.Limits(stream_window_bytes=window)
        async with (
            Serving(stream_window_bytes=window) as serving,
            hasten.rpc.Channel(serving.address, limits=limits) as channel,
        ):
            assert await say(channel, bytes(100)) == bytes(100)
            call: Any = channel.stream_stream(CHAT)(iter([b"", b"one", bytes(100)]))
            assert [each async for each in call] == [b"", b"one", bytes(100)]

    run(scenario())


@pytest.mark.bounds("stream_window_bytes")
def test_more_data_than_a_channel_takes(run: Run) -> None:
    """A server that sends more than a channel's window has its stream reset; the call fails with INTERNAL."""

    async def scenario() -> None:
        limits = hasten.rpc.Limits(stream_window_bytes=1000)
        async with RawServer() as server, hasten.rpc.Channel(server.address, limits=limits) as channel:
            call: Any = channel.unary_stream(SAY)(b"")
            peer = await server.accept()
            assert peer.settings[INITIAL_WINDOW_SIZE] == 1000
            await peer.until(HEADERS, 1)
            await peer.send(response(1), data(1, bytes(600)), data(1, bytes(600)))
            assert (await peer.until(RST_STREAM, 1)).code is ErrorCode.FLOW_CONTROL_ERROR
            assert await call.code() is grpc.StatusCode.INTERNAL

    run(scenario())


@pytest.mark.bounds("connection_window_bytes")
def test_more_data_than_the_connection_window(run: Run) -> None:
    """The window is told to the peer; a frame that is longer than all of it ends the connection."""

    async def scenario() -> None:
        limits: dict[str, Any] = {
            "connection_window_bytes": 100_000,
            "stream_window_bytes": 1_000_000,
            "frame_bytes": 200_000,
        }
        async with Serving(**limits) as serving, RawClient(serving.port, handshake=False) as peer:
            await peer.send(PREFACE, settings_frame({}))
            assert (await peer.until(WINDOW_UPDATE, 0)).increment == 100_000 - 65_535
            await peer.send(request(1, SAY), frame(DATA, 0, 1, bytes(100_001)))
            assert (await peer.goaway()).code is ErrorCode.FLOW_CONTROL_ERROR

    run(scenario())


@pytest.mark.bounds("connection_window_bytes")
def test_the_connection_window_is_widened_as_bytes_come(run: Run) -> None:
    """What comes is given back to the connection whether it is read or not, on closed streams too."""

    async def scenario() -> None:
        limits: dict[str, Any] = {"connection_window_bytes": 100_000, "ping_seconds": 0.0}
        async with Serving(**limits) as serving, RawClient(serving.port) as peer:
            await widened(peer, 0)
            await peer.send(request(1, READ), data(1, bytes(15_000)), data(1, bytes(15_000)))
            await peer.send(request(3, READ), reset(3), *[frame(DATA, 0, 3, bytes(10_000))] * 4)
            assert await widened(peer, 0) >= 50_000

    run(scenario())


@pytest.mark.bounds("connection_window_bytes")
def test_more_data_than_a_channels_connection_window(run: Run) -> None:
    """A channel leaves a server that sends a frame longer than the connection's window."""

    async def scenario() -> None:
        limits = hasten.rpc.Limits(connection_window_bytes=65_535)
        async with RawServer() as server, hasten.rpc.Channel(server.address, limits=limits) as channel:
            call = asyncio.ensure_future(code_of(say(channel)))
            peer = await server.accept()
            await peer.until(HEADERS, 1)
            await peer.send(response(1), frame(DATA, 0, 1, bytes(65_536)))
            assert (await peer.goaway()).code is ErrorCode.FLOW_CONTROL_ERROR
            assert (await call)[0] is grpc.StatusCode.UNAVAILABLE

    run(scenario())
