"""Floods of frames that are cheap to send and want an answer: SETTINGS and PING."""

import asyncio

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
    SETTINGS,
    ErrorCode,
    frame,
    settings_frame,
)
from tests.rpc._peers import RawClient, RawServer, data, request
from tests.rpc.limits._serving import SAY, Serving, code_of, say
from tests.rpc.limits.conftest import Run

A_PING = frame(PING, 0, 0, bytes(8))


def settings_of(count: int) -> bytes:
    """Return a SETTINGS frame with so many settings of no known meaning."""
    return settings_frame({0x1000 + number: 0 for number in range(count)})


@pytest.mark.bounds("settings_per_frame")
def test_many_settings_in_a_frame(run: Run) -> None:
    """As many settings as allowed are acknowledged; one more ends the connection."""

    async def scenario() -> None:
        async with Serving(settings_per_frame=32) as serving, RawClient(serving.port) as peer:
            await peer.acknowledged()
            await peer.send(settings_of(32))
            await peer.acknowledged()
            await peer.send(settings_of(33))
            goaway = await peer.goaway()
            assert (goaway.code, goaway.debug) == (ErrorCode.ENHANCE_YOUR_CALM, "too many settings")

    run(scenario())


@pytest.mark.bounds("settings_per_frame")
def test_many_settings_from_a_server(run: Run) -> None:
    """A channel leaves a server that sends too many settings; the call fails with UNAVAILABLE."""

    async def scenario() -> None:
        limits = hasten.rpc.Limits(settings_per_frame=4)
        async with RawServer() as server, hasten.rpc.Channel(server.address, limits=limits) as channel:
            call = asyncio.ensure_future(code_of(say(channel)))
            peer = await server.accept()
            await peer.until(HEADERS)
            await peer.send(settings_of(5))
            assert (await peer.goaway()).code is ErrorCode.ENHANCE_YOUR_CALM
            assert await call == (grpc.StatusCode.UNAVAILABLE, "too many settings")

    run(scenario())


@pytest.mark.bounds("ping_strikes")
def test_a_ping_flood(run: Run) -> None:
    """The first PING and as many early ones as allowed are answered; one more ends the connection."""

    async def scenario() -> None:
        async with Serving(ping_strikes=2) as serving, RawClient(serving.port) as peer:
            await peer.send(A_PING * 4)
            frames = await peer.rest()
            assert [each.flags for each in frames if each.kind == PING] == [ACK] * 3
            (goaway,) = [each for each in frames if each.kind == GOAWAY]
            assert (goaway.code, goaway.debug) == (ErrorCode.ENHANCE_YOUR_CALM, "too_many_pings")

    run(scenario())


@pytest.mark.bounds("ping_strikes")
def test_pings_while_data_flows(run: Run) -> None:
    """A peer may send PINGs as often as it likes while it gets data, by which it measures its bandwidth."""

    async def scenario() -> None:
        async with Serving(ping_strikes=2) as serving, RawClient(serving.port) as peer:
            for id_ in range(1, 61, 2):
                await peer.send(request(id_, SAY), data(id_, b"", END_STREAM))
                assert await peer.status(id_) == "0"
                await peer.send(A_PING * 2)
                await peer.until(PING)
                await peer.until(PING)

    run(scenario())


@pytest.mark.bounds("ping_seconds")
def test_pings_at_intervals(run: Run) -> None:
    """PINGs that keep the interval are answered for ever, with no call open."""

    async def scenario() -> None:
        async with Serving(ping_seconds=0.0, ping_strikes=0) as serving, RawClient(serving.port) as peer:
            await peer.send(A_PING * 50)
            for _ in range(50):
                assert (await peer.until(PING)).flags == ACK

    run(scenario())


@pytest.mark.bounds("ping_strikes")
def test_a_ping_flood_from_a_server(run: Run) -> None:
    """A channel leaves a server that floods it with PINGs; the call fails with UNAVAILABLE."""

    async def scenario() -> None:
        async with RawServer() as server, hasten.rpc.Channel(server.address) as channel:
            call = asyncio.ensure_future(code_of(say(channel)))
            peer = await server.accept()
            await peer.until(DATA)
            await peer.send(A_PING * 4)
            assert (await peer.goaway()).code is ErrorCode.ENHANCE_YOUR_CALM
            assert await call == (grpc.StatusCode.UNAVAILABLE, "too_many_pings")

    run(scenario())


def test_settings_are_acknowledged_once_each(run: Run) -> None:
    """Each SETTINGS frame is acknowledged, an acknowledgement is not."""

    async def scenario() -> None:
        async with Serving() as serving, RawClient(serving.port) as peer:
            await peer.send(settings_frame({}), frame(SETTINGS, ACK, 0), settings_frame({}), A_PING)
            kinds = []
            while (each := await peer.next()).kind != PING:
                kinds.append((each.kind, each.flags))
            assert kinds.count((SETTINGS, ACK)) == 3

    run(scenario())
