"""A channel's life, on either stack: states, connecting, waiting for ready, closing."""

import asyncio
import socket
from typing import Any

import grpc
import grpc.aio
import pytest

import hasten.rpc
from tests.rpc.channel._service import (
    HOLD,
    KINDS,
    Service,
    code_of,
    connected,
    every_kind,
    every_stack,
    failure_of,
    in_loops,
    make_channel,
    outcome_of,
    responses,
    serve,
    unary,
)
from tests.rpc.interop._stacks import Stack

State = grpc.ChannelConnectivity
QUICKLY_BACK = (("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 100))


def free_port() -> int:
    """Return a port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@every_stack
@in_loops
async def test_states(stack: Stack) -> None:
    """A channel is IDLE until it is used, READY with a connection, SHUTDOWN after `close`."""
    async with serve(stack, Service()) as address:
        channel = make_channel(stack, address)
        assert channel.get_state() is State.IDLE
        await channel.channel_ready()
        assert channel.get_state() is State.READY
        await channel.channel_ready()
        await channel.close()
        assert channel.get_state() is State.SHUTDOWN
        assert channel.get_state(try_to_connect=True) is State.SHUTDOWN


@every_stack
@in_loops
async def test_changes_of_state(stack: Stack) -> None:
    """`wait_for_state_change` returns when the state is another, at once when it is already."""
    async with connected(stack, Service()) as channel:
        await channel.wait_for_state_change(State.READY)
        state = channel.get_state(try_to_connect=True)
        while state is not State.READY:
            await channel.wait_for_state_change(state)
            state = channel.get_state()


@every_stack
@in_loops
async def test_unreachable(stack: Stack) -> None:
    """Without a server calls fail at once with UNAVAILABLE, the address and the reason; those that wait time out."""
    address = f"127.0.0.1:{free_port()}"
    async with make_channel(stack, address) as channel:
        error = await failure_of(unary(channel))
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert f"ipv4:{address}" in (error.details() or "")
        assert "Connection refused" in (error.details() or "")
        assert channel.get_state() in {State.TRANSIENT_FAILURE, State.CONNECTING}
        waiting = unary(channel, wait_for_ready=True, timeout=0.05)
        assert await code_of(waiting) is grpc.StatusCode.DEADLINE_EXCEEDED
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(channel.channel_ready(), 0.05)


@every_stack
@every_kind
@in_loops
async def test_wait_for_ready(stack: Stack, kind: str) -> None:
    """A call that waits for ready is sent once the server is there; one that is cancelled before is not."""
    port = free_port()
    async with make_channel(stack, f"127.0.0.1:{port}", options=QUICKLY_BACK) as channel:
        assert await code_of(unary(channel)) is grpc.StatusCode.UNAVAILABLE
        waiting = KINDS[kind](channel, wait_for_ready=True)
        cancelled = KINDS[kind](channel, wait_for_ready=True)
        assert not waiting.done()
        cancelled.cancel()
        async with serve(stack, service := Service(), f"127.0.0.1:{port}"):
            await outcome_of(waiting)
            assert await waiting.code() is grpc.StatusCode.OK
            assert cancelled.cancelled()
            assert len(service.calls) == 1


@every_stack
@every_kind
@in_loops
async def test_after_close(stack: Stack, kind: str) -> None:
    """A closed channel makes no calls and has no news; closing it again does nothing."""
    async with connected(stack, Service()) as channel:
        await outcome_of(KINDS[kind](channel))
        await channel.close()
        with pytest.raises(grpc.aio.UsageError, match="closed"):
            KINDS[kind](channel)
        for state in (State.SHUTDOWN, State.READY):
            with pytest.raises(grpc.aio.UsageError, match="closed"):
                await channel.wait_for_state_change(state)
        with pytest.raises(grpc.aio.UsageError, match="closed"):
            await channel.channel_ready()
        await channel.close()


@every_stack
@in_loops
async def test_close_wakes_who_waits_for_ready(stack: Stack) -> None:
    """Who waits for a connection hears that the channel was closed."""
    channel = make_channel(stack, f"127.0.0.1:{free_port()}")
    waiting = asyncio.ensure_future(channel.channel_ready())
    await asyncio.sleep(0)
    await channel.close()
    with pytest.raises(grpc.aio.UsageError, match="closed"):
        await waiting


@every_stack
@pytest.mark.parametrize("grace", [None, 0, 0.05])
@in_loops
async def test_close_cancels(stack: Stack, grace: float | None) -> None:
    """`close` cancels calls of all kinds that are open once the grace is over, and their handlers."""
    async with connected(stack, service := Service()) as channel:
        calls = [make(channel, HOLD) for make in KINDS.values()]
        outcomes = [asyncio.ensure_future(outcome_of(call)) for call in calls]
        await service.until(lambda service: service.held == len(calls))
        await channel.close(grace)
        results = await asyncio.gather(*outcomes, return_exceptions=True)
        assert [type(result) for result in results] == [asyncio.CancelledError] * len(calls)
        assert {await call.code() for call in calls} == {grpc.StatusCode.CANCELLED}
        await service.idle()


@every_stack
@in_loops
async def test_close_with_grace(stack: Stack) -> None:
    """Calls that end within the grace end well, while no new ones are taken."""
    async with connected(stack, service := Service()) as channel:
        outcomes = [asyncio.ensure_future(outcome_of(make(channel, HOLD))) for make in KINDS.values()]
        await service.until(lambda service: service.held == len(outcomes))
        closing = asyncio.ensure_future(channel.close(10))
        await asyncio.sleep(0)
        with pytest.raises(grpc.aio.UsageError, match="closed"):
            unary(channel)
        service.release()
        await closing
        assert await asyncio.gather(*outcomes) == [[HOLD], [b"first", HOLD], [HOLD], [HOLD]]


@every_stack
@in_loops
async def test_negative_grace(stack: Stack) -> None:
    """A negative grace is a mistake."""
    async with connected(stack, Service()) as channel:
        with pytest.raises(ValueError, match="grace must be non-negative"):
            await channel.close(-1)


@every_stack
@in_loops
async def test_leaving_the_block_cancels(stack: Stack) -> None:
    """`async with channel` closes without a grace."""
    async with connected(stack, service := Service()) as channel:
        call = unary(channel, HOLD)
        await service.until(lambda service: service.held == 1)
    assert call.cancelled()


@every_stack
@in_loops
async def test_unread_responses_survive_their_server(stack: Stack) -> None:
    """Responses that came are read although the server has gone since."""
    async with serve(stack, service := Service()) as address:
        channel = make_channel(stack, address)
        call = responses(channel, b"a b c")
        assert await call.read() == b"a"
        await service.idle()
        await unary(channel)
    assert [await call.read(), await call.read(), await call.read()] == [b"b", b"c", grpc.aio.EOF]
    await channel.close()


@pytest.mark.may_block  # our server removes the socket's file in the loop, once at its end
@every_stack
@pytest.mark.parametrize("scheme", ["unix:", "unix://", "unix-abstract:"])
@in_loops
async def test_unix_sockets(stack: Stack, scheme: str, tmp_path: Any) -> None:
    """A channel connects to a socket in the file system, and on Linux to an abstract one."""
    name = f"hasten-{tmp_path.name}" if scheme == "unix-abstract:" else str(tmp_path / "socket")
    async with (
        serve(stack, Service(), f"{scheme}{name}") as address,
        make_channel(stack, address) as channel,
    ):
        for make in KINDS.values():
            await outcome_of(make(channel, b"a"))
        assert channel.get_state() is State.READY


@in_loops
async def test_nothing_happens_at_construction() -> None:
    """A channel that is made and not used resolves nothing, connects to nothing, and is closed like others."""
    before = asyncio.all_tasks()
    channel = hasten.rpc.Channel("dns:///nowhere.invalid:1")
    assert asyncio.all_tasks() == before
    await channel.close()


@in_loops
async def test_closing_lets_nothing_wait() -> None:
    """Calls that wait for a connection are cancelled by `close`, whatever the grace: none will come."""
    channel = hasten.rpc.Channel(f"127.0.0.1:{free_port()}")
    calls = [make(channel, wait_for_ready=True) for make in KINDS.values()]
    outcomes = [asyncio.ensure_future(outcome_of(call)) for call in calls]
    await asyncio.sleep(0)
    await channel.close(30)
    results = await asyncio.gather(*outcomes, return_exceptions=True)
    assert [type(result) for result in results] == [asyncio.CancelledError] * len(calls)
