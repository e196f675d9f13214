"""Sessions of real peers, spoiled, and floods of frames to a channel."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import grpc
import grpc.aio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hasten import rpc
from hasten.rpc.channel._connection import ClientConnection
from hasten.rpc.server._connection import ServerConnection
from hasten.rpc.wire._frames import (
    END_STREAM,
    HEADERS,
    PREFACE,
    ErrorCode,
    frame,
    goaway_frame,
    reset_frame,
    settings_frame,
    window_frame,
)
from tests.rpc._fakes import MemoryTransport
from tests.rpc._peers import block, cut, message
from tests.rpc.fuzz.recorded import CLIENTS, HANDLERS, KINDS, SERVICE, record, spoiled
from tests.rpc.fuzz.sessions import ENCODER, LIMITS, largest_container, noise
from tests.rpc.fuzz.test_fuzz import NoChannel, Owner, Watch, ended, settle

FRAMES = 50_000
_EXAMPLES = 150
_SERVERS: dict[str, Callable[[], grpc.aio.Server]] = {"grpc.aio": grpc.aio.server, "hasten": rpc.Server}


def _examples(count: int) -> settings:
    return settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck))


@cache
def from_client(name: str) -> bytes:
    return record(CLIENTS[name], rpc.Server)[0]


@cache
def from_server(name: str) -> bytes:
    return record(CLIENTS["hasten"], _SERVERS[name])[1]


def serve(pieces: list[bytes], limits: rpc.Limits = LIMITS) -> bytes:
    """Give a server's connection what was read, and lose the connection; return what it has answered."""

    async def session() -> bytes:
        watch, loop = Watch(), asyncio.get_running_loop()
        server = rpc.Server(limits=limits)
        server.add_registered_method_handlers(SERVICE, HANDLERS)
        connection = ServerConnection(loop, server)
        transport = MemoryTransport(loop, connection)
        for piece in pieces:
            transport.feed(piece)
            await asyncio.sleep(0)
        await settle()
        written = transport.take()
        await ended(connection, transport, watch)
        return written

    return asyncio.run(session())


def start(channel: rpc.Channel, connection: ClientConnection, number: int, timeout: float) -> Any:
    """Send a call on a connection, of a kind by its number."""
    channel.dispatcher(connection.loop).ready = connection
    path = f"/{SERVICE}/{KINDS[number % 4]}"
    made: list[Callable[[], Any]] = [
        lambda: channel.unary_unary(path)(b"x", timeout=timeout),
        lambda: channel.unary_stream(path)(b"x", timeout=timeout),
        lambda: channel.stream_unary(path)(timeout=timeout),
        lambda: channel.stream_stream(path)(timeout=timeout),
    ]
    call = made[number % 4]()
    getattr(call, "_exchange", call).channel = NoChannel()
    return call


def answer(pieces: list[bytes]) -> None:
    """Give a channel's connection with calls of all kinds what was read; each must end."""

    async def session() -> None:
        watch, loop = Watch(), asyncio.get_running_loop()
        channel = rpc.Channel("127.0.0.1:1", limits=LIMITS)
        connection = ClientConnection(loop, LIMITS, ENCODER, Owner())
        transport = MemoryTransport(loop, connection)
        calls = [start(channel, connection, number, 0.02) for number in range(7)]
        for piece in pieces:
            transport.feed(piece)
            await asyncio.sleep(0)
        await asyncio.wait_for(asyncio.gather(*(call.code() for call in calls)), timeout=5)
        calls.clear()
        await channel.close()
        await ended(connection, transport, watch)

    asyncio.run(session())


@pytest.mark.parametrize("name", CLIENTS)
def test_recorded_sessions(name: str) -> None:
    """What is to be spoiled is whole: each request in it is answered to the end."""
    session = from_client(name)
    asked = {each.stream_id for each in cut(session[len(PREFACE) :])[0] if each.kind == HEADERS}
    answers, _ = cut(serve([session], rpc.Limits()))
    told = {each.stream_id for each in answers if each.kind == HEADERS and each.flags & END_STREAM}
    assert len(asked) >= len(KINDS)
    assert told == asked


@pytest.mark.parametrize("name", CLIENTS)
@given(draw=st.data())
@_examples(_EXAMPLES)
def test_spoiled_sessions_of_real_clients(name: str, draw: st.DataObject) -> None:
    """A server takes what a real client sent, spoiled in any way, without an error of its own; nothing is left."""
    serve(draw.draw(spoiled(from_client(name))))


@pytest.mark.parametrize("name", _SERVERS)
@given(draw=st.data())
@_examples(_EXAMPLES)
def test_spoiled_sessions_of_real_servers(name: str, draw: st.DataObject) -> None:
    """Calls end, whatever becomes of the answers of a real server; nothing is left."""
    answer(draw.draw(spoiled(from_server(name))))


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", CLIENTS)
@given(draw=st.data())
@_examples(5000)
def test_many_spoiled_sessions_of_real_clients(name: str, draw: st.DataObject) -> None:
    """The same with many more of them."""
    serve(draw.draw(spoiled(from_client(name))))


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", _SERVERS)
@given(draw=st.data())
@_examples(3000)
def test_many_spoiled_sessions_of_real_servers(name: str, draw: st.DataObject) -> None:
    """The same with many more of them."""
    answer(draw.draw(spoiled(from_server(name))))


@given(frames=st.lists(noise, max_size=60))
@_examples(100)
def test_noise_from_a_server(frames: list[bytes]) -> None:
    """Frames of any type, flags, stream and length end no call later than its deadline."""
    answer([settings_frame({}), *frames])


class Answers:
    """Frames of a server that break no rule: parts of answers in any order, resets, settings, refusals."""

    def __init__(self, seed: int) -> None:
        self._source = random.Random(seed)
        self._heads = [block([(":status", "200"), ("content-type", "application/grpc"), *more]) for more in _MORE]

    def frame(self, stream_ids: list[int]) -> bytes:
        """Return the next frame, for one of the open streams or one that has ended."""
        source = self._source
        stream_id = source.choice(stream_ids) if source.random() < 0.8 else source.choice([1, 3, 5])
        body = source.randbytes(source.randrange(300))
        kind = source.randrange(9)
        if kind == 0:
            return frame(1, 4, stream_id, source.choice(self._heads))
        if kind < 4:  # some messages never come whole
            return frame(0, 0, stream_id, message(body)[: source.choice([3, 9, 1000])])
        if kind == 4:
            trailers = block([("grpc-status", str(source.randrange(17))), (f"t-{source.randrange(500)}", "v")])
            return frame(1, 5, stream_id, trailers)
        if kind == 5:
            return reset_frame(stream_id, source.choice(list(ErrorCode)))
        return source.choice(
            [
                window_frame(0, 1000),
                window_frame(stream_id, 1000),
                settings_frame({4: source.randrange(70_000), 3: 100}),
                frame(0, 1, stream_id, message(body)),
                frame(11, 0, 0, body),
                frame(2, 0, stream_id + 2, bytes(5)),
            ]
        )


_MORE: list[list[tuple[str, str]]] = [[], [("grpc-encoding", "gzip")], [(f"h-{1}", "v")], [("server", "x" * 50)]]


async def flooded(frames: int, seed: int) -> tuple[int, int]:
    """Send so many frames to a channel that always has calls open; return its longest container, and its calls."""
    watch, loop, answers = Watch(), asyncio.get_running_loop(), Answers(seed)
    limits = replace(LIMITS, held_bytes=100_000)
    channel = rpc.Channel("127.0.0.1:1", limits=limits)
    connection = ClientConnection(loop, limits, ENCODER, Owner())
    transport = MemoryTransport(loop, connection)
    transport.feed(settings_frame({}) + frame(4, 1, 0))
    calls: list[Any] = []
    longest = started = 0
    for number in range(frames):
        while len(connection.streams) + len(connection.waiting) < 40:
            calls.append(start(channel, connection, started, 60.0))
            started += 1
        transport.feed(answers.frame(list(connection.streams)))
        if number % 100 == 0:
            await asyncio.sleep(0)
            transport.take()
            calls = [call for call in calls if not call.done()]
            assert connection.held_bytes <= limits.held_bytes + 100_000
            assert connection.output.kept_bytes <= 40 * 100
        if number % 1000 == 0:  # as long as a hundred frames take
            longest = max(longest, largest_container(connection))
    assert not transport.is_closing(), connection.goaway_reason
    transport.feed(goaway_frame(0, ErrorCode.NO_ERROR))
    await asyncio.gather(*(call.code() for call in calls))
    calls.clear()
    await channel.close()
    await ended(connection, transport, watch)
    return longest, started


def test_a_channel_does_not_grow() -> None:
    """After 50,000 frames to one channel, and thousands of calls, no container is longer than the limits allow."""
    longest, started = asyncio.run(flooded(FRAMES, 1))
    assert started > FRAMES // 20
    assert longest <= 1024  # a message's first bytes; what is remembered of headers is less


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(5))
def test_a_channel_does_not_grow_for_long(seed: int) -> None:
    """After a million frames neither."""
    longest, _ = asyncio.run(flooded(1_000_000, seed))
    assert longest <= 1024
