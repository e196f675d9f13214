"""Peers that let us send nothing, or less than before."""

import asyncio
from typing import Any

import grpc
import pytest

import hasten.rpc
from hasten.rpc.wire._frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PING,
    RST_STREAM,
    ErrorCode,
    frame,
    settings_frame,
)
from hasten.rpc.wire._hpack import TABLE_SIZE_ZERO
from tests.rpc._peers import (
    RawClient,
    RawServer,
    data,
    failure,
    message,
    request,
    reset,
    response,
    trailers,
    window_update,
)
from tests.rpc.limits._serving import CHAT, POUR, REPEAT, SAY, Serving, code_of, say, until
from tests.rpc.limits.conftest import Run

A_PING = frame(PING, 0, 0, bytes(8))


OVERFLOWS = {
    "connection": window_update(0, 2**31 - 1),
    "settings": settings_frame({INITIAL_WINDOW_SIZE: 2**31}),
    "settings of an open stream": window_update(1, 2**31 - 1 - 65_535) + settings_frame({INITIAL_WINDOW_SIZE: 65_536}),
}


@pytest.mark.parametrize("name", OVERFLOWS)
def test_windows_of_ours_that_overflow(name: str, run: Run) -> None:
    """A window above 2^31-1 ends the connection (RFC 9113 sections 6.9.1 and 6.9.2)."""

    async def scenario() -> None:
        async with Serving() as serving, RawClient(serving.port) as peer:
            await peer.send(request(1, CHAT), OVERFLOWS[name])
            assert (await peer.goaway()).code is ErrorCode.FLOW_CONTROL_ERROR

    run(scenario())


def test_a_window_that_becomes_negative(run: Run) -> None:
    """After SETTINGS made a window negative nothing is sent until it is positive again (RFC 9113 section 6.9.2)."""

    async def scenario() -> None:
        async with (
            Serving(ping_seconds=0.0) as serving,
            RawClient(serving.port, {INITIAL_WINDOW_SIZE: 1000}) as peer,
        ):
            await peer.send(request(1, REPEAT), data(1, b"3000", END_STREAM))
            assert len((await peer.until(DATA, 1)).payload) == 1000
            await peer.send(settings_frame({INITIAL_WINDOW_SIZE: 0}), window_update(1, 1000), A_PING)
            assert (await peer.until(PING)).flags
            await peer.send(window_update(1, 7))
            assert len((await peer.until(DATA, 1)).payload) == 7
            await peer.send(settings_frame({INITIAL_WINDOW_SIZE: 5000}))
            assert len((await peer.until(DATA, 1)).payload) == 1998
            assert await peer.status(1) == "0"

    run(scenario())


@pytest.mark.bounds("decoded_header_bytes_per_second")
def test_windows_that_are_raised_by_a_byte(run: Run) -> None:
    """SETTINGS that let each of many streams send a byte are paid like headers: the peer is read more slowly."""

    async def scenario() -> None:
        async with (
            Serving(decoded_header_bytes_per_second=500) as serving,
            RawClient(serving.port, {INITIAL_WINDOW_SIZE: 0}) as peer,
        ):
            ids = range(1, 1801, 2)
            blocks = [TABLE_SIZE_ZERO + request(1, SAY)[9:], *[request(id_, SAY)[9:] for id_ in ids[1:]]]
            heads = [frame(HEADERS, END_HEADERS, id_, block) for id_, block in zip(ids, blocks, strict=True)]
            await peer.send(*(head + data(id_, b"x", END_STREAM) for id_, head in zip(ids, heads, strict=True)))
            connection = serving.connection
            await until(lambda: connection.output.stuck_streams == len(ids))
            assert not connection.reading.paused
            await peer.send(settings_frame({INITIAL_WINDOW_SIZE: 1}))
            for _ in ids:
                assert len((await peer.until(DATA)).payload) == 1
            assert connection.reading.paused  # for 6 seconds

    run(scenario())


@pytest.mark.usefixtures("impatient")
def test_stopping_with_a_peer_that_takes_nothing(run: Run) -> None:
    """A server stops although a client, whose window is closed, never takes its responses."""

    async def scenario() -> None:
        async with Serving() as serving, RawClient(serving.port, {INITIAL_WINDOW_SIZE: 0}) as peer:
            await peer.send(request(1, SAY), data(1, b"kept", END_STREAM), request(3, POUR), data(3, b"", END_STREAM))
            await until(lambda: serving.connection.output.kept_bytes > 10_000)
            await serving.server.stop(None)
            codes = {each.code for each in await peer.rest() if each.kind == RST_STREAM}
            assert codes == {ErrorCode.CANCEL}

    run(scenario())


@pytest.mark.usefixtures("impatient")
def test_stopping_after_a_goaway_of_the_peer(run: Run) -> None:
    """A server stops although a client has said that it will go, and stays."""

    async def scenario() -> None:
        async with Serving() as serving, RawClient(serving.port) as peer:
            await peer.send(frame(0x7, 0, 0, bytes(8)), request(1, CHAT), data(1, b"said"))
            assert (await peer.until(DATA, 1)).payload == message(b"said")
            await serving.server.stop(None)
            assert await peer.status(1) == "1"
            await peer.rest()

    run(scenario())


def test_a_deadline_with_a_peer_that_takes_nothing(run: Run) -> None:
    """When the deadline of a call passes whose response waits for the client's window, nothing of it is kept."""

    async def scenario() -> None:
        async with Serving() as serving, RawClient(serving.port, {INITIAL_WINDOW_SIZE: 0}) as peer:
            timeout = [("grpc-timeout", "20m")]
            await peer.send(request(1, SAY, timeout), data(1, b"kept", END_STREAM))
            await peer.send(request(3, POUR, timeout), data(3, b"", END_STREAM))
            resets = [await peer.until(RST_STREAM) for _ in range(2)]
            assert {(each.stream_id, each.code) for each in resets} == {(1, ErrorCode.CANCEL), (3, ErrorCode.CANCEL)}
            assert not serving.connection.streams
            assert serving.connection.output.kept_bytes == 0

    run(scenario())


@pytest.mark.parametrize("kind", ["unary", "stream"])
def test_a_server_that_answers_before_it_takes_the_request(kind: str, run: Run) -> None:
    """When a server ends a call whose request waits for its window, nothing of the request is kept, no writer waits."""

    async def scenario() -> None:
        async with RawServer() as server, hasten.rpc.Channel(server.address) as channel:
            call: Any = channel.unary_unary(SAY)(b"large") if kind == "unary" else channel.stream_unary(SAY)()
            writing = asyncio.ensure_future(call.write(b"large")) if kind == "stream" else None
            peer = await server.accept({INITIAL_WINDOW_SIZE: 0})
            await peer.until(HEADERS, 1)
            (connection,) = channel.dispatcher(asyncio.get_running_loop()).connections()
            await until(lambda: connection.output.kept_bytes)
            await peer.send(failure(1, 7))
            assert await call.code() is grpc.StatusCode.PERMISSION_DENIED
            assert connection.output.kept_bytes == 0
            if writing is not None:
                await writing

    run(scenario())


def test_a_waiting_call_takes_the_place_of_one_that_was_reset(run: Run) -> None:
    """A call that waits for SETTINGS_MAX_CONCURRENT_STREAMS is sent when the server resets another."""

    async def scenario() -> None:
        async with RawServer() as server, hasten.rpc.Channel(server.address) as channel:
            first = asyncio.ensure_future(code_of(say(channel)))
            peer = await server.accept({0x3: 1})
            await peer.until(DATA, 1)
            second = asyncio.ensure_future(say(channel))
            (connection,) = channel.dispatcher(asyncio.get_running_loop()).connections()
            await until(lambda: connection.waiting)
            await peer.send(reset(1))
            assert (await first)[0] is grpc.StatusCode.CANCELLED
            await peer.until(DATA, 3)
            await peer.send(response(3), data(3, b"answer"), trailers(3))
            assert await second == b"answer"

    run(scenario())
