"""How long a connection may take to begin, stay silent, and live."""

import asyncio
import contextlib
import ssl
from typing import Any

import grpc
import pytest

import hasten.rpc
from hasten.rpc.wire._frames import (
    ACK,
    DATA,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    SETTINGS_ACK,
    ErrorCode,
    frame,
    settings_frame,
)
from tests.rpc._peers import RawClient, RawPeer, RawServer, data, message, request, response, trailers
from tests.rpc.certificates import Certificates
from tests.rpc.limits._serving import CHAT, HOLD, SAY, Serving, code_of, say
from tests.rpc.limits.conftest import Run

STEP = 0.05


@pytest.mark.bounds("preface_seconds")
@pytest.mark.parametrize("begun", [b"", PREFACE[:-1]])
def test_a_preface_that_does_not_come(begun: bytes, run: Run) -> None:
    """A client that says nothing, or not all of its preface, is cut off; one that has said it stays."""

    async def scenario() -> None:
        async with Serving(preface_seconds=STEP) as serving, RawClient(serving.port) as patient:
            async with RawClient(serving.port, handshake=False) as peer:
                await peer.send(begun)
                assert (await peer.goaway()).code is ErrorCode.SETTINGS_TIMEOUT
            await patient.send(request(1, SAY), data(1, b"", END_STREAM))
            assert await patient.status(1) == "0"

    run(scenario())


@pytest.mark.bounds("preface_seconds")
def test_a_tls_handshake_that_does_not_come(certificates: Certificates, run: Run) -> None:
    """A client that connects to a TLS port and says nothing is cut off as well."""

    async def scenario() -> None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificates.server.certificate, certificates.server.key)
        server = hasten.rpc.Server(limits=hasten.rpc.Limits(preface_seconds=STEP))
        port = server.add_secure_port("127.0.0.1:0", tls)
        await server.start()
        async with RawClient(port, handshake=False) as peer:
            assert await peer.rest() == []
        await server.stop(None)

    run(scenario())


@pytest.mark.bounds("settings_seconds")
def test_settings_that_do_not_come(run: Run) -> None:
    """A client that sends its preface and no SETTINGS is cut off; one that has sent them stays."""

    async def scenario() -> None:
        async with Serving(settings_seconds=STEP) as serving, RawClient(serving.port) as patient:
            async with RawClient(serving.port, handshake=False) as peer:
                await peer.send(PREFACE)
                assert (await peer.goaway()).code is ErrorCode.SETTINGS_TIMEOUT
            await patient.send(request(1, SAY), data(1, b"", END_STREAM))
            assert await patient.status(1) == "0"

    run(scenario())


def test_no_settings_first(run: Run) -> None:
    """Anything but SETTINGS behind the preface, and anything but the preface, ends the connection."""

    async def scenario() -> None:
        async with Serving() as serving:
            for words in (PREFACE + request(1, SAY), b"GET / HTTP/1.1\r\n\r\n", PREFACE[:10] + b"x"):
                async with RawClient(serving.port, handshake=False) as peer:
                    await peer.send(words)
                    assert (await peer.goaway()).code is ErrorCode.PROTOCOL_ERROR

    run(scenario())


async def answer(peer: RawPeer, seen: list[int]) -> None:
    """Answer all calls of a connection with their request, until it ends."""
    with contextlib.suppress(EOFError):
        while True:
            body = await peer.until(DATA)
            seen.append(body.stream_id)
            await peer.send(response(body.stream_id), data(body.stream_id, body.payload[5:]), trailers(body.stream_id))


@pytest.mark.bounds("last_stream_id")
@pytest.mark.parametrize("last", [1, 4, 9])
def test_stream_ids_run_out(last: int, run: Run) -> None:
    """A channel goes to a new connection when its stream ids are used up; no call is lost, no id is higher."""

    async def scenario() -> None:
        limits = hasten.rpc.Limits(last_stream_id=last)
        async with RawServer() as server, hasten.rpc.Channel(server.address, limits=limits) as channel:
            seen: list[list[int]] = []
            accepting = asyncio.create_task(accept(server, seen))
            for number in range(20):
                assert await say(channel, b"%d" % number) == b"%d" % number
            accepting.cancel()
            await asyncio.gather(accepting, return_exceptions=True)
            per_connection = (last + 1) // 2
            assert seen == [list(range(1, last + 1, 2))] * (20 // per_connection) + [
                list(range(1, 2 * rest, 2)) for rest in [20 % per_connection] if rest
            ]

    async def accept(server: RawServer, seen: list[list[int]]) -> None:
        answering: list[asyncio.Task[None]] = []
        try:
            while True:
                peer = await server.accept()
                seen.append([])
                answering.append(asyncio.create_task(answer(peer, seen[-1])))
        finally:
            for task in answering:
                task.cancel()
            await asyncio.gather(*answering, return_exceptions=True)

    run(scenario())


@pytest.mark.bounds("last_stream_id")
def test_calls_go_on_while_stream_ids_run_out(run: Run) -> None:
    """Calls that are open when the ids run out go on; among hundreds at once none is lost."""

    async def scenario() -> None:
        limits = hasten.rpc.Limits(last_stream_id=21)
        async with Serving() as serving, hasten.rpc.Channel(serving.address, limits=limits) as channel:
            chat: Any = channel.stream_stream(CHAT)()
            await chat.write(b"begun")
            assert await chat.read() == b"begun"
            held = asyncio.ensure_future(channel.unary_unary(HOLD)(b"held"))
            wanted = [b"%d" % number for number in range(300)]
            assert await asyncio.gather(*(say(channel, each) for each in wanted)) == wanted
            assert all(each.last_peer_id <= 21 for each in serving.connections)
            await chat.write(b"still there")
            assert await chat.read() == b"still there"
            await chat.done_writing()
            serving.release()
            assert await held == b"held"

    run(scenario())


SILENCE: dict[str, Any] = {"keepalive_seconds": STEP, "keepalive_timeout_seconds": STEP}


@pytest.mark.bounds("keepalive_seconds", "keepalive_timeout_seconds")
def test_a_server_that_falls_silent(run: Run) -> None:
    """A channel whose server answers no PING gives the connection up; its calls are UNAVAILABLE."""

    async def scenario() -> None:
        limits = hasten.rpc.Limits(**SILENCE)
        async with RawServer() as server, hasten.rpc.Channel(server.address, limits=limits) as channel:
            call = asyncio.ensure_future(code_of(say(channel)))
            peer = await server.accept()
            assert (await peer.until(PING)).flags == 0
            assert await call == (grpc.StatusCode.UNAVAILABLE, "keepalive watchdog timeout")
            await peer.rest()

    run(scenario())


@pytest.mark.bounds("keepalive_seconds", "keepalive_timeout_seconds")
def test_a_server_that_only_answers_pings(run: Run) -> None:
    """As long as PINGs are answered a call may take its time."""

    async def scenario() -> None:
        limits = hasten.rpc.Limits(keepalive_seconds=0.02, keepalive_timeout_seconds=5.0)
        async with RawServer() as server, hasten.rpc.Channel(server.address, limits=limits) as channel:
            call = asyncio.ensure_future(say(channel))
            peer = await server.accept()
            for _ in range(2):
                await peer.send(frame(PING, ACK, 0, (await peer.until(PING)).payload))
            await peer.send(response(1), data(1, b"late"), trailers(1))
            assert await call == b"late"

    run(scenario())


@pytest.mark.bounds("keepalive_seconds", "keepalive_timeout_seconds")
def test_a_client_that_falls_silent(run: Run) -> None:
    """A server whose client answers no PING gives the connection up, and cancels its handlers."""

    async def scenario() -> None:
        async with Serving(**SILENCE) as serving, RawClient(serving.port) as peer:
            await peer.send(request(1, CHAT), data(1, b"said"))
            await peer.until(PING)
            await peer.rest()
            assert serving.connections == []

    run(scenario())


@pytest.mark.bounds("keepalive_without_calls")
def test_pings_without_calls(run: Run) -> None:
    """PINGs are sent while no call is open only if that is wanted."""

    async def scenario() -> None:
        async with Serving(keepalive_without_calls=True, **SILENCE) as serving, RawClient(serving.port) as watched:
            await watched.until(PING)
            async with Serving(**SILENCE) as other, RawClient(other.port) as unwatched:
                await watched.rest()
                await unwatched.send(frame(PING, 0, 0, bytes(8)))
                assert (await unwatched.until(PING)).flags == ACK

    run(scenario())


@pytest.mark.bounds("connection_age_seconds", "connection_age_grace_seconds")
def test_an_old_connection(run: Run) -> None:
    """A connection of the bound's age is drained: two GOAWAYs, calls go on, and what is left is cut after the grace."""

    async def scenario() -> None:
        limits: dict[str, Any] = {"connection_age_seconds": STEP, "connection_age_grace_seconds": 4 * STEP}
        async with Serving(**limits) as serving, RawClient(serving.port) as peer:
            await peer.send(request(1, CHAT), request(3, CHAT))
            first = await peer.until(GOAWAY)
            assert (first.code, first.last_stream_id) == (ErrorCode.NO_ERROR, 2**31 - 1)
            await peer.send(request(5, CHAT), frame(PING, ACK, 0, (await peer.until(PING)).payload))
            second = await peer.until(GOAWAY)
            assert (second.code, second.last_stream_id) == (ErrorCode.NO_ERROR, 5)
            await peer.send(data(3, b"late", END_STREAM), data(5, b"later", END_STREAM))
            answers = [(await peer.until(DATA)).payload for _ in range(2)]
            assert sorted(answers) == [message(b"late"), message(b"later")]
            assert not any(each.kind == HEADERS and each.stream_id == 1 for each in await peer.rest())

    run(scenario())


@pytest.mark.bounds("connection_age_seconds")
def test_an_old_connection_without_calls(run: Run) -> None:
    """An old connection ends at once when no call is open; 0 lets it live."""

    async def scenario() -> None:
        async with Serving(connection_age_seconds=STEP) as serving, RawClient(serving.port) as peer:
            ping = await peer.until(PING)
            await peer.send(frame(PING, ACK, 0, ping.payload))
            assert (await peer.goaway()).last_stream_id == 0
        async with Serving() as serving, RawClient(serving.port):
            assert serving.connection._age is None

    run(scenario())


@pytest.mark.bounds("connection_idle_seconds")
def test_an_idle_connection(run: Run) -> None:
    """A connection without calls for so long is drained, one with an open call is not."""

    async def scenario() -> None:
        async with Serving(connection_idle_seconds=STEP) as serving, RawClient(serving.port) as busy:
            await busy.send(request(1, CHAT), data(1, b"said"))
            await busy.until(DATA, 1)
            for _ in range(2):
                async with RawClient(serving.port) as idle:
                    assert (await idle.until(GOAWAY)).code is ErrorCode.NO_ERROR
            await busy.send(data(1, b"still there", END_STREAM))
            assert (await busy.next()).payload == message(b"still there")

    run(scenario())


def test_settings_acknowledged_first(run: Run) -> None:
    """An acknowledgement in the place of the first SETTINGS is harmless."""

    async def scenario() -> None:
        async with Serving() as serving, RawClient(serving.port, handshake=False) as peer:
            await peer.send(PREFACE, SETTINGS_ACK, settings_frame({}), request(1, SAY), data(1, b"", END_STREAM))
            assert await peer.status(1) == "0"

    run(scenario())
