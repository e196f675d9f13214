"""A connection of which one direction is closed: nothing waits for what cannot come."""

import asyncio

import grpc
import pytest

import hasten.rpc
from tests.conftest import LoopFactory
from tests.relay import Relay
from tests.rpc.faults._service import CALLS, CHUNK, HOLD, SERVICE, Serving, code_of, unary

QUICKLY_BACK = [("grpc.initial_reconnect_backoff_ms", 100)]


async def until_paused(channel: hasten.rpc.Channel) -> None:
    """Wait until the socket of the channel's connection takes no more."""
    assert channel._dispatcher is not None
    (connection,) = channel._dispatcher.connections()
    while not connection.output.paused:
        await asyncio.sleep(0)


@pytest.mark.parametrize("kind", CALLS)
def test_a_server_that_sends_no_more(kind: str, loop_factory: LoopFactory) -> None:
    """When the server's direction is shut down in the middle of a response, the call ends with UNAVAILABLE."""

    async def scenario() -> None:
        async with (
            Serving() as serving,
            Relay(serving.address).listening() as relay,
            hasten.rpc.Channel(relay.address, options=QUICKLY_BACK) as channel,
        ):
            held = asyncio.create_task(code_of(CALLS[kind](channel, HOLD)))
            await serving.service.until(lambda service: service.held == 1)
            relay.half_close_to_client()
            assert await held is grpc.StatusCode.UNAVAILABLE
            await serving.service.idle()
            assert await CALLS[kind](channel, b"again") == b"again"

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())


def test_a_server_that_sends_no_more_and_reads_no_more(loop_factory: LoopFactory) -> None:
    """The call ends also when our own requests still wait for the socket."""

    async def scenario() -> None:
        async with (
            Serving() as serving,
            Relay(serving.address).listening() as relay,
            hasten.rpc.Channel(relay.address, options=QUICKLY_BACK) as channel,
        ):
            await unary(channel)
            relay.freeze()
            method = channel.stream_unary(f"/{SERVICE}/Requests")
            calls = [method(CHUNK for _ in range(100)) for _ in range(16)]
            await until_paused(channel)
            relay.half_close_to_client()
            codes = await asyncio.gather(*(code_of(call) for call in calls))
            assert set(codes) == {grpc.StatusCode.UNAVAILABLE}

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())


@pytest.mark.parametrize("kind", CALLS)
def test_a_client_that_sends_no_more(kind: str, loop_factory: LoopFactory) -> None:
    """When the client's direction is shut down, its handlers are cancelled: nobody can take the answer back."""

    async def scenario() -> None:
        async with (
            Serving() as serving,
            Relay(serving.address).listening() as relay,
            hasten.rpc.Channel(relay.address, options=QUICKLY_BACK) as channel,
        ):
            held = asyncio.create_task(code_of(CALLS[kind](channel, HOLD)))
            await serving.service.until(lambda service: service.held == 1)
            relay.half_close_to_server()
            await serving.service.until(lambda service: service.cancelled == 1)
            assert await held is grpc.StatusCode.UNAVAILABLE

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())
