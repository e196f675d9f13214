"""Peers that send and do not read."""

import asyncio
import socket
from typing import Any

import grpc
import pytest

import hasten.rpc
from hasten.rpc.transport._connection import Connection
from hasten.rpc.wire._frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PING,
    frame,
    settings_frame,
)
from tests.rpc._peers import RawClient, RawPeer, RawServer, data, request, response, trailers, window_update
from tests.rpc.limits._serving import POUR, POURED, SAY, Serving, code_of, say, until
from tests.rpc.limits.conftest import Run

A_PING = frame(PING, 0, 0, bytes(8))


def shrink(connection: Connection[Any]) -> None:
    """Let the system keep as little as it can of what is sent."""
    own = connection.get_extra_info("socket")
    assert isinstance(own, socket.socket) or hasattr(own, "setsockopt")
    own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)


def waiting_bytes(connection: Connection[Any]) -> int:
    """Return what waits in the transport to be sent."""
    assert connection._transport is not None
    return connection._transport.get_write_buffer_size()


async def flood(peer: RawPeer, frames: bytes, connection: Connection[Any]) -> "asyncio.Task[None]":
    """Send frames until nothing is read any more; return the task that still has some to send.

    Args:
      frames: With more answers than the system keeps, or it would take them and reading would go on.
    """

    async def send() -> None:
        while not connection.reading.paused:
            await peer.send(frames)
            await asyncio.sleep(0)  # it is read now, not when the system's buffers are full, megabytes later

    task = asyncio.create_task(send())
    await until(lambda: connection.reading.paused)
    return task


@pytest.mark.bounds("control_frames", "write_high_bytes")
@pytest.mark.parametrize("frames", [settings_frame({}) * 8000, A_PING * 4000], ids=["settings", "pings"])
def test_control_frames_of_a_peer_that_does_not_read(frames: bytes, run: Run) -> None:
    """Who sends control frames and reads no answers is not read any more, until it reads: then all are answered."""

    async def scenario() -> None:
        limits: dict[str, Any] = {"control_frames": 50, "write_high_bytes": 10_000, "ping_seconds": 0.0}
        async with Serving(**limits) as serving, RawClient(serving.port, receive_buffer=4096) as peer:
            await peer.acknowledged()
            connection = serving.connection
            shrink(connection)
            task = await flood(peer, frames, connection)
            kind, length = frames[3], 9 + frames[2]
            one_read = 256 * 1024
            assert connection.output.paused
            assert 10_000 <= waiting_bytes(connection) <= 10_000 + 50 * length + one_read
            answers = asyncio.create_task(count(peer, kind))
            await task
            await peer.send(request(1, SAY), data(1, b"", END_STREAM))
            assert await answers % (len(frames) // length) == 0
            assert not connection.reading.paused

    async def count(peer: RawPeer, kind: int) -> int:
        answers = 0
        while (each := await peer.next()).kind != HEADERS:
            answers += each.kind == kind
        return answers

    run(scenario())


@pytest.mark.bounds("control_frames")
def test_refusals_of_a_peer_that_does_not_read(run: Run) -> None:
    """Who sends requests that are refused at once and reads no answers is not read any more either."""

    async def scenario() -> None:
        limits: dict[str, Any] = {"control_frames": 50, "write_high_bytes": 10_000, "concurrent_handlers": 1_000_000}
        async with Serving(**limits) as serving, RawClient(serving.port, receive_buffer=4096) as peer:
            connection = serving.connection
            shrink(connection)
            next_id = 1

            async def send() -> None:
                nonlocal next_id
                while not connection.reading.paused:
                    ids = range(next_id, next_id + 100, 2)
                    await peer.send(*(request(id_, "/no/such", flags=END_HEADERS | END_STREAM) for id_ in ids))
                    next_id += 100
                    await asyncio.sleep(0)  # as in `flood`

            task = asyncio.create_task(send())
            await until(lambda: connection.reading.paused)
            assert waiting_bytes(connection) <= 10_000 + 512 * 1024
            answered = next_id - 100
            assert await peer.status(answered) == "12"
            await task

    run(scenario())


@pytest.mark.bounds("write_high_bytes")
def test_a_writer_waits_for_a_peer_that_does_not_read(run: Run) -> None:
    """A handler that streams to a peer which opens its windows and does not read waits once the bound is reached."""

    async def scenario() -> None:
        window = 2**31 - 1
        async with (
            Serving(write_high_bytes=30_000) as serving,
            RawClient(serving.port, {INITIAL_WINDOW_SIZE: window}, receive_buffer=4096) as peer,
        ):
            connection = serving.connection
            shrink(connection)
            await peer.send(window_update(0, window - 65_535), request(1, POUR), data(1, b"", END_STREAM))
            await until(lambda: connection.output.paused)
            await until(lambda: connection.output.kept_bytes)
            assert waiting_bytes(connection) <= 30_000 + 2 * (len(POURED) + 14)
            assert connection.output.kept_bytes == len(POURED) + 5
            for _ in range(100):
                await peer.until(DATA, 1)

    run(scenario())


@pytest.mark.bounds("write_high_bytes")
def test_calls_wait_for_a_server_that_does_not_read(run: Run) -> None:
    """Calls to a server that reads nothing wait in the channel until their deadline, and pile up nothing before it."""

    async def scenario() -> None:
        limits = hasten.rpc.Limits(write_high_bytes=30_000)
        async with (
            RawServer(receive_buffer=4096) as server,
            hasten.rpc.Channel(server.address, limits=limits) as channel,
        ):
            first = asyncio.ensure_future(say(channel))
            peer = await server.accept({INITIAL_WINDOW_SIZE: 1 << 20})
            await peer.send(window_update(0, 1 << 30))
            await peer.until(HEADERS, 1)
            (connection,) = channel.dispatcher(asyncio.get_running_loop()).connections()
            shrink(connection)
            large = [asyncio.ensure_future(code_of(say(channel, bytes(200_000)))) for _ in range(10)]
            await until(lambda: connection.output.paused)
            before = waiting_bytes(connection)
            hasty = [channel.unary_unary(SAY)(b"", timeout=0.01) for _ in range(1000)]
            codes = [await code_of(call) for call in hasty]
            assert {code for code, _ in codes} == {grpc.StatusCode.DEADLINE_EXCEEDED}
            assert waiting_bytes(connection) <= before
            await peer.send(response(1), data(1, b"answer"), trailers(1))
            assert await first == b"answer"
            for call in large:
                call.cancel()
            await asyncio.gather(*large, return_exceptions=True)

    run(scenario())


@pytest.mark.bounds("control_frames")
def test_a_channel_stops_reading_too(run: Run) -> None:
    """A server that floods a channel with SETTINGS and does not read is not read any more, until it reads."""

    async def scenario() -> None:
        limits = hasten.rpc.Limits(control_frames=50, write_high_bytes=10_000)
        async with (
            RawServer(receive_buffer=4096) as server,
            hasten.rpc.Channel(server.address, limits=limits) as channel,
        ):
            call = asyncio.ensure_future(say(channel))
            peer = await server.accept()
            await peer.until(DATA, 1)
            (connection,) = channel.dispatcher(asyncio.get_running_loop()).connections()
            shrink(connection)
            task = await flood(peer, settings_frame({}) * 8000, connection)
            reader = asyncio.create_task(peer.until(HEADERS))
            await task
            await peer.send(response(1), data(1, b"answer"), trailers(1))
            assert await call == b"answer"
            await until(lambda: not connection.reading.paused)
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    run(scenario())
