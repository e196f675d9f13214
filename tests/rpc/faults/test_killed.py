"""A server that is killed ends its calls at once, and is called again when it is back."""

import asyncio
import signal
import socket
import struct

import grpc
import pytest

import hasten.rpc
from hasten.rpc.wire._frames import HEADERS
from tests.conftest import LoopFactory
from tests.rpc._peers import RawServer, data, response, trailers
from tests.rpc.faults._processes import ServerProcess
from tests.rpc.faults._service import CALLS, HOLD, SERVICE, code_of, unary

QUICKLY_BACK = [("grpc.initial_reconnect_backoff_ms", 100)]


@pytest.mark.parametrize("kind", CALLS)
def test_a_killed_server_ends_its_calls(kind: str, loop_factory: LoopFactory) -> None:
    """A call without a deadline whose server is killed ends with UNAVAILABLE; a later one gets its successor."""

    async def scenario() -> None:
        async with ServerProcess() as server, hasten.rpc.Channel(server.address, options=QUICKLY_BACK) as channel:
            held = asyncio.create_task(code_of(CALLS[kind](channel, HOLD)))
            assert await unary(channel) == b"first"  # on the same connection, so the server has the held call too
            server.send(signal.SIGKILL)
            assert await held is grpc.StatusCode.UNAVAILABLE
            await server.ended()
            await server.start()
            call = channel.unary_unary(f"/{SERVICE}/Unary")(b"again", wait_for_ready=True)
            assert await call == b"again"
            assert await CALLS[kind](channel, b"again") == b"again"

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())


def test_an_absent_server_fails_calls_until_it_is_back(loop_factory: LoopFactory) -> None:
    """While a killed server is away calls fail with UNAVAILABLE, unless they wait; the channel finds it by itself."""

    async def scenario() -> None:
        async with ServerProcess() as server, hasten.rpc.Channel(server.address, options=QUICKLY_BACK) as channel:
            await unary(channel)
            server.send(signal.SIGKILL)
            await server.ended()
            assert await code_of(unary(channel)) is grpc.StatusCode.UNAVAILABLE
            await server.start()
            await channel.channel_ready()
            assert await unary(channel) == b"first"

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())


def test_a_call_made_as_another_is_lost(loop_factory: LoopFactory) -> None:
    """A call that is made while the loss of its connection is being told does not go to the dead connection."""

    async def scenario() -> None:
        async with RawServer() as server, hasten.rpc.Channel(server.address, options=QUICKLY_BACK) as channel:
            method = channel.unary_unary(f"/{SERVICE}/Unary")
            again: list[grpc.aio.UnaryUnaryCall[bytes, bytes]] = []
            lost = method(b"lost")
            lost.add_done_callback(lambda _: again.append(method(b"again")))
            peer = await server.accept()
            await peer.until(HEADERS, 1)
            peer._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.close()  # as a machine that has gone does: a reset, and no end of the stream before
            assert await lost.code() is grpc.StatusCode.UNAVAILABLE
            second = await server.accept()
            await second.until(HEADERS, 1)
            await second.send(response(1), data(1, b"again"), trailers(1))
            assert await again[0] == b"again"

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())
