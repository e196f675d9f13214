"""Messages and frames that are too large."""

import asyncio
import gzip
from typing import Any

import grpc
import pytest

import hasten.rpc
from hasten.rpc.wire._frames import (
    DATA,
    END_STREAM,
    HEADERS,
    MAX_FRAME_SIZE,
    ErrorCode,
    frame,
)
from tests.rpc._peers import RawClient, RawPeer, RawServer, data, message, request, response, trailers
from tests.rpc.limits._serving import CHAT, REPEAT, SAY, Serving, code_of, say
from tests.rpc.limits.conftest import Run

MOST = 1000
GZIP = [("grpc-encoding", "gzip")]
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


def bodies(size: int) -> dict[str, list[tuple[list[tuple[str, str]], bytes]]]:
    """Return the ways in which a message of `size` bytes comes: metadata, and the payload of each DATA frame."""
    plain, packed = message(bytes(size)), message(gzip.compress(bytes(size)), compressed=1)
    return {
        "one frame": [([], plain)],
        "pieces": [([], plain[:1]), ([], plain[1:7]), ([], plain[7:])],
        "compressed": [(GZIP, packed)],
        "compressed, pieces": [(GZIP, packed[:9]), (GZIP, packed[9:])],
    }


WAYS = list(bodies(0))


def request_of(stream_id: int, path: str, way: str, size: int) -> bytes:
    """Return a request with one message of `size` bytes."""
    parts = bodies(size)[way]
    frames = [frame(DATA, 0, stream_id, part) for _, part in parts]
    return request(stream_id, path, parts[0][0]) + b"".join(frames) + frame(DATA, END_STREAM, stream_id)


@pytest.mark.bounds("message_bytes")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("path", [SAY, CHAT])
def test_a_request_above_the_bound(path: str, way: str, run: Run) -> None:
    """A request of as many bytes as allowed is answered, one byte more is RESOURCE_EXHAUSTED, however it comes."""

    async def scenario() -> None:
        async with Serving(message_bytes=MOST) as serving, RawClient(serving.port) as peer:
            await peer.send(request_of(1, path, way, MOST))
            assert await peer.status(1) == "0"
            await peer.send(request_of(3, path, way, MOST + 1))
            assert await peer.status(3) == "8"
            assert serving.connection.held_bytes == 0

    run(scenario())


@pytest.mark.bounds("message_bytes")
def test_a_request_is_refused_by_its_length(run: Run) -> None:
    """A message that says that it is too long is refused before its bytes are there."""

    async def scenario() -> None:
        async with Serving() as serving, RawClient(serving.port) as peer:
            four_mib = 4 * 1024 * 1024
            await peer.send(request(1, SAY), frame(DATA, 0, 1, message(b"")[:1] + (four_mib + 1).to_bytes(4, "big")))
            assert await peer.status(1) == "8"

    run(scenario())


@pytest.mark.bounds("message_bytes")
def test_a_compression_bomb(run: Run) -> None:
    """A message that would become a thousand times as long is not decompressed beyond the bound."""

    async def scenario() -> None:
        bomb = gzip.compress(bytes(1 << 26))
        async with Serving() as serving, RawClient(serving.port) as peer:
            await peer.send(request(1, SAY, GZIP), frame(DATA, END_STREAM, 1, message(bomb, compressed=1)))
            assert await peer.status(1) == "8"

    run(scenario())


async def response_of(peer: RawPeer, stream_id: int, way: str, size: int) -> None:
    """Answer a call with one message of `size` bytes."""
    parts = bodies(size)[way]
    await peer.until(HEADERS, stream_id)
    frames = [frame(DATA, 0, stream_id, part) for _, part in parts]
    await peer.send(response(stream_id, parts[0][0]), *frames, trailers(stream_id))


@pytest.mark.bounds("message_bytes")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["unary", "stream"])
def test_a_response_above_the_bound(kind: str, way: str, run: Run) -> None:
    """A response of as many bytes as allowed is read, one byte more is RESOURCE_EXHAUSTED, however it comes."""

    async def scenario() -> None:
        limits = hasten.rpc.Limits(message_bytes=MOST)
        async with RawServer() as server, hasten.rpc.Channel(server.address, limits=limits) as channel:
            first = asyncio.ensure_future(answer(channel))
            peer = await server.accept()
            await response_of(peer, 1, way, MOST)
            assert await first == bytes(MOST)
            second = asyncio.ensure_future(code_of(answer(channel)))
            await response_of(peer, 3, way, MOST + 1)
            assert (await second)[0] is EXHAUSTED
            (connection,) = channel.dispatcher(asyncio.get_running_loop()).connections()
            assert connection.held_bytes == 0

    async def answer(channel: hasten.rpc.Channel) -> Any:
        if kind == "unary":
            return await say(channel)
        return await anext(aiter(channel.unary_stream(SAY)(b"")))

    run(scenario())


@pytest.mark.bounds("sent_message_bytes")
def test_a_response_too_large_to_send(run: Run) -> None:
    """A handler's response above the bound is not sent: the client gets RESOURCE_EXHAUSTED; without a bound it is."""

    async def scenario() -> None:
        async with Serving(sent_message_bytes=MOST) as serving, RawClient(serving.port) as peer:
            for id_, size, status in [(1, MOST, "0"), (3, MOST + 1, "8")]:
                await peer.send(request(id_, REPEAT), data(id_, b"%d" % size, END_STREAM))
                assert await peer.status(id_) == status
        async with Serving() as serving, RawClient(serving.port) as peer:
            await peer.send(request(1, REPEAT), data(1, b"%d" % (MOST + 1), END_STREAM))
            assert await peer.status(1) == "0"

    run(scenario())


@pytest.mark.bounds("sent_message_bytes")
@pytest.mark.parametrize("kind", ["unary", "stream"])
def test_a_request_too_large_to_send(kind: str, run: Run) -> None:
    """A request above the bound is not sent: the call is RESOURCE_EXHAUSTED."""

    async def scenario() -> None:
        limits = hasten.rpc.Limits(sent_message_bytes=MOST)
        async with Serving() as serving, hasten.rpc.Channel(serving.address, limits=limits) as channel:
            assert await send(channel, MOST)
            assert (await code_of(send(channel, MOST + 1)))[0] is EXHAUSTED

    async def send(channel: hasten.rpc.Channel, size: int) -> bytes:
        if kind == "unary":
            return await say(channel, bytes(size))
        call: Any = channel.stream_stream(CHAT)()
        await call.write(bytes(size))
        await call.done_writing()
        answer: bytes = await call.read()
        return answer

    run(scenario())


@pytest.mark.bounds("frame_bytes")
def test_a_frame_above_the_bound(run: Run) -> None:
    """The bound is told to the peer; a frame that says that it is longer ends the connection at once."""

    async def scenario() -> None:
        async with (
            Serving(frame_bytes=20_000, stream_window_bytes=100_000) as serving,
            RawClient(serving.port) as peer,
        ):
            assert peer.settings[MAX_FRAME_SIZE] == 20_000
            await peer.send(request(1, SAY), data(1, bytes(20_000 - 5), END_STREAM))
            assert await peer.status(1) == "0"
            await peer.send(request(3, SAY), (20_001).to_bytes(3, "big") + bytes((DATA, 0)) + (3).to_bytes(4, "big"))
            assert (await peer.goaway()).code is ErrorCode.FRAME_SIZE_ERROR

    run(scenario())


@pytest.mark.bounds("frame_bytes")
def test_a_frame_above_the_bound_from_a_server(run: Run) -> None:
    """A channel leaves a server that sends a longer frame than it may; the call is UNAVAILABLE."""

    async def scenario() -> None:
        limits = hasten.rpc.Limits(frame_bytes=16_384)
        async with RawServer() as server, hasten.rpc.Channel(server.address, limits=limits) as channel:
            call = asyncio.ensure_future(code_of(say(channel)))
            peer = await server.accept()
            assert peer.settings[MAX_FRAME_SIZE] == 16_384
            await peer.until(HEADERS, 1)
            await peer.send(frame(0x42, 0, 0, bytes(16_385)))
            assert (await peer.goaway()).code is ErrorCode.FRAME_SIZE_ERROR
            assert await call == (grpc.StatusCode.UNAVAILABLE, "frame of 16385 bytes")

    run(scenario())


def test_data_padded_to_nothing(run: Run) -> None:
    """Padding longer than its frame ends the connection; as long as the frame it is only padding."""

    async def scenario() -> None:
        async with Serving() as serving, RawClient(serving.port) as peer:
            padded = frame(DATA, 0x8, 1, bytes((255,)) + bytes(255))
            await peer.send(request(1, CHAT), padded, data(1, b"said", END_STREAM))
            assert (await peer.until(DATA, 1)).payload == message(b"said")
            assert await peer.status(1) == "0"
            await peer.send(request(3, CHAT), frame(DATA, 0x8, 3, bytes((255,)) + bytes(254)))
            assert (await peer.goaway()).code is ErrorCode.PROTOCOL_ERROR

    run(scenario())
