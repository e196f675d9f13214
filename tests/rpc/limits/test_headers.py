"""Header blocks that are long, split without end, or dear to decode."""

import asyncio
from typing import Any

import grpc
import pytest

import hasten.rpc
from hasten.rpc.wire._frames import (
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    MAX_HEADER_LIST_SIZE,
    PING,
    PREFACE,
    SETTINGS_ACK,
    ErrorCode,
    frame,
    settings_frame,
)
from tests.rpc._peers import (
    RawClient,
    RawServer,
    block,
    data,
    headers,
    request,
    request_fields,
    response,
    trailers,
)
from tests.rpc.limits._serving import SAY, Serving, code_of, say, until
from tests.rpc.limits.conftest import Run

HARD = 2000
SOFT = 1000


def split(stream_id: int, whole: bytes, frames: int) -> list[bytes]:
    """Return a header block as HEADERS and so many CONTINUATION frames, most of them empty."""
    empty = [frame(CONTINUATION, 0, stream_id)] * (frames - 1)
    return [frame(HEADERS, 0, stream_id), *empty, frame(CONTINUATION, END_HEADERS, stream_id, whole)]


@pytest.mark.bounds("continuation_frames")
def test_continuation_flood_by_count(run: Run) -> None:
    """As many CONTINUATION frames as allowed make a request; one more, even if all are empty, ends the connection."""

    async def scenario() -> None:
        async with Serving(continuation_frames=3) as serving, RawClient(serving.port) as peer:
            await peer.send(*split(1, block(request_fields(SAY)), 3), data(1, b"whole", END_STREAM))
            assert await peer.status(1) == "0"
            await peer.send(*split(3, block(request_fields(SAY)), 4))
            goaway = await peer.goaway()
            assert (goaway.code, goaway.debug) == (ErrorCode.ENHANCE_YOUR_CALM, "too many CONTINUATION frames")

    run(scenario())


@pytest.mark.bounds("header_list_hard_bytes")
def test_continuation_flood_by_size(run: Run) -> None:
    """A header block longer than a header list may be is not collected to its end."""

    async def scenario() -> None:
        async with (
            Serving(header_list_bytes=SOFT, header_list_hard_bytes=HARD) as serving,
            RawClient(serving.port) as peer,
        ):
            assert peer.settings[MAX_HEADER_LIST_SIZE] == HARD
            await peer.send(frame(HEADERS, 0, 1, bytes(HARD)), frame(CONTINUATION, 0, 1, b"x"))
            goaway = await peer.goaway()
            assert (goaway.code, goaway.debug) == (ErrorCode.ENHANCE_YOUR_CALM, "header block too large")

    run(scenario())


@pytest.mark.bounds("continuation_frames")
def test_continuation_flood_from_a_server(run: Run) -> None:
    """A server that floods a channel loses the connection, and the call fails with UNAVAILABLE."""

    async def scenario() -> None:
        limits = hasten.rpc.Limits(continuation_frames=3)
        async with RawServer() as server, hasten.rpc.Channel(server.address, limits=limits) as channel:
            call = asyncio.ensure_future(code_of(say(channel)))
            peer = await server.accept()
            await peer.until(HEADERS)
            await peer.send(*split(1, block([(":status", "200")]), 4))
            assert (await peer.goaway()).code is ErrorCode.ENHANCE_YOUR_CALM
            assert await call == (grpc.StatusCode.UNAVAILABLE, "too many CONTINUATION frames")

    run(scenario())


def padding(size: int) -> list[tuple[str, str]]:
    """Return a field that makes the list of a request so many bytes long, all told."""
    used = sum(len(name) + len(value) + 32 for name, value in request_fields(SAY))
    return [("x", "y" * (size - used - 33))]


@pytest.mark.bounds("header_list_bytes")
@pytest.mark.parametrize("parts", [0, 2])
def test_a_large_header_list_fails_its_call(parts: int, run: Run) -> None:
    """Up to the soft bound a call runs; above it the call gets RESOURCE_EXHAUSTED, others go on."""

    async def scenario() -> None:
        async with (
            Serving(header_list_bytes=SOFT, header_list_hard_bytes=HARD) as serving,
            RawClient(serving.port) as peer,
        ):
            for id_, size, status in [(1, SOFT, "0"), (3, SOFT + 1, "8"), (5, HARD, "8"), (7, SOFT, "0")]:
                whole = block(request_fields(SAY, padding(size)))
                head = split(id_, whole, parts) if parts else [frame(HEADERS, END_HEADERS, id_, whole)]
                await peer.send(*head, data(id_, b"", END_STREAM))
                assert await peer.status(id_) == status

    run(scenario())


BOMBS = {
    "literal": block(request_fields(SAY, padding(HARD + 1))),
    "many short fields": b"".join((block(request_fields(SAY)), b"\x00\x01x\x00" * 60)),
    "one byte a field": block(request_fields(SAY)) + b"\x90" * 60,
    "far too long": b"\x00\x01x\x7f\xe1\xff\x3f" + bytes(1_000_000),
    "Huffman, far too long": b"\x00\x01x\xff\x80\x88\x3d" + b"\x00" * 1_000_000,
}
"""Header blocks in one frame whose list is above the hard bound."""


@pytest.mark.bounds("header_list_hard_bytes")
@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("acknowledged", [True, False])
def test_a_header_list_above_the_hard_bound(name: str, acknowledged: bool, run: Run) -> None:  # noqa: FBT001
    """A header list above the hard bound ends the connection, in whatever way it is told, before all is decoded."""

    async def scenario() -> None:
        async with (
            Serving(header_list_bytes=SOFT, header_list_hard_bytes=HARD) as serving,
            RawClient(serving.port, handshake=False) as peer,
        ):
            await peer.send(PREFACE, settings_frame({}), SETTINGS_ACK if acknowledged else b"")
            await peer.send(request(1, SAY), data(1, b"", END_STREAM))
            assert await peer.status(1) == "0"
            connection = serving.connection
            before = connection._blocks.decoded_bytes
            await peer.send(frame(HEADERS, END_HEADERS, 3, BOMBS[name]))
            goaway = await peer.goaway()
            assert (goaway.code, goaway.debug) == (ErrorCode.ENHANCE_YOUR_CALM, "header list too large")
            assert connection._blocks.decoded_bytes - before <= HARD

    run(scenario())


@pytest.mark.bounds("header_list_bytes")
@pytest.mark.parametrize("where", ["headers", "trailers"])
def test_a_large_header_list_from_a_server(where: str, run: Run) -> None:
    """A response with a header list above the soft bound fails its call with RESOURCE_EXHAUSTED, others go on."""

    async def scenario() -> None:
        limits = hasten.rpc.Limits(header_list_bytes=SOFT, header_list_hard_bytes=HARD)
        async with RawServer() as server, hasten.rpc.Channel(server.address, limits=limits) as channel:
            large = [("x", "y" * SOFT)]
            first = asyncio.ensure_future(code_of(say(channel)))
            peer = await server.accept()
            await peer.until(HEADERS, 1)
            head, tail = (large, []) if where == "headers" else ([], large)
            await peer.send(response(1, head), data(1, b"answer"), trailers(1, metadata=tail))
            code, details = await first
            assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "soft limit" in details
            second = asyncio.ensure_future(say(channel))
            await peer.until(HEADERS, 3)
            await peer.send(response(3), data(3, b"answer"), trailers(3))
            assert await second == b"answer"

    run(scenario())


@pytest.mark.bounds("header_list_hard_bytes")
def test_a_header_list_above_the_hard_bound_from_a_server(run: Run) -> None:
    """A response with a header list above the hard bound ends the connection; its calls are UNAVAILABLE."""

    async def scenario() -> None:
        limits = hasten.rpc.Limits(header_list_bytes=SOFT, header_list_hard_bytes=HARD)
        async with RawServer() as server, hasten.rpc.Channel(server.address, limits=limits) as channel:
            call = asyncio.ensure_future(code_of(say(channel)))
            peer = await server.accept()
            await peer.until(HEADERS, 1)
            await peer.send(response(1, [("x", "y" * HARD)]))
            assert (await peer.goaway()).code is ErrorCode.ENHANCE_YOUR_CALM
            assert await call == (grpc.StatusCode.UNAVAILABLE, "header list too large")

    run(scenario())


@pytest.mark.bounds("header_cache_entries")
def test_few_header_blocks_are_remembered(run: Run) -> None:
    """However many different blocks come, no more are remembered than the bound says: whole ones, beginnings, names."""

    async def scenario() -> None:
        async with Serving(header_cache_entries=5) as serving, RawClient(serving.port) as peer:
            for number in range(100):
                whole, beginning = 4 * number + 1, 4 * number + 3
                await peer.send(
                    request(whole, SAY, [("grpc-timeout", f"{number + 1}S")]),
                    data(whole, b"", END_STREAM),
                    request(beginning, SAY, [("grpc-timeout", f"{number + 1}M"), (f"x-{number}", "")]),
                    data(beginning, b"", END_STREAM),
                )
                assert await peer.status(beginning) == "0"
            blocks = serving.connection._blocks
            assert 0 < len(blocks.known) <= 5
            assert 0 < len(blocks._prefixes) <= 16
            assert all(0 < len(prefixes) <= 5 for prefixes in blocks._prefixes.values())

    run(scenario())


@pytest.mark.bounds("header_cache_block_bytes")
def test_long_header_blocks_are_not_remembered(run: Run) -> None:
    """A block longer than the bound is decoded each time."""

    async def scenario() -> None:
        short, long = block(request_fields(SAY)), block(request_fields(SAY, [("grpc-accept-encoding", "x" * 100)]))
        async with Serving(header_cache_block_bytes=len(short)) as serving, RawClient(serving.port) as peer:
            for id_, whole in enumerate([short, short, long, long, short]):
                await peer.send(frame(HEADERS, END_HEADERS, 2 * id_ + 1, whole), data(2 * id_ + 1, b"", END_STREAM))
                assert await peer.status(2 * id_ + 1) == "0"
            assert list(serving.connection._blocks.known) == [short]
            assert not serving.connection._blocks._prefixes

    run(scenario())


@pytest.mark.bounds("decoded_header_bytes_per_second")
def test_huffman_bombs_are_read_slowly(run: Run) -> None:
    """Who sends more header bytes that are dear to decode than a second allows is not read for a while; all arrive."""

    async def scenario() -> None:
        budget = 20_000
        async with Serving(decoded_header_bytes_per_second=budget) as serving, RawClient(serving.port) as peer:
            dear = [("x", "a" * 1600)]  # 1,000 bytes of Huffman code
            heads = [headers(id_, request_fields(SAY, dear), huffman=True) for id_ in range(1, 45, 2)]
            await peer.send(*heads)
            await until(lambda: serving.connections and serving.connection.reading.paused)
            await peer.send(*(data(id_, b"late", END_STREAM) for id_ in range(1, 45, 2)), frame(PING, 0, 0, bytes(8)))
            assert serving.connection._blocks.decoded_bytes > budget
            await peer.until(PING)
            assert not serving.connection.reading.paused

    run(scenario())


@pytest.mark.bounds("decoded_header_bytes_per_second")
def test_huffman_bombs_from_a_server_are_read_slowly(run: Run) -> None:
    """A channel does the same to a server."""

    async def scenario() -> None:
        limits = hasten.rpc.Limits(decoded_header_bytes_per_second=20_000)
        async with RawServer() as server, hasten.rpc.Channel(server.address, limits=limits) as channel:
            call: Any = channel.unary_unary(SAY)(b"")
            peer = await server.accept()
            await peer.until(HEADERS, 1)
            fields = [(":status", "100"), ("x", "a" * 1600)]
            await peer.send(*(headers(1, fields, huffman=True) for _ in range(22)))
            (connection,) = channel.dispatcher(asyncio.get_running_loop()).connections()
            await until(lambda: connection.reading.paused)
            await peer.send(response(1), data(1, b"late"), trailers(1))
            assert await call == b"late"
            assert not connection.reading.paused

    run(scenario())
