"""The official client's cases: what each does, and what it must end with.

A case with streams is there once for each style of using them. Source: grpc/grpc, doc/interop-test-descriptions.md,
"Client", and for special_status_message the official clients.
"""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

import grpc.aio
from grpc import StatusCode

from tests.rpc.interop._outcome import CallOutcome, Outcome, observed
from tests.rpc.interop._servicer import INITIAL_KEY, TRAILING_KEY
from tests.rpc.interop._streams import (
    LARGE_REQUEST,
    LARGE_RESPONSE,
    Style,
    asking_for,
    duplex,
    each,
    large_request,
    payload,
    single,
    sizes,
    sizes_cancelling,
    sizes_in_turns,
    sizes_releasing,
    when_due,
)
from tests.rpc.interop.protos.empty_pb2 import Empty
from tests.rpc.interop.protos.messages_pb2 import (
    EchoStatus,
    ResponseParameters,
    SimpleRequest,
    SimpleResponse,
    StreamingInputCallRequest,
    StreamingInputCallResponse,
    StreamingOutputCallRequest,
)
from tests.rpc.interop.protos.service_pb2_grpc import TestServiceStub, UnimplementedServiceStub

REQUESTS = (27_182, 8, 1_828, 45_904)
RESPONSES = (31_415, 9, 2_653, 58_979)
INITIAL = (INITIAL_KEY, "test_initial_metadata_value")
TRAILING = (TRAILING_KEY, b"\xab\xab\xab")
MESSAGE = "test status message"
SPECIAL_MESSAGE = "\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \U0001f608\t\n"


async def empty_unary(channel: grpc.aio.Channel) -> Outcome:
    call = TestServiceStub(channel).EmptyCall(Empty())
    return (await observed(call, single(call, Empty.ByteSize)),)


async def large_unary(channel: grpc.aio.Channel) -> Outcome:
    return (await unary(channel, large_request()),)


async def client_streaming(channel: grpc.aio.Channel, style: Style) -> Outcome:
    requests = [StreamingInputCallRequest(payload=payload(size)) for size in REQUESTS]
    stub = TestServiceStub(channel)
    if style is Style.ITERATOR:
        call = stub.StreamingInputCall(each(requests))
    else:
        call = stub.StreamingInputCall()
        for request in requests:
            await call.write(request)
        await call.done_writing()
    return (await observed(call, single(call, total)),)


async def server_streaming(channel: grpc.aio.Channel, style: Style) -> Outcome:
    parameters = [ResponseParameters(size=size) for size in RESPONSES]
    call = TestServiceStub(channel).StreamingOutputCall(StreamingOutputCallRequest(response_parameters=parameters))
    return (await observed(call, sizes(call, style)),)


async def ping_pong(channel: grpc.aio.Channel, style: Style) -> Outcome:
    requests = [asking_for(*pair) for pair in zip(RESPONSES, REQUESTS, strict=True)]
    if style is Style.READ_WRITE:
        call = TestServiceStub(channel).FullDuplexCall()
        return (await observed(call, sizes_in_turns(call, requests)),)
    due = asyncio.Semaphore(1)
    call = TestServiceStub(channel).FullDuplexCall(when_due(requests, due))
    return (await observed(call, sizes_releasing(call, due)),)


async def empty_stream(channel: grpc.aio.Channel, style: Style) -> Outcome:
    call = await duplex(channel, [], style)
    return (await observed(call, sizes(call, style)),)


async def custom_metadata(channel: grpc.aio.Channel, style: Style) -> Outcome:
    metadata = (INITIAL, TRAILING)
    call = TestServiceStub(channel).UnaryCall(large_request(), metadata=metadata)
    first = await observed(call, single(call, size_bytes))
    stream = await duplex(channel, [asking_for(LARGE_RESPONSE, LARGE_REQUEST)], style, metadata=metadata)
    return first, await observed(stream, sizes(stream, style))


async def status_code_and_message(channel: grpc.aio.Channel, style: Style) -> Outcome:
    status = EchoStatus(code=StatusCode.UNKNOWN.value[0], message=MESSAGE)
    first = await unary(channel, SimpleRequest(response_status=status))
    stream = await duplex(channel, [StreamingOutputCallRequest(response_status=status)], style)
    return first, await observed(stream, sizes(stream, style))


async def special_status_message(channel: grpc.aio.Channel) -> Outcome:
    status = EchoStatus(code=StatusCode.UNKNOWN.value[0], message=SPECIAL_MESSAGE)
    return (await unary(channel, SimpleRequest(response_status=status)),)


async def unimplemented_method(channel: grpc.aio.Channel) -> Outcome:
    call = TestServiceStub(channel).UnimplementedCall(Empty())
    return (await observed(call, single(call, Empty.ByteSize)),)


async def unimplemented_service(channel: grpc.aio.Channel) -> Outcome:
    call = UnimplementedServiceStub(channel).UnimplementedCall(Empty())
    return (await observed(call, single(call, Empty.ByteSize)),)


async def cancel_after_begin(channel: grpc.aio.Channel, style: Style) -> Outcome:
    stub = TestServiceStub(channel)
    never = asyncio.Semaphore(0)
    call = stub.StreamingInputCall(when_due([], never)) if style is Style.ITERATOR else stub.StreamingInputCall()
    assert call.cancel()
    return (await observed(call, single(call, total)),)


async def cancel_after_metadata(channel: grpc.aio.Channel) -> Outcome:
    """Do as cancel_after_begin, but surely after the request's metadata has been sent."""
    call = TestServiceStub(channel).StreamingInputCall()
    await call.wait_for_connection()
    assert call.cancel()
    return (await observed(call, single(call, total)),)


async def cancel_after_first_response(channel: grpc.aio.Channel, style: Style) -> Outcome:
    stub = TestServiceStub(channel)
    request = asking_for(RESPONSES[0], REQUESTS[0])
    if style is Style.ITERATOR:
        call = stub.FullDuplexCall(when_due([request], asyncio.Semaphore(1)))
    else:
        call = stub.FullDuplexCall()
        await call.write(request)
    return (await observed(call, sizes_cancelling(call, style)),)


async def timeout_on_sleeping_server(channel: grpc.aio.Channel, style: Style) -> Outcome:
    await channel.channel_ready()  # else the deadline may pass before there is a connection
    outcome = await timed_out(channel, style, 0.001)
    while outcome.details == "Internal error from Core":
        # grpc.aio's client now and then loses the status of a call that ends while it writes (grpc/grpc#36066).
        outcome = await timed_out(channel, style, 0.001)
    return (outcome,)


async def timed_out(channel: grpc.aio.Channel, style: Style, timeout: float) -> CallOutcome:
    """Send one request that asks for nothing, and wait for a response."""
    stub = TestServiceStub(channel)
    request = StreamingOutputCallRequest(payload=payload(REQUESTS[0]))
    if style is Style.ITERATOR:
        call = stub.FullDuplexCall(when_due([request], asyncio.Semaphore(1)), timeout=timeout)
    else:
        call = stub.FullDuplexCall(timeout=timeout)
        try:
            await call.write(request)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):  # the deadline was sooner
            assert call.done()
    return await observed(call, sizes(call, style))


async def unary(
    channel: grpc.aio.Channel, request: SimpleRequest, compression: grpc.Compression | None = None
) -> CallOutcome:
    """Make one UnaryCall."""
    call = TestServiceStub(channel).UnaryCall(request, compression=compression)
    return await observed(call, single(call, size_bytes))


def size_bytes(response: SimpleResponse) -> int:
    return len(response.payload.body)


def total(response: StreamingInputCallResponse) -> int:
    return response.aggregated_payload_size


@dataclass(frozen=True, slots=True)
class Case:
    """One case.

    Attributes:
      name: The official name, with the style where there are two.
      run: Makes the calls on a channel.
      expected: What the specification says they end with.
    """

    name: str
    run: Callable[[grpc.aio.Channel], Awaitable[Outcome]]
    expected: Outcome


def in_both_styles(
    run: Callable[[grpc.aio.Channel, Style], Awaitable[Outcome]], *expected: CallOutcome
) -> Iterator[Case]:
    """Yield the case once for each style."""
    for style in Style:
        yield Case(f"{run.__name__}-{style.value}", functools.partial(_in_style, run, style), expected)


async def _in_style(
    run: Callable[[grpc.aio.Channel, Style], Awaitable[Outcome]], style: Style, channel: grpc.aio.Channel
) -> Outcome:
    return await run(channel, style)


def failed(code: StatusCode, details: str | None = None) -> CallOutcome:
    return CallOutcome(code, details, raised=grpc.aio.AioRpcError)


_LARGE = CallOutcome(results=(LARGE_RESPONSE,))
_ECHOED = CallOutcome(results=(LARGE_RESPONSE,), initial=(INITIAL,), trailing=(TRAILING,))
_FOUR_RESPONSES = CallOutcome(results=RESPONSES)
_STATUS = failed(StatusCode.UNKNOWN, MESSAGE)
_CANCELLED = CallOutcome(StatusCode.CANCELLED, None, raised=asyncio.CancelledError)
_CANCELLED_LATE = CallOutcome(StatusCode.CANCELLED, None, RESPONSES[:1], raised=asyncio.CancelledError)

CASES = (
    Case("empty_unary", empty_unary, (CallOutcome(results=(0,)),)),
    Case("large_unary", large_unary, (_LARGE,)),
    *in_both_styles(client_streaming, CallOutcome(results=(74_922,))),
    *in_both_styles(server_streaming, _FOUR_RESPONSES),
    *in_both_styles(ping_pong, _FOUR_RESPONSES),
    *in_both_styles(empty_stream, CallOutcome()),
    *in_both_styles(custom_metadata, _ECHOED, _ECHOED),
    *in_both_styles(status_code_and_message, _STATUS, _STATUS),
    Case("special_status_message", special_status_message, (failed(StatusCode.UNKNOWN, SPECIAL_MESSAGE),)),
    Case("unimplemented_method", unimplemented_method, (failed(StatusCode.UNIMPLEMENTED),)),
    Case("unimplemented_service", unimplemented_service, (failed(StatusCode.UNIMPLEMENTED),)),
    *in_both_styles(cancel_after_begin, _CANCELLED),
    Case("cancel_after_metadata", cancel_after_metadata, (_CANCELLED,)),
    *in_both_styles(cancel_after_first_response, _CANCELLED_LATE),
    *in_both_styles(timeout_on_sleeping_server, failed(StatusCode.DEADLINE_EXCEEDED)),
)
