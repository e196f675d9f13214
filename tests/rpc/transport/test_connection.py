"""Bytes to frames, and the frames of no stream (RFC 9113), on a server's connection without a socket."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten.rpc._limits import Limits
from hasten.rpc.server import Server
from hasten.rpc.wire._frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    SETTINGS_ACK,
    WINDOW_UPDATE,
    ErrorCode,
    frame,
    settings_frame,
)
from tests.rpc._fakes import MemoryTransport
from tests.rpc._peers import Frame, block, cut, data, request, request_fields, reset, window_update
from tests.rpc.limits._serving import CHAT, SAY, Serving

if TYPE_CHECKING:
    from hasten.rpc.server._connection import ServerConnection

FIRST = PREFACE + settings_frame({}) + SETTINGS_ACK
OPENED = FIRST + request(1, CHAT)
SAID = request(3, SAY) + data(3, b"hello", END_STREAM)


class Session:
    """A server's connection, and what it has sent."""

    def __init__(self, serving: Serving) -> None:
        self.loop = asyncio.get_running_loop()
        self.connection: ServerConnection = serving.server._connection()
        self.transport = MemoryTransport(self.loop, self.connection)
        self.unhandled: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda _, context: self.unhandled.append(context))

    async def answers(self) -> list[Frame]:
        """Return the frames that were sent since the last time, once nothing more happens."""
        for _ in range(10):
            await asyncio.sleep(0)
        frames, rest = cut(self.transport.take())
        assert not rest
        return frames


@asynccontextmanager
async def session(**limits: Any) -> AsyncIterator[Session]:
    async with Serving(**limits) as serving:
        opened = Session(serving)
        yield opened
        opened.transport.close()
        await opened.connection.lost
    assert not opened.unhandled


def in_session(scenario: Callable[[Session], Awaitable[None]], **limits: Any) -> None:
    async def run() -> None:
        async with session(**limits) as opened:
            await scenario(opened)

    asyncio.run(run())


def kinds(frames: list[Frame], stream_id: int) -> list[int]:
    return [each.kind for each in frames if each.stream_id == stream_id]


def test_our_first_words() -> None:
    """The first frame is SETTINGS, without a table for headers, then the connection's window."""

    async def scenario(opened: Session) -> None:
        first, second = await opened.answers()
        assert first.settings == {0x1: 0, 0x3: 1000, 0x4: 1 << 20, 0x5: 1 << 20, 0x6: 16 << 10}
        assert (second.kind, second.increment) == (WINDOW_UPDATE, (16 << 20) - 65_535)

    in_session(scenario)


@given(st.lists(st.integers(0, len(FIRST + SAID)), max_size=12))
def test_split_at_any_byte(cuts: list[int]) -> None:
    """However the bytes are split among reads, the same call is answered in the same way."""
    words = FIRST + SAID

    async def scenario(opened: Session) -> None:
        for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(words)], strict=True):
            opened.transport.feed(words[start:end])
        assert kinds(await opened.answers(), 3) == [HEADERS, DATA, HEADERS]

    in_session(scenario)


def test_byte_by_byte() -> None:
    """A peer may send one byte at a time."""

    async def scenario(opened: Session) -> None:
        for byte in FIRST + SAID + frame(0x42, 0, 0, bytes(300)) + request(5, SAY) + data(5, b"", END_STREAM):
            opened.transport.feed(bytes((byte,)))
        answers = await opened.answers()
        assert kinds(answers, 3) == kinds(answers, 5) == [HEADERS, DATA, HEADERS]
        assert not opened.connection._partial

    in_session(scenario)


IGNORED = {
    "unknown type": frame(0x42, 0xFF, 0, b"x" * 100) + frame(0xFF, 0xFF, 1, b""),
    "unknown setting": settings_frame({0x99: 5}),
    "priority": frame(PRIORITY, 0, 7, bytes(5)) + frame(PRIORITY, 0, 1, bytes(5)),
    "unknown flags": frame(PING, 0xFE, 0, bytes(8)),
    "window of a stream that has ended": window_update(3, 1) * 3,
    "goaway": frame(GOAWAY, 0, 0, bytes(8)),
    "the reserved bit": frame(PING, 0, 1 << 31, bytes(8)),
    "no data": frame(DATA, 0, 1) * 10,
    "priority of headers": frame(HEADERS, END_HEADERS | 0x20, 5, bytes(5) + block(request_fields(CHAT))),
    "padding of headers": frame(HEADERS, END_HEADERS | 0x8, 5, b"\x03" + block(request_fields(CHAT)) + bytes(3)),
}


@pytest.mark.parametrize("name", IGNORED)
def test_frames_that_change_nothing(name: str) -> None:
    """What the protocol lets a peer send, and what it asks us to ignore, disturbs no call."""

    async def scenario(opened: Session) -> None:
        opened.transport.feed(OPENED + SAID)
        await opened.answers()
        opened.transport.feed(IGNORED[name])
        opened.transport.feed(data(1, b"still there", END_STREAM))
        answers = await opened.answers()
        assert kinds(answers, 1) == [HEADERS, DATA, HEADERS]
        assert GOAWAY not in kinds(answers, 0)

    in_session(scenario)


PROTOCOL, SIZE, FLOW = ErrorCode.PROTOCOL_ERROR, ErrorCode.FRAME_SIZE_ERROR, ErrorCode.FLOW_CONTROL_ERROR
COMPRESSION = ErrorCode.COMPRESSION_ERROR
VIOLATIONS: dict[str, tuple[ErrorCode, bytes]] = {
    "data of stream 0": (PROTOCOL, frame(DATA, 0, 0, b"x")),
    "data of an idle stream": (PROTOCOL, frame(DATA, 0, 9, b"x")),
    "padding of data": (PROTOCOL, frame(DATA, 0x8, 1, b"\x01")),
    "padding of nothing": (PROTOCOL, frame(DATA, 0x8, 1, b"")),
    "padding of data of a closed stream": (PROTOCOL, reset(1) + frame(DATA, 0x8, 1, b"\x05abc")),
    "even stream": (PROTOCOL, request(8, SAY)),
    "headers of a closed stream": (ErrorCode.STREAM_CLOSED, reset(1) + request(1, SAY)),
    "padding of headers": (PROTOCOL, frame(HEADERS, END_HEADERS | 0x8, 5, b"\x09abc")),
    "no room for the priority": (SIZE, frame(HEADERS, END_HEADERS | 0x20, 5, b"abc")),
    "a stream that depends on itself": (PROTOCOL, frame(PRIORITY, 0, 5, b"\x00\x00\x00\x05\x00")),
    "priority of stream 0": (PROTOCOL, frame(PRIORITY, 0, 0, bytes(5))),
    "short priority": (SIZE, frame(PRIORITY, 0, 1, bytes(4))),
    "reset of an idle stream": (PROTOCOL, reset(9)),
    "reset of stream 0": (PROTOCOL, reset(0)),
    "short reset": (SIZE, frame(RST_STREAM, 0, 1, bytes(3))),
    "settings of a stream": (PROTOCOL, frame(SETTINGS, 0, 1)),
    "settings of a broken size": (SIZE, frame(SETTINGS, 0, 0, bytes(7))),
    "settings acknowledged with settings": (SIZE, frame(SETTINGS, ACK, 0, bytes(6))),
    "push of 2": (PROTOCOL, settings_frame({0x2: 2})),
    "short frames": (PROTOCOL, settings_frame({0x5: 16_383})),
    "long frames": (PROTOCOL, settings_frame({0x5: 1 << 24})),
    "large window": (FLOW, settings_frame({0x4: 1 << 31})),
    "push": (PROTOCOL, frame(PUSH_PROMISE, END_HEADERS, 1, bytes(4))),
    "ping of a stream": (PROTOCOL, frame(PING, 0, 1, bytes(8))),
    "short ping": (SIZE, frame(PING, 0, 0, bytes(7))),
    "goaway of a stream": (PROTOCOL, frame(GOAWAY, 0, 1, bytes(8))),
    "short goaway": (SIZE, frame(GOAWAY, 0, 0, bytes(7))),
    "window update of an idle stream": (PROTOCOL, window_update(9, 1)),
    "window update of 0": (PROTOCOL, window_update(0, 0)),
    "short window update": (SIZE, frame(WINDOW_UPDATE, 0, 0, bytes(3))),
    "continuation of nothing": (PROTOCOL, frame(CONTINUATION, END_HEADERS, 1)),
    "something within a header block": (PROTOCOL, frame(HEADERS, 0, 5) + frame(PING, 0, 0, bytes(8))),
    "another stream within a header block": (PROTOCOL, frame(HEADERS, 0, 5) + frame(CONTINUATION, 0, 7)),
    "a header block without an end": (COMPRESSION, frame(HEADERS, END_HEADERS, 5, b"\x00\x05abc")),
    "an index beyond the table": (COMPRESSION, frame(HEADERS, END_HEADERS, 5, b"\xff\x00")),
    "an index of 0": (COMPRESSION, frame(HEADERS, END_HEADERS, 5, b"\x80")),
    "an endless integer": (COMPRESSION, frame(HEADERS, END_HEADERS, 5, b"\x7f" + b"\xff" * 20)),
    "Huffman that is none": (COMPRESSION, frame(HEADERS, END_HEADERS, 5, b"\x00\x84\xff\xff\xff\xff\x00")),
    "a table that grows": (COMPRESSION, frame(HEADERS, END_HEADERS, 5, b"\x3f\xe1\x1f")),
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_violations(name: str) -> None:
    """What breaks a rule of the connection ends it with a GOAWAY that names the code and the last stream taken."""
    code, words = VIOLATIONS[name]

    async def scenario(opened: Session) -> None:
        opened.transport.feed(OPENED)
        await opened.answers()
        opened.transport.feed(words)
        (goaway,) = [each for each in await opened.answers() if each.kind == GOAWAY]
        assert (goaway.code, goaway.last_stream_id) == (code, 1)
        assert goaway.debug
        assert opened.transport.is_closing()

    in_session(scenario)


def test_nothing_counts_after_a_violation() -> None:
    """What still comes after a violation, as TLS may bring it, is not looked at, and answered with nothing."""

    async def scenario(opened: Session) -> None:
        opened.transport.feed(OPENED + window_update(0, 0))
        await opened.answers()
        for words in (request(5, SAY), data(5, b"", END_STREAM), bytes(100), b"", window_update(0, 0) * 2):
            opened.connection.data_received(words)
        assert await opened.answers() == []
        assert not opened.connection.streams
        assert len(opened.connection._partial) < 100

    in_session(scenario)


def test_frames_behind_a_violation() -> None:
    """Frames in the same read behind a violation are not looked at either."""

    async def scenario(opened: Session) -> None:
        opened.transport.feed(FIRST + window_update(0, 0) + SAID)
        assert kinds(await opened.answers(), 3) == []

    in_session(scenario)


def test_a_fault_of_ours() -> None:
    """An error within our own code is told to the loop, and ends this connection with INTERNAL_ERROR, no other."""

    async def scenario(opened: Session) -> None:
        opened.transport.feed(FIRST)
        opened.connection.on_headers = None  # type: ignore[method-assign, assignment]
        opened.transport.feed(SAID)
        goaway = (await opened.answers())[-1]
        assert (goaway.kind, goaway.code) == (GOAWAY, ErrorCode.INTERNAL_ERROR)
        (context,) = opened.unhandled
        assert isinstance(context["exception"], TypeError)
        opened.unhandled.clear()

    in_session(scenario)


def test_a_close_that_the_peer_does_not_take() -> None:
    """A peer that does not read our last words is cut off after a second, and no timer is left when it has gone."""

    async def scenario(opened: Session) -> None:
        opened.transport.feed(FIRST)
        opened.connection.close()
        assert opened.connection._patience is not None
        await opened.connection.lost
        assert opened.connection._patience.cancelled()

    in_session(scenario)


def test_headers_in_parts() -> None:
    """A header block in parts counts as one, with the end of the stream that its first frame told."""

    async def scenario(opened: Session) -> None:
        whole = block(request_fields(SAY))
        opened.transport.feed(
            FIRST
            + frame(HEADERS, END_STREAM, 5, whole[:10])
            + frame(CONTINUATION, 0, 5, whole[10:20])
            + frame(CONTINUATION, END_HEADERS, 5, whole[20:])
        )
        assert kinds(await opened.answers(), 5) == [HEADERS]  # there is no message: UNIMPLEMENTED

    in_session(scenario)


def test_a_drain() -> None:
    """A drained connection takes what was on the way, says which stream was the last, and closes behind it."""

    async def scenario(opened: Session) -> None:
        opened.transport.feed(OPENED)
        await opened.answers()
        opened.connection.drain()
        opened.connection.drain()
        first, ping = await opened.answers()
        assert (first.kind, first.last_stream_id, ping.kind) == (GOAWAY, 2**31 - 1, PING)
        opened.transport.feed(request(5, CHAT) + frame(PING, ACK, 0, ping.payload))
        (second,) = await opened.answers()
        assert (second.kind, second.last_stream_id) == (GOAWAY, 5)
        opened.transport.feed(request(7, CHAT) + data(7, b"too late") + reset(1))
        assert HEADERS not in kinds(await opened.answers(), 7)
        assert not opened.transport.ended
        opened.transport.feed(reset(5))
        await opened.answers()
        assert opened.transport.ended

    in_session(scenario)


def test_a_drain_with_an_answer_that_waits() -> None:
    """A drained connection closes when the client resets the last stream, whose answer waited for its window."""

    async def scenario(opened: Session) -> None:
        opened.transport.feed(PREFACE + settings_frame({0x4: 0}) + SAID)
        await opened.answers()
        assert opened.connection.streams[3].ended
        opened.connection.drain()
        ping = (await opened.answers())[-1]
        opened.transport.feed(frame(PING, ACK, 0, ping.payload) + reset(3))
        await opened.answers()
        assert opened.transport.ended

    in_session(scenario)


def test_server_of_no_methods() -> None:
    """A server without handlers refuses calls and stays."""

    async def run() -> None:
        server = Server(limits=Limits())
        await server.start()
        connection = server._connection()
        transport = MemoryTransport(asyncio.get_running_loop(), connection)
        transport.feed(FIRST + SAID + request(5, SAY) + data(5, b"", END_STREAM))
        for _ in range(10):
            await asyncio.sleep(0)
        frames, _ = cut(transport.take())
        assert kinds(frames, 3) == kinds(frames, 5) == [HEADERS]
        transport.close()
        await server.stop(None)

    asyncio.run(run())
