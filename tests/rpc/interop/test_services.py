"""The features of the official server that no official client case uses, on every server."""

import asyncio
from collections.abc import Awaitable, Callable

import grpc.aio
import pytest
from grpc import StatusCode

from tests.conftest import LoopFactory
from tests.rpc.interop._outcome import CallOutcome, observed
from tests.rpc.interop._servicer import InteropServicer
from tests.rpc.interop._stacks import Stack, connect, serve
from tests.rpc.interop._streams import Style, asking_for, sizes
from tests.rpc.interop.protos import service_pb2_grpc
from tests.rpc.interop.protos.messages_pb2 import ResponseParameters, SimpleRequest, StreamingOutputCallRequest

every_server = pytest.mark.parametrize("server", Stack, ids=lambda stack: f"{stack.value}-server")
UNKNOWN_TYPE = 7  # proto3's enums are open: a peer may send any number


def call_served(
    call: Callable[[grpc.aio.Channel], Awaitable[CallOutcome]],
    server: Stack,
    loop_factory: LoopFactory,
    servicer: InteropServicer | None = None,
) -> CallOutcome:
    """Make one call with a grpc.aio client."""

    async def conversation() -> CallOutcome:
        registered = servicer or InteropServicer()
        async with serve(server, registered.register) as address, connect(Stack.GRPC_AIO, address) as channel:
            return await call(channel)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(conversation())


@every_server
def test_half_duplex(server: Stack, loop_factory: LoopFactory) -> None:
    """HalfDuplexCall answers all requests, in order, after the client's last."""

    async def call(channel: grpc.aio.Channel) -> CallOutcome:
        stream = service_pb2_grpc.TestServiceStub(channel).HalfDuplexCall()
        for size in (31_415, 9):
            await stream.write(asking_for(size, size))
        await stream.done_writing()
        return await observed(stream, sizes(stream, Style.READ_WRITE))

    assert call_served(call, server, loop_factory) == CallOutcome(results=(31_415, 9))


@every_server
def test_intervals(server: Stack, loop_factory: LoopFactory) -> None:
    """Each response waits for its own interval."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def call(channel: grpc.aio.Channel) -> CallOutcome:
        parameters = [ResponseParameters(size=1, interval_us=us) for us in (250_000, 0, 1_000)]
        stream = service_pb2_grpc.TestServiceStub(channel).StreamingOutputCall(
            StreamingOutputCallRequest(response_parameters=parameters)
        )
        return await observed(stream, sizes(stream, Style.ITERATOR))

    outcome = call_served(call, server, loop_factory, InteropServicer(sleep=sleep))
    assert outcome == CallOutcome(results=(1, 1, 1))
    assert slept == [0.25, 0.001]


@every_server
def test_unknown_payload_type(server: Stack, loop_factory: LoopFactory) -> None:
    """A payload of a type that the server does not know is an invalid argument."""

    async def call(channel: grpc.aio.Channel) -> CallOutcome:
        request = SimpleRequest()
        request.MergeFromString(bytes([1 << 3, UNKNOWN_TYPE]))  # field 1, response_type
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await service_pb2_grpc.TestServiceStub(channel).UnaryCall(request)
        return CallOutcome(refused.value.code())

    assert call_served(call, server, loop_factory).code is StatusCode.INVALID_ARGUMENT
