"""Calls that a server has not looked at are sent again, whatever they do; a server's bound on streams is kept."""

import asyncio
from typing import Any

import pytest
from grpc import StatusCode

import hasten.rpc
from hasten._core.signals import CallFinished, CallSignal, CallStarted
from hasten.rpc.channel._balancing import Policy
from tests.rpc.channel._raw_server import RawConnection, Request, raw_server
from tests.rpc.channel._service import (
    HOLD,
    KINDS,
    Context,
    Service,
    code_of,
    every_kind,
    in_loops,
    outcome_of,
    serve,
    unary,
)
from tests.rpc.interop._stacks import Stack

MAX_CONCURRENT_STREAMS = 3
QUICKLY_BACK = [("grpc.initial_reconnect_backoff_ms", 100)]
POLICIES: tuple[Policy, ...] = ("pick_first", "p2c")
every_policy = pytest.mark.parametrize("balancing", POLICIES)


@every_kind
@every_policy
@in_loops
async def test_refused_stream(kind: str, balancing: Policy) -> None:
    """A call refused by REFUSED_STREAM is sent again at once, without any retry policy."""

    async def behave(connection: RawConnection) -> None:
        while True:
            seen.append(await connection.request())
            if len(seen) < 3:
                connection.refuse(seen[-1].stream_id)
            else:
                connection.answer(seen[-1])

    seen: list[Request] = []
    async with raw_server(behave) as address, hasten.rpc.Channel(address, balancing=balancing) as channel:
        assert await outcome_of(KINDS[kind](channel, b"a")) == [b"a"]
        assert [request.body for request in seen] == [seen[0].body] * 3
        assert not any("grpc-previous-rpc-attempts" in request.headers for request in seen)
        assert _outstanding(channel) == 0


def _outstanding(channel: hasten.rpc.Channel) -> int:
    assert channel._dispatcher is not None
    return sum(endpoint.outstanding for endpoint in channel._dispatcher._subchannels.values())


@every_kind
@in_loops
async def test_always_refused(kind: str) -> None:
    """A server that never looks at a call makes UNAVAILABLE of it after six attempts."""

    async def behave(connection: RawConnection) -> None:
        while True:
            seen.append(await connection.request())
            connection.refuse(seen[-1].stream_id)

    seen: list[Request] = []
    async with raw_server(behave) as address, hasten.rpc.Channel(address) as channel:
        call = KINDS[kind](channel)
        assert await code_of(outcome_of(call)) is StatusCode.UNAVAILABLE
        assert await call.details() == "The server refused the call"
        assert len(seen) == 6


@every_kind
@every_policy
@in_loops
async def test_goaway(kind: str, balancing: Policy) -> None:
    """A call above GOAWAY's last stream goes to the next connection; those below it end where they are."""

    async def behave(connection: RawConnection) -> None:
        connections.append(connection)
        first = await connection.request()
        if len(connections) > 1:
            connection.answer(first)
            await connection.closed()
        await connection.request()
        connection.goaway(first.stream_id)
        connection.answer(first)
        await connection.closed()
        closed.set()

    connections: list[RawConnection] = []
    closed = asyncio.Event()
    async with (
        raw_server(behave) as address,
        hasten.rpc.Channel(address, options=QUICKLY_BACK, balancing=balancing) as channel,
    ):
        await channel.channel_ready()
        calls = [KINDS[kind](channel, request) for request in (b"a", b"b")]
        assert [await outcome_of(call) for call in calls] == [[b"a"], [b"b"]]
        await closed.wait()
        assert _outstanding(channel) == 0


@in_loops
async def test_settings_and_goaway_together() -> None:
    """A server that goes away as soon as it stands is no connection; the channel makes another one."""

    async def behave(connection: RawConnection) -> None:
        connections.append(connection)
        if len(connections) == 1:
            connection.goaway(0)
            await connection.closed()
        while True:
            connection.answer(await connection.request())

    connections: list[RawConnection] = []
    async with raw_server(behave) as address, hasten.rpc.Channel(address, options=QUICKLY_BACK) as channel:
        assert await unary(channel, wait_for_ready=True, timeout=5) == b"a"
        assert len(connections) == 2


@in_loops
async def test_signals() -> None:
    """Hooks hear of each refused attempt, and of the one that was sent again as "transparent"."""

    async def behave(connection: RawConnection) -> None:
        connection.refuse((await connection.request()).stream_id)
        connection.answer(await connection.request())
        await connection.closed()

    signals: list[CallSignal] = []
    async with raw_server(behave) as address, hasten.rpc.Channel(address, hooks=(signals.append,)) as channel:
        await unary(channel)
    assert [signal.attempt for signal in signals if isinstance(signal, CallStarted)] == ["first", "transparent"]
    finished = [signal for signal in signals if isinstance(signal, CallFinished)]
    assert [end.code for end in finished] == ["UNAVAILABLE", "OK"]


@every_kind
@every_policy
@in_loops
async def test_concurrent_streams(kind: str, balancing: Policy) -> None:
    """A channel never has more calls open than the server allows; the others wait, in order, and miss nothing."""
    most = 0

    async def note(request: bytes, _: Context) -> bytes:
        nonlocal most
        most = max(most, service.running)
        await asyncio.sleep(0)
        return request

    service, limits = Service(note), hasten.rpc.Limits(concurrent_handlers=3)
    async with (
        serve(Stack.HASTEN, service, limits=limits) as address,
        hasten.rpc.Channel(address, balancing=balancing) as channel,
    ):
        await channel.channel_ready()
        numbers = [b"%d" % number for number in range(30)]
        calls = [KINDS[kind](channel, number) for number in numbers]
        assert await asyncio.gather(*(outcome_of(call) for call in calls)) == [[number] for number in numbers]
        assert most <= 3
        assert [seen.requests[0] for seen in service.calls] == numbers
        assert _outstanding(channel) == 0


@every_kind
@in_loops
async def test_waiting_for_a_stream(kind: str) -> None:
    """A call that waits for another to end keeps its deadline and can be cancelled; neither reaches the server."""
    limits = hasten.rpc.Limits(concurrent_handlers=1)
    async with serve(Stack.HASTEN, service := Service(), limits=limits) as address:
        async with hasten.rpc.Channel(address) as channel:
            held = unary(channel, HOLD)
            await service.until(lambda service: service.held == 1)
            late, cancelled = KINDS[kind](channel, timeout=0.02), KINDS[kind](channel)
            patient = KINDS[kind](channel, b"a")
            assert await code_of(outcome_of(late)) is StatusCode.DEADLINE_EXCEEDED
            assert cancelled.cancel()
            service.release()
            assert await held == HOLD
            assert await outcome_of(patient) == [b"a"]
        assert len(service.calls) == 2


@in_loops
async def test_the_server_allows_more() -> None:
    """Calls that wait are sent when a later SETTINGS allows more, and not while one allows none."""

    async def behave(connection: RawConnection) -> None:
        first = await connection.request()
        for allowed in (2, 4):
            connection.allow(allowed)
            seen.append(await connection.request())
        seen.append(await connection.request())
        for request in (first, *seen):
            connection.answer(request)
        await connection.closed()

    seen: list[Request] = []
    async with (
        raw_server(behave, settings={MAX_CONCURRENT_STREAMS: 1}) as address,
        hasten.rpc.Channel(address) as channel,
    ):
        assert await asyncio.gather(*(unary(channel, b"%d" % number) for number in range(4))) == [
            b"0",
            b"1",
            b"2",
            b"3",
        ]
    assert len(seen) == 3


@every_kind
@in_loops
async def test_waiting_on_a_connection_that_goes(kind: str) -> None:
    """Calls that wait for a stream move to the next connection when theirs goes away, or is cut."""

    async def behave(connection: RawConnection) -> None:
        connections.append(connection)
        request = await connection.request()
        if len(connections) == 1:
            connection.goaway(request.stream_id)
        elif len(connections) == 2:
            connection.abort()
        while True:
            connection.answer(request)
            request = await connection.request()

    connections: list[RawConnection] = []
    async with (
        raw_server(behave, settings={MAX_CONCURRENT_STREAMS: 1}) as address,
        hasten.rpc.Channel(address, options=QUICKLY_BACK) as channel,
    ):
        await channel.channel_ready()
        calls: list[Any] = [KINDS[kind](channel, b"%d" % number) for number in range(4)]
        codes = [await code_of(outcome_of(call)) for call in calls]
        assert codes == [StatusCode.OK, StatusCode.UNAVAILABLE, StatusCode.OK, StatusCode.OK]
        assert len(connections) == 3
