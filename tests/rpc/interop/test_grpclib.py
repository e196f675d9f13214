"""grpclib, an independent stack: its client against every server, every client against its server."""

import asyncio
from collections.abc import Awaitable, Callable

import grpc.aio
import grpclib
import pytest
from grpclib.client import Stream
from grpclib.const import Status
from grpclib.metadata import Deadline
from multidict import MultiDict

from tests.conftest import LoopFactory
from tests.rpc.interop._cases import (
    CASES,
    INITIAL,
    MESSAGE,
    REQUESTS,
    RESPONSES,
    SPECIAL_MESSAGE,
    TRAILING,
    Case,
    failed,
    timed_out,
    unary,
)
from tests.rpc.interop._grpclib import GrpclibService, GrpclibStub, connect_grpclib, serve_grpclib
from tests.rpc.interop._outcome import CallOutcome, Outcome, specified
from tests.rpc.interop._servicer import InteropServicer
from tests.rpc.interop._stacks import Stack, connect, serve
from tests.rpc.interop._streams import Style, asking_for, large_request, payload
from tests.rpc.interop.protos.empty_pb2 import Empty
from tests.rpc.interop.protos.messages_pb2 import (
    EchoStatus,
    ResponseParameters,
    SimpleRequest,
    StreamingInputCallRequest,
    StreamingOutputCallRequest,
    StreamingOutputCallResponse,
)

MEBIBYTE = 1 << 20
# At a deadline of 1 ms grpclib's server now and then answers UNKNOWN, when its own timer would start too late.
GRPCLIB_CASES = tuple(case for case in CASES if not case.name.startswith("timeout_on_sleeping_server"))

every_client = pytest.mark.parametrize("client", Stack, ids=lambda stack: f"{stack.value}-client")
every_server = pytest.mark.parametrize("server", Stack, ids=lambda stack: f"{stack.value}-server")


def call_grpclib(
    calls: Callable[[grpc.aio.Channel], Awaitable[Outcome]], client: Stack, loop_factory: LoopFactory
) -> Outcome:
    """Make calls to a grpclib server; return their outcome once its handlers have ended."""

    async def conversation() -> Outcome:
        service = GrpclibService()
        async with serve_grpclib(service) as address, connect(client, address) as channel:
            outcome = await calls(channel)
            await service.idle()
        return outcome

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(conversation())


def call_from_grpclib(
    calls: Callable[[GrpclibStub], Awaitable[None]], server: Stack, loop_factory: LoopFactory
) -> None:
    """Make calls from a grpclib client; return once the server's handlers have ended."""

    async def conversation() -> None:
        servicer = InteropServicer()
        async with serve(server, servicer.register) as address, connect_grpclib(address) as stub:
            await calls(stub)
            await servicer.idle()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(conversation())


@every_client
@pytest.mark.parametrize("case", GRPCLIB_CASES, ids=lambda case: case.name)
def test_case_against_grpclib_server(case: Case, client: Stack, loop_factory: LoopFactory) -> None:
    """Each official case ends as specified against a grpclib server too."""
    outcome = call_grpclib(case.run, client, loop_factory)
    assert specified(outcome, case.expected) == case.expected


@every_client
@pytest.mark.parametrize("style", Style, ids=lambda style: style.value)
def test_deadline_against_grpclib_server(style: Style, client: Stack, loop_factory: LoopFactory) -> None:
    """A call that a grpclib server does not answer ends at its deadline, on both sides."""

    async def calls(channel: grpc.aio.Channel) -> Outcome:
        await channel.channel_ready()
        return (await timed_out(channel, style, 0.05),)

    expected = (failed(grpc.StatusCode.DEADLINE_EXCEEDED),)
    assert specified(call_grpclib(calls, client, loop_factory), expected) == expected


@every_client
def test_megabyte_against_grpclib_server(client: Stack, loop_factory: LoopFactory) -> None:
    """A request and a response of 1 MiB pass, and so through grpclib's flow control."""

    async def calls(channel: grpc.aio.Channel) -> Outcome:
        request = SimpleRequest(response_size=MEBIBYTE, payload=payload(MEBIBYTE))
        return await unary(channel, request), await unary(channel, request)

    outcome = CallOutcome(results=(MEBIBYTE,))
    assert call_grpclib(calls, client, loop_factory) == (outcome, outcome)


@every_server
def test_unary(server: Stack, loop_factory: LoopFactory) -> None:
    """An empty response and one of 1 MiB come as they were sent."""

    async def calls(stub: GrpclibStub) -> None:
        assert (await stub.empty_call(Empty())).ByteSize() == 0
        response = await stub.unary_call(SimpleRequest(response_size=MEBIBYTE, payload=payload(MEBIBYTE)))
        assert response.payload.body == bytes(MEBIBYTE)

    call_from_grpclib(calls, server, loop_factory)


@every_server
def test_client_streaming(server: Stack, loop_factory: LoopFactory) -> None:
    """The server gets every message of a stream, and none of an empty one."""

    async def calls(stub: GrpclibStub) -> None:
        requests = [StreamingInputCallRequest(payload=payload(size)) for size in REQUESTS]
        assert (await stub.streaming_input_call(requests)).aggregated_payload_size == 74_922
        assert (await stub.streaming_input_call([])).aggregated_payload_size == 0

    call_from_grpclib(calls, server, loop_factory)


@every_server
def test_server_streaming(server: Stack, loop_factory: LoopFactory) -> None:
    """The client gets every message of a stream in order, and none of an empty one."""

    async def calls(stub: GrpclibStub) -> None:
        parameters = [ResponseParameters(size=size) for size in RESPONSES]
        responses = await stub.streaming_output_call(StreamingOutputCallRequest(response_parameters=parameters))
        assert sizes_of(responses) == RESPONSES
        assert await stub.streaming_output_call(StreamingOutputCallRequest()) == []

    call_from_grpclib(calls, server, loop_factory)


@every_server
def test_ping_pong(server: Stack, loop_factory: LoopFactory) -> None:
    """Requests and responses take turns on one stream; a stream without either ends well."""

    async def calls(stub: GrpclibStub) -> None:
        async with stub.full_duplex_call.open() as stream:
            for response_size, request_size in zip(RESPONSES, REQUESTS, strict=True):
                await stream.send_message(asking_for(response_size, request_size))
                response = await stream.recv_message()
                assert response is not None
                assert len(response.payload.body) == response_size
            await stream.end()
            assert await stream.recv_message() is None
        assert await stub.full_duplex_call([]) == []

    call_from_grpclib(calls, server, loop_factory)


@every_server
def test_custom_metadata(server: Stack, loop_factory: LoopFactory) -> None:
    """Text and binary metadata come back as initial and trailing metadata, of a unary call and of a stream."""

    async def calls(stub: GrpclibStub) -> None:
        async with stub.unary_call.open(metadata=[INITIAL, TRAILING]) as unary_stream:
            await unary_stream.send_message(large_request(), end=True)
            assert await unary_stream.recv_message() is not None
        async with stub.full_duplex_call.open(metadata=[INITIAL, TRAILING]) as duplex_stream:
            await duplex_stream.send_message(asking_for(9, 8), end=True)
            assert len([response async for response in duplex_stream]) == 1
        for stream in (unary_stream, duplex_stream):
            assert tuple((stream.initial_metadata or MultiDict()).items()) == (INITIAL,)
            assert tuple((stream.trailing_metadata or MultiDict()).items()) == (TRAILING,)

    call_from_grpclib(calls, server, loop_factory)


@every_server
@pytest.mark.parametrize("message", [MESSAGE, SPECIAL_MESSAGE])
def test_status_code_and_message(message: str, server: Stack, loop_factory: LoopFactory) -> None:
    """A status comes as it was sent, from a unary call and from a stream."""

    async def calls(stub: GrpclibStub) -> None:
        status = EchoStatus(code=Status.UNKNOWN.value, message=message)
        with pytest.raises(grpclib.GRPCError) as from_unary:
            await stub.unary_call(SimpleRequest(response_status=status))
        with pytest.raises(grpclib.GRPCError) as from_stream:
            await stub.full_duplex_call([StreamingOutputCallRequest(response_status=status)])
        for error in (from_unary.value, from_stream.value):
            assert (error.status, error.message) == (Status.UNKNOWN, message)

    call_from_grpclib(calls, server, loop_factory)


@every_server
def test_unimplemented_method(server: Stack, loop_factory: LoopFactory) -> None:
    """A method that the server does not implement is UNIMPLEMENTED."""

    async def calls(stub: GrpclibStub) -> None:
        with pytest.raises(grpclib.GRPCError) as error:
            await stub.unimplemented_call(Empty())
        assert error.value.status is Status.UNIMPLEMENTED

    call_from_grpclib(calls, server, loop_factory)


@every_server
def test_deadline_of_the_client(server: Stack, loop_factory: LoopFactory) -> None:
    """A call that a grpclib client gives up at its deadline leaves no handler running."""

    async def calls(stub: GrpclibStub) -> None:
        with pytest.raises((TimeoutError, grpclib.GRPCError)) as error:
            await wait_for_response(stub.full_duplex_call.open(timeout=0.001))
        if isinstance(error.value, grpclib.GRPCError):  # the server was sooner
            assert error.value.status is Status.DEADLINE_EXCEEDED

    call_from_grpclib(calls, server, loop_factory)


@every_server
def test_deadline_of_the_server(server: Stack, loop_factory: LoopFactory) -> None:
    """The server itself ends a call at the deadline in its headers, when the client only waits."""

    async def calls(stub: GrpclibStub) -> None:
        stream = stub.full_duplex_call.open()
        with pytest.raises(grpclib.GRPCError) as error:
            await wait_for_response(stream, sent=Deadline.from_timeout(0.02))
        assert error.value.status is Status.DEADLINE_EXCEEDED

    call_from_grpclib(calls, server, loop_factory)


@every_server
def test_cancellation(server: Stack, loop_factory: LoopFactory) -> None:
    """A stream that the client resets leaves no handler running, and the connection goes on."""

    async def calls(stub: GrpclibStub) -> None:
        async with stub.full_duplex_call.open() as stream:
            await stream.send_message(asking_for(9, 8))
            assert await stream.recv_message() is not None
            await stream.cancel()
        await stub.empty_call(Empty())

    call_from_grpclib(calls, server, loop_factory)


async def wait_for_response(
    call: Stream[StreamingOutputCallRequest, StreamingOutputCallResponse], sent: Deadline | None = None
) -> None:
    """Ask for nothing, and wait for a response.

    Args:
      call: A FullDuplexCall that is not open yet.
      sent: The deadline for the headers, when there shall be no timer for it on this side.
    """
    async with call:
        call._deadline = sent or call._deadline
        await call.send_message(StreamingOutputCallRequest())
        await call.recv_message()


def sizes_of(responses: list[StreamingOutputCallResponse]) -> tuple[int, ...]:
    return tuple(len(response.payload.body) for response in responses)
