"""A peer that takes connections, or does not even do that, and never answers: deadlines and keepalive find out."""

import asyncio
import contextlib
import socket
import statistics
import time
from collections.abc import Callable, Iterator

import grpc
import pytest

import hasten.rpc
from tests.conftest import LoopFactory
from tests.relay import Relay
from tests.rpc.faults._service import CALLS, HOLD, SERVICE, Serving, code_of, unary

LATE_SECONDS = 0.02
"""The issue's bound: a deadline is honoured at most so late, measured inside the caller's process."""
KEEPALIVE = hasten.rpc.Limits(keepalive_seconds=0.05, keepalive_timeout_seconds=0.05)


Listener = Callable[[], contextlib.AbstractContextManager[str]]


@contextlib.contextmanager
def silent_listener() -> Iterator[str]:
    """Yield the address of a socket that lets clients connect and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@contextlib.contextmanager
def full_listener() -> Iterator[str]:
    """Yield an address whose queue of connections is full, so that the system lets further ones wait."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0.0)
            waiting.connect_ex(listener.getsockname())
        yield f"127.0.0.1:{listener.getsockname()[1]}"


async def lateness(channel: hasten.rpc.Channel, timeouts: list[float]) -> list[float]:
    """Start a call with each timeout, all at once; return by how many seconds each ended after its deadline."""
    method = channel.unary_unary(f"/{SERVICE}/Unary")
    late: list[float] = []

    def start(seconds: float) -> grpc.aio.UnaryUnaryCall[bytes, bytes]:
        deadline = time.monotonic() + seconds
        call: grpc.aio.UnaryUnaryCall[bytes, bytes] = method(b"lost", timeout=seconds, wait_for_ready=True)
        call.add_done_callback(lambda _: late.append(time.monotonic() - deadline))
        return call

    codes = await asyncio.gather(*(code_of(start(seconds)) for seconds in timeouts))
    assert set(codes) == {grpc.StatusCode.DEADLINE_EXCEEDED}
    return late


def test_deadlines_in_a_black_hole(loop_factory: LoopFactory) -> None:
    """Calls to a peer that went deaf end with DEADLINE_EXCEEDED, never early, half of them within 20 ms.

    The bound of 20 ms is the issue's, and the one timing that a test here asserts. A busy machine may keep any one
    call waiting longer without our doing, so this looks at the median of 100; tests/soak/test_rpc.py holds 99 in 100
    of thousands to it.
    """

    async def scenario() -> list[float]:
        async with (
            Serving() as serving,
            Relay(serving.address).listening() as relay,
            hasten.rpc.Channel(relay.address) as channel,
        ):
            await unary(channel)
            relay.freeze()
            return await lateness(channel, [0.05 + 0.003 * number for number in range(100)])

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        late = runner.run(scenario())
    assert min(late) >= 0.0
    assert statistics.median(late) <= LATE_SECONDS


@pytest.mark.parametrize("listener", [silent_listener, full_listener])
def test_deadlines_before_a_connection(listener: Listener, loop_factory: LoopFactory) -> None:
    """Deadlines hold as well while the connection is being made, with a peer that says nothing or takes nobody."""

    async def scenario(address: str) -> list[float]:
        async with hasten.rpc.Channel(address) as channel:
            return await lateness(channel, [0.05 + 0.003 * number for number in range(50)])

    with listener() as address, asyncio.Runner(loop_factory=loop_factory) as runner:
        late = runner.run(scenario(address))
    assert min(late) >= 0.0
    assert statistics.median(late) <= LATE_SECONDS


@pytest.mark.parametrize("listener", [silent_listener, full_listener])
def test_attempts_to_connect_end(listener: Listener, loop_factory: LoopFactory) -> None:
    """A call without a deadline fails with UNAVAILABLE when the attempt to connect has taken its time."""

    async def scenario(address: str) -> None:
        options = [("grpc.min_reconnect_backoff_ms", 100), ("grpc.initial_reconnect_backoff_ms", 100)]
        async with hasten.rpc.Channel(address, options=options) as channel:
            assert await code_of(unary(channel)) is grpc.StatusCode.UNAVAILABLE

    with listener() as address, asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario(address))


@pytest.mark.parametrize("kind", CALLS)
def test_keepalive_finds_a_deaf_server(kind: str, loop_factory: LoopFactory) -> None:
    """With keepalive a call without a deadline ends with UNAVAILABLE, and the next one gets a new connection."""

    async def scenario() -> None:
        async with (
            Serving() as serving,
            Relay(serving.address).listening() as relay,
            hasten.rpc.Channel(relay.address, limits=KEEPALIVE) as channel,
        ):
            held = asyncio.create_task(code_of(CALLS[kind](channel, HOLD)))
            await serving.service.until(lambda service: service.held == 1)
            relay.freeze()
            assert await held is grpc.StatusCode.UNAVAILABLE
            relay.thaw()
            assert await CALLS[kind](channel, b"again") == b"again"

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())


@pytest.mark.parametrize("kind", CALLS)
def test_keepalive_finds_a_deaf_client(kind: str, loop_factory: LoopFactory) -> None:
    """A server with keepalive cancels the handlers of a client that answers no more."""

    async def scenario() -> None:
        async with (
            Serving(limits=KEEPALIVE) as serving,
            Relay(serving.address).listening() as relay,
            hasten.rpc.Channel(relay.address) as channel,
        ):
            held = asyncio.create_task(code_of(CALLS[kind](channel, HOLD)))
            await serving.service.until(lambda service: service.held == 1)
            relay.freeze()
            await serving.service.until(lambda service: service.cancelled == 1)
            relay.thaw()
            assert await held is grpc.StatusCode.UNAVAILABLE

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())


def test_keepalive_leaves_a_slow_answer_alone(loop_factory: LoopFactory) -> None:
    """A call that waits longer than the keepalive for its answer goes on: the peer answers the PINGs."""

    async def scenario() -> None:
        async with (
            Serving(limits=hasten.rpc.Limits(ping_seconds=0.0)) as serving,
            hasten.rpc.Channel(serving.address, limits=KEEPALIVE) as channel,
        ):
            held = asyncio.create_task(unary(channel, HOLD))
            await serving.service.until(lambda service: service.held == 1)
            (connection,) = channel._dispatcher.connections()  # type: ignore[union-attr]
            while connection._keepalive.reads < 10:
                await asyncio.sleep(0.01)
            serving.service.release()
            assert await held == HOLD

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())
