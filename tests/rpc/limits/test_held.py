"""Messages that nobody reads, or that never come whole."""

import asyncio
import gzip
from typing import Any

import grpc
import pytest

import hasten.rpc
from hasten.rpc.wire._frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    RST_STREAM,
    ErrorCode,
    frame,
)
from tests.rpc._peers import RawClient, RawServer, data, headers, message, request, response, trailers
from tests.rpc.limits._serving import READ, SAY, Serving, code_of, say, until
from tests.rpc.limits.conftest import Run


@pytest.mark.bounds("held_bytes")
def test_messages_that_nobody_reads(run: Run) -> None:
    """Beyond the bytes that a connection may hold, the stream that brings more is reset; the others go on."""

    async def scenario() -> None:
        async with Serving(held_bytes=10_000) as serving, RawClient(serving.port) as peer:
            await peer.send(request(1, READ), data(1, bytes(4000)), data(1, bytes(4000)))
            await peer.send(request(3, READ), data(3, bytes(4000)))
            reset = await peer.until(RST_STREAM)
            assert (reset.stream_id, reset.code) == (3, ErrorCode.ENHANCE_YOUR_CALM)
            serving.release()
            await until(lambda: serving.connection.held_bytes == 0)
            await peer.send(data(1, bytes(4000)), frame(DATA, END_STREAM, 1))
            answer = await peer.until(DATA, 1)
            assert answer.payload == message(b"12000")
            assert serving.connection.held_bytes == 0

    run(scenario())


@pytest.mark.bounds("held_bytes")
def test_incomplete_messages(run: Run) -> None:
    """The beginnings of messages count too, and are forgotten with their streams."""

    async def scenario() -> None:
        async with Serving(held_bytes=10_000) as serving, RawClient(serving.port) as peer:
            half = message(bytes(8000))[:4000]
            await peer.send(*(request(id_, SAY) + frame(DATA, 0, id_, half) for id_ in (1, 3, 5)))
            reset = await peer.until(RST_STREAM)
            assert (reset.stream_id, reset.code) == (5, ErrorCode.ENHANCE_YOUR_CALM)
            assert serving.connection.held_bytes == 8000
            await peer.send(frame(DATA, END_STREAM, 1), frame(DATA, END_STREAM, 3))
            assert await peer.status(3) == "13"
            assert serving.connection.held_bytes == 0

    run(scenario())


@pytest.mark.bounds("held_bytes")
def test_many_small_messages_that_nobody_reads(run: Run) -> None:
    """Messages without a byte count as well, so that a megabyte of them does not take twenty."""

    async def scenario() -> None:
        async with Serving(held_bytes=100_000) as serving, RawClient(serving.port) as peer:
            await peer.send(request(1, READ), *[frame(DATA, 0, 1, message(b"") * 500)] * 100)
            assert (await peer.until(RST_STREAM, 1)).code is ErrorCode.ENHANCE_YOUR_CALM
            assert serving.connection.held_bytes == 0

    run(scenario())


@pytest.mark.bounds("held_bytes")
def test_responses_that_nobody_reads(run: Run) -> None:
    """A channel holds no more either: the call that is sent more is RESOURCE_EXHAUSTED."""

    async def scenario() -> None:
        limits = hasten.rpc.Limits(held_bytes=10_000)
        async with RawServer() as server, hasten.rpc.Channel(server.address, limits=limits) as channel:
            call: Any = channel.unary_stream(SAY)(b"")
            peer = await server.accept()
            await peer.until(HEADERS, 1)
            await peer.send(response(1), *[data(1, bytes(4000))] * 3)
            assert (await peer.until(RST_STREAM, 1)).code is ErrorCode.ENHANCE_YOUR_CALM
            assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

    run(scenario())


@pytest.mark.bounds("held_bytes")
@pytest.mark.parametrize("kind", ["unary", "stream"])
@pytest.mark.parametrize("end", ["trailers", "data"])
def test_cut_off_responses_are_not_held(end: str, kind: str, run: Run) -> None:
    """The beginnings of responses that never end leave nothing behind that would keep later calls from theirs."""

    async def scenario() -> None:
        limits = hasten.rpc.Limits(held_bytes=10_000)
        async with RawServer() as server, hasten.rpc.Channel(server.address, limits=limits) as channel:
            peer = None
            for id_ in range(1, 21, 2):
                call: Any = channel.unary_unary(SAY)(b"") if kind == "unary" else channel.unary_stream(SAY)(b"")
                peer = peer or await server.accept()
                await peer.until(HEADERS, id_)
                half = frame(DATA, END_STREAM if end == "data" else 0, id_, message(bytes(8000))[:4000])
                await peer.send(response(id_), half, trailers(id_) if end == "trailers" else b"")
                assert await call.code() in {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}
            (connection,) = channel.dispatcher(asyncio.get_running_loop()).connections()
            assert connection.held_bytes == 0

    run(scenario())


def test_more_than_one_response_message(run: Run) -> None:
    """Anything behind the message of a unary response fails the call, and is not held."""

    async def scenario() -> None:
        async with RawServer() as server, hasten.rpc.Channel(server.address) as channel:
            peer = None
            for id_, behind in [(1, message(b"two")), (3, b"\x00"), (5, b"\x01")]:
                call = asyncio.ensure_future(code_of(say(channel)))
                peer = peer or await server.accept()
                await peer.until(HEADERS, id_)
                await peer.send(response(id_), frame(DATA, 0, id_, message(b"one") + behind), trailers(id_))
                assert (await call)[0] is grpc.StatusCode.UNIMPLEMENTED
            (connection,) = channel.dispatcher(asyncio.get_running_loop()).connections()
            assert connection.held_bytes == 0

    run(scenario())


@pytest.mark.parametrize("kind", ["unary", "stream"])
def test_a_compressed_message_before_the_headers(kind: str, run: Run) -> None:
    """A server that sends a compressed message before it says how it is compressed fails its call, nothing else."""

    async def scenario() -> None:
        async with RawServer() as server, hasten.rpc.Channel(server.address) as channel:
            call: Any = channel.unary_unary(SAY)(b"") if kind == "unary" else channel.unary_stream(SAY)(b"")
            reading = asyncio.ensure_future(call if kind == "unary" else call.read())
            peer = await server.accept()
            await peer.until(HEADERS, 1)
            await peer.send(frame(DATA, 0, 1, message(gzip.compress(b""), compressed=1)), response(1), trailers(1))
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await reading
            assert failed.value.code() is grpc.StatusCode.INTERNAL
            again = asyncio.ensure_future(say(channel))
            await peer.until(HEADERS, 3)
            await peer.send(response(3), data(3, b"answer"), trailers(3))
            assert await again == b"answer"

    run(scenario())


def test_a_refused_request_with_a_long_body(run: Run) -> None:
    """Of a request that is refused no body is held, however long it is."""

    async def scenario() -> None:
        async with Serving() as serving, RawClient(serving.port) as peer:
            await peer.send(headers(1, [(":method", "PUT"), (":scheme", "http"), (":path", "/")], END_HEADERS))
            await peer.send(*[frame(DATA, 0, 1, bytes(16_384))] * 3)
            await until(lambda: serving.connection.streams)
            await peer.send(*[frame(DATA, 0, 1, bytes(16_384))] * 3)
            fields = peer.fields(await peer.until(HEADERS, 1))
            assert fields[":status"] == "405"
            assert serving.connection.held_bytes == 0
            assert (await peer.until(RST_STREAM, 1)).code is ErrorCode.NO_ERROR

    run(scenario())
