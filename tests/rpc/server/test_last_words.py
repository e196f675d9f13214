"""A server that closes a connection lets its client read everything that it has said."""

import asyncio
import socket

import grpc

from hasten import rpc
from hasten.rpc.wire._frames import ACK, DATA, END_STREAM, GOAWAY, PING, PREFACE, SETTINGS_ACK, frame, settings_frame
from tests.conftest import LoopFactory
from tests.rpc._peers import cut, request

NOISE = frame(0x7F, 0, 0, bytes(16_000)) * 64
"""Frames of an unknown type, more than a server reads at once."""


async def read_all(own: socket.socket) -> bytes:
    """Return what comes until the other side ends; a reset raises ConnectionResetError."""
    received = b""
    while part := await asyncio.get_running_loop().sock_recv(own, 1 << 16):
        received += part
    return received


def test_a_client_that_sends_while_the_server_closes(loop_factory: LoopFactory) -> None:
    """Its call's status and the GOAWAY reach it, and no reset, though the server does not read all that it sends."""

    async def scenario() -> None:
        begun = asyncio.Event()

        async def hold(_: bytes, __: object) -> bytes:
            begun.set()
            await asyncio.Event().wait()
            return b""

        server = rpc.Server()
        server.add_registered_method_handlers("last.Words", {"Hold": grpc.unary_unary_rpc_method_handler(hold)})
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        loop = asyncio.get_running_loop()
        with socket.socket() as own:
            own.settimeout(0.0)
            await loop.sock_connect(own, ("127.0.0.1", port))
            call = request(1, "/last.Words/Hold") + frame(DATA, END_STREAM, 1, bytes(5))
            await loop.sock_sendall(own, PREFACE + settings_frame({}) + SETTINGS_ACK + call)
            await begun.wait()
            stop = asyncio.create_task(server.stop(None))
            await asyncio.sleep(0)
            received = b""
            while not any(each.kind == PING for each in cut(received)[0]):
                received += await loop.sock_recv(own, 1 << 16)
            ping = next(each for each in cut(received)[0] if each.kind == PING)
            sending = asyncio.create_task(loop.sock_sendall(own, frame(PING, ACK, 0, ping.payload) + NOISE))
            received += await read_all(own)
            await sending
        await stop
        frames = cut(received)[0]
        assert [each.kind for each in frames].count(GOAWAY) == 2
        assert any(each.stream_id == 1 and each.flags & END_STREAM for each in frames)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())
