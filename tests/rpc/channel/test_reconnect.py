"""Connections are made, lost and made again: backoff, several addresses, idleness."""

import asyncio
import contextlib
import itertools
import socket
from collections.abc import Iterator

import grpc
import pytest
from grpc import StatusCode

import hasten.rpc
from tests.rpc.channel._dispatching import Clock, dispatching, subchannels, until_ready
from tests.rpc.channel._raw_server import RawConnection, raw_server
from tests.rpc.channel._service import (
    HOLD,
    KINDS,
    Service,
    code_of,
    every_kind,
    in_loops,
    outcome_of,
    serve,
    unary,
)
from tests.rpc.channel.test_state import free_port
from tests.rpc.interop._stacks import Stack

State = grpc.ChannelConnectivity
HASTEN = Stack.HASTEN
QUICKLY_BACK = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 100)]
NEVER_BACK = [("grpc.initial_reconnect_backoff_ms", 1_000_000), ("grpc.max_reconnect_backoff_ms", 1_000_000)]


@contextlib.contextmanager
def black_hole() -> Iterator[str]:
    """Yield an address whose queue of connections is full: the system lets further ones wait."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0.0)
            waiting.connect_ex(listener.getsockname())
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@every_kind
@in_loops
async def test_the_server_comes_back(kind: str) -> None:
    """A channel finds its server again, whether anybody calls or not."""
    address = f"127.0.0.1:{free_port()}"
    async with hasten.rpc.Channel(address, options=QUICKLY_BACK) as channel:
        for _ in range(2):
            async with serve(HASTEN, Service(), address):
                await channel.channel_ready()
                assert await outcome_of(KINDS[kind](channel, b"a")) == [b"a"]
            await channel.wait_for_state_change(State.READY)
            assert await code_of(outcome_of(KINDS[kind](channel))) is StatusCode.UNAVAILABLE


@in_loops
async def test_attempts_keep_their_distance() -> None:
    """A server that hangs up at once is not asked again before the backoff's pause is over."""

    async def behave(connection: RawConnection) -> None:
        times.append(asyncio.get_running_loop().time())
        if len(times) == 4:
            enough.set()

    times: list[float] = []
    enough = asyncio.Event()
    async with raw_server(behave) as address, hasten.rpc.Channel(address, options=QUICKLY_BACK) as channel:
        channel.get_state(try_to_connect=True)
        await enough.wait()
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert all(pause > 0.07 for pause in pauses)  # 0.1 s, less a fifth of jitter, less what accepting took


@in_loops
async def test_a_connection_that_was_stable_is_replaced_at_once() -> None:
    """The backoff is for servers that do not stay: after a second of connection the next attempt does not wait."""

    async def behave(connection: RawConnection) -> None:
        connections.append(connection)
        while True:
            connection.answer(await connection.request())

    connections: list[RawConnection] = []
    clock = Clock()
    async with raw_server(behave) as address, dispatching(address, options=NEVER_BACK, clock=clock) as channel:
        await unary(channel)
        clock.now += 2.0
        connections[0].abort()
        await channel.wait_for_state_change(State.READY)
        await channel.channel_ready()
        await unary(channel)
        connections[1].abort()
        await channel.wait_for_state_change(State.READY)
        assert await code_of(unary(channel, wait_for_ready=True, timeout=0.05)) is StatusCode.DEADLINE_EXCEEDED
    assert len(connections) == 2


@in_loops
async def test_first_of_several() -> None:
    """pick_first connects to the first address and, while that stands, to no other."""
    async with serve(HASTEN, first := Service()) as one, serve(HASTEN, second := Service()) as other:
        async with hasten.rpc.Channel([one, other]) as channel:
            for _ in range(3):
                await unary(channel)
            assert [each.state for each in subchannels(channel)] == [State.READY, State.IDLE]
        assert (len(first.calls), len(second.calls)) == (3, 0)


@in_loops
async def test_first_is_dead() -> None:
    """Where the first address refuses, the second is used, and no attempt at the first goes on."""
    dead = f"127.0.0.1:{free_port()}"
    async with serve(HASTEN, service := Service()) as alive, hasten.rpc.Channel([dead, alive]) as channel:
        assert await unary(channel) == b"a"
        assert [each.state for each in subchannels(channel)] == [State.IDLE, State.READY]
        assert subchannels(channel)[0]._task is None
    assert len(service.calls) == 1


@in_loops
async def test_first_is_a_black_hole() -> None:
    """Where the first address does not answer, the second is tried beside it after a quarter of a second."""
    with black_hole() as silent:
        async with serve(HASTEN, Service()) as alive, hasten.rpc.Channel([silent, alive]) as channel:
            assert await unary(channel, timeout=10) == b"a"
            assert [each.state for each in subchannels(channel)] == [State.IDLE, State.READY]


@in_loops
async def test_the_next_address_takes_over() -> None:
    """When the connection is lost, the other addresses are tried in order: nobody is stuck with one that is down."""
    back = f"127.0.0.1:{free_port()}"
    async with serve(HASTEN, second := Service()) as other, hasten.rpc.Channel([back, other]) as channel:
        async with serve(HASTEN, first := Service(), back):
            await unary(channel)
            held = unary(channel, HOLD)
            await first.until(lambda service: service.held == 1)
        assert await code_of(held) is StatusCode.CANCELLED  # the server's word: it was stopped without a grace
        assert await unary(channel, wait_for_ready=True) == b"a"
    assert (len(first.calls), len(second.calls)) == (2, 1)


@in_loops
async def test_all_are_dead() -> None:
    """When no address answers, calls fail and name the last reason; one that comes to life is found."""
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    async with hasten.rpc.Channel(addresses, options=QUICKLY_BACK) as channel:
        call = unary(channel)
        assert await code_of(call) is StatusCode.UNAVAILABLE
        assert await call.details() == (
            f"failed to connect to all addresses; last error: ipv4:{addresses[1]}: Connection refused"
        )
        async with serve(HASTEN, Service(), addresses[1]):
            assert await unary(channel, wait_for_ready=True) == b"a"


@pytest.mark.parametrize("balancing", ["pick_first", "round_robin"])
@in_loops
async def test_idle(balancing: str) -> None:
    """A channel that nobody uses closes its connections, and makes new ones with the next call."""

    async def behave(connection: RawConnection) -> None:
        connections.append(connection)
        connection.answer(await connection.request())
        await connection.closed()
        closed.set()

    connections: list[RawConnection] = []
    closed = asyncio.Event()
    options = [("grpc.client_idle_timeout_ms", 30), ("grpc.lb_policy_name", balancing)]
    async with raw_server(behave) as address, hasten.rpc.Channel(address, options=options) as channel:
        for number in (1, 2):
            assert await unary(channel) == b"a"
            await channel.wait_for_state_change(State.READY)
            assert channel.get_state() is State.IDLE
            await closed.wait()
            closed.clear()
            assert len(connections) == number


@every_kind
@in_loops
async def test_an_open_call_is_no_idleness(kind: str) -> None:
    """A channel with a call that takes long is not idle."""
    options = [("grpc.client_idle_timeout_ms", 20)]
    async with serve(HASTEN, service := Service()) as address, hasten.rpc.Channel(address, options=options) as channel:
        outcome = asyncio.ensure_future(outcome_of(KINDS[kind](channel, HOLD)))
        await service.until(lambda service: service.held == 1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(channel.wait_for_state_change(State.READY), 0.1)
        service.release()
        assert HOLD in await outcome


@in_loops
async def test_idle_without_a_server() -> None:
    """A channel that nobody uses stops looking for its server."""
    options = [*QUICKLY_BACK, ("grpc.client_idle_timeout_ms", 30)]
    async with hasten.rpc.Channel(f"127.0.0.1:{free_port()}", options=options) as channel:
        assert await code_of(unary(channel)) is StatusCode.UNAVAILABLE
        await channel.wait_for_state_change(State.TRANSIENT_FAILURE)
        assert channel.get_state() is State.IDLE
        assert subchannels(channel) == []


@in_loops
async def test_ready_with_the_first_of_all() -> None:
    """A balanced channel is ready with its first connection: a server that is down holds nobody up."""
    dead = f"127.0.0.1:{free_port()}"
    with black_hole() as silent:
        async with (
            serve(HASTEN, Service()) as alive,
            hasten.rpc.Channel([dead, silent, alive], balancing="round_robin") as channel,
        ):
            await until_ready(channel, 1)
            assert await unary(channel) == b"a"


@in_loops
async def test_a_server_of_something_else() -> None:
    """A server that does not speak HTTP/2 is no connection, and the reason says so."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with hasten.rpc.Channel(f"127.0.0.1:{port}") as channel:
        call = unary(channel)
        assert await code_of(call) is StatusCode.UNAVAILABLE
        assert "the server does not speak HTTP/2" in await call.details()
    listener.close()
