"""Whatever a peer sends: nothing raises, no call hangs past its deadline, nothing grows without bound."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import grpc
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hasten import rpc
from hasten.rpc.channel._connection import ClientConnection
from hasten.rpc.server._connection import ServerConnection
from hasten.rpc.wire._frames import PREFACE, SETTINGS_ACK, ErrorCode, frame, reset_frame, settings_frame, window_frame
from tests.rpc._fakes import MemoryTransport
from tests.rpc.fuzz.sessions import ENCODER, LIMITS, METHODS, client_sessions, largest_container, server_sessions

FRAMES = 50_000
_QUIET = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


async def unary(request: bytes, _: Any) -> bytes:
    return request


async def responses(request: bytes, _: Any) -> AsyncIterator[bytes]:
    for _number in range(3):
        yield request


async def both(requests: AsyncIterator[bytes], _: Any) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request


async def hang(_request: bytes, _: Any) -> bytes:
    await asyncio.Event().wait()
    return b""


def make_server(limits: rpc.Limits = LIMITS) -> rpc.Server:
    server = rpc.Server(limits=limits)
    handlers: dict[str, Any] = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Responses": grpc.unary_stream_rpc_method_handler(responses),
        "Both": grpc.stream_stream_rpc_method_handler(both),
        "Hang": grpc.unary_unary_rpc_method_handler(hang),
    }
    server.add_registered_method_handlers("test.Service", handlers)
    return server


async def settle() -> None:
    for _ in range(6):
        await asyncio.sleep(0)


class Watch:
    """Collects what reaches the loop's exception handler."""

    def __init__(self) -> None:
        self.reported: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: self.reported.append(context))


async def ended(connection: Any, transport: MemoryTransport, watch: Watch) -> None:
    """Lose the connection, and check that nothing is left of it."""
    transport.close()
    await settle()
    assert not watch.reported
    assert not connection.streams
    assert connection.held_bytes == 0
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert not others


@given(pieces=server_sessions)
@_QUIET
def test_broken_sessions_of_clients(pieces: list[bytes]) -> None:
    """A server takes any session without an error of its own; when it is over nothing is left."""

    async def session() -> None:
        watch, loop = Watch(), asyncio.get_running_loop()
        connection = ServerConnection(loop, make_server())
        transport = MemoryTransport(loop, connection)
        for piece in pieces:
            transport.feed(piece)
            await asyncio.sleep(0)
        await settle()
        await ended(connection, transport, watch)

    asyncio.run(session())


class Owner:
    """A subchannel that does not care."""

    def connection_ready(self, connection: ClientConnection) -> None: ...

    def connection_closing(self, connection: ClientConnection) -> None: ...

    def connection_gone(self, connection: ClientConnection) -> None: ...


class NoChannel:
    """A channel without another connection: what is to be sent again fails."""

    def dispatch(self, call: Any) -> None:
        call.finish(grpc.StatusCode.UNAVAILABLE, "no connection", final=True)

    def dispatch_later(self, call: Any, seconds: float) -> None:
        self.dispatch(call)

    def attempt_ended(self, call: Any, code: grpc.StatusCode, *, final: bool) -> bool:
        return False

    def attempt_withdrawn(self, call: Any) -> None: ...


def start_calls(channel: rpc.Channel, connection: ClientConnection, count: int) -> list[Any]:
    """Send calls of the four kinds on a connection, each with a deadline of 20 ms."""
    loop = asyncio.get_running_loop()
    channel.dispatcher(loop).ready = connection
    path = METHODS[0]
    made: list[Any] = []
    for number in range(count):
        if number % 4 == 0:
            made.append(channel.unary_unary(path)(b"x", timeout=0.02))
        elif number % 4 == 1:
            made.append(channel.unary_stream(path)(b"x", timeout=0.02))
        elif number % 4 == 2:
            made.append(channel.stream_unary(path)(timeout=0.02))
        else:
            made.append(channel.stream_stream(path)(timeout=0.02))
    return made


@given(pieces=client_sessions, count=st.integers(1, 12))
@_QUIET
def test_broken_sessions_of_servers(pieces: list[bytes], count: int) -> None:
    """A channel's connection takes any session; each call ends, at its deadline at the latest."""

    async def session() -> None:
        watch, loop = Watch(), asyncio.get_running_loop()
        channel = rpc.Channel("127.0.0.1:1", limits=LIMITS)
        connection = ClientConnection(loop, LIMITS, ENCODER, Owner())
        transport = MemoryTransport(loop, connection)
        calls = start_calls(channel, connection, count)
        for call in calls:
            getattr(call, "_exchange", call).channel = NoChannel()
        for piece in pieces:
            transport.feed(piece)
            await asyncio.sleep(0)
        codes = await asyncio.wait_for(asyncio.gather(*(call.code() for call in calls)), timeout=5)
        assert len(codes) == count
        del call, calls
        await channel.close()
        await ended(connection, transport, watch)

    asyncio.run(session())


class Flood:
    """Frames that break no rule of HTTP/2 and cost what they can: calls that never end, resets, new header names."""

    def __init__(self, seed: int) -> None:
        self._source = random.Random(seed)
        self._next = 1

    def frame(self) -> bytes:
        """Return the next frames."""
        source, stream_id = self._source, self._next
        kind = source.random()
        if kind < 0.5:
            self._next += 2
            pairs = ((f"key-{source.randrange(2000)}", str(stream_id)), ("traceparent", str(source.random())))
            opened = frame(1, 4, stream_id, ENCODER.prefix(source.choice(METHODS)) + ENCODER.rest(pairs, ""))
            return opened + reset_frame(stream_id, ErrorCode.CANCEL) if kind < 0.2 else opened
        if kind < 0.9:
            body = source.randbytes(source.randrange(200))
            length = len(body) + source.choice([0, 0, 500])  # some messages never come whole
            target = max(1, stream_id - 2 * source.randrange(1, 60))
            return frame(0, source.choice([0, 0, 1]), target, bytes(1) + length.to_bytes(4, "big") + body)
        return source.choice(
            [settings_frame({}), window_frame(0, 1000), frame(6, 0, 0, bytes(8)), frame(11, 0, 0, b"x")]
        )


def test_nothing_grows_without_bound() -> None:
    """After 50,000 frames on one connection no container of it is longer than the limits allow."""
    limits = replace(LIMITS, reset_burst=FRAMES, ping_strikes=FRAMES)  # else they would end the connection before
    longest = 0

    async def session() -> None:
        nonlocal longest
        watch, loop, flood = Watch(), asyncio.get_running_loop(), Flood(1)
        connection = ServerConnection(loop, make_server(limits))
        transport = MemoryTransport(loop, connection)
        transport.feed(PREFACE + settings_frame({}) + SETTINGS_ACK)
        for number in range(FRAMES):
            transport.feed(flood.frame())
            if number % 200 == 0:
                await asyncio.sleep(0)
                transport.take()
            if number % 1000 == 0:  # as long as a hundred frames take
                longest = max(longest, largest_container(connection))
        assert not transport.is_closing(), connection.goaway_reason
        assert connection.held_bytes <= limits.held_bytes
        await ended(connection, transport, watch)

    asyncio.run(session())
    # The longest that is allowed: names and prefixes that are remembered (256 each), and a message's first bytes.
    assert LIMITS.concurrent_handlers <= longest <= 1024
