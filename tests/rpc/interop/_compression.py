"""The official client's cases about compression: each needs to know what went over the wire.

Source: grpc/grpc, doc/interop-test-descriptions.md.
"""

import random
from dataclasses import dataclass

import grpc.aio
from grpc import Compression, StatusCode

from tests.rpc.interop._cases import Case, failed, total, unary
from tests.rpc.interop._outcome import CallOutcome, Outcome, observed
from tests.rpc.interop._streams import LARGE_RESPONSE, Style, each, large_request, payload, single, sizes
from tests.rpc.interop.protos.messages_pb2 import (
    BoolValue,
    Payload,
    ResponseParameters,
    StreamingInputCallRequest,
    StreamingOutputCallRequest,
)
from tests.rpc.interop.protos.service_pb2_grpc import TestServiceStub

YES, NO = BoolValue(value=True), BoolValue(value=False)


async def client_compressed_unary(channel: grpc.aio.Channel) -> Outcome:
    return (
        await unary(channel, large_request(expect_compressed=YES), Compression.NoCompression),
        await unary(channel, large_request(expect_compressed=YES), Compression.Gzip),
        await unary(channel, large_request(expect_compressed=NO), Compression.NoCompression),
    )


async def client_compressed_streaming(channel: grpc.aio.Channel) -> Outcome:
    """Send a compressed message and then, in the same call, one that is not.

    grpc.aio has no way to leave out one message of a compressed stream. It sends a message as it is when compression
    does not make it smaller, so that the second payload is random bytes here and not zeros.
    """
    stub = TestServiceStub(channel)
    first = StreamingInputCallRequest(expect_compressed=YES, payload=payload(27_182))
    noise = Payload(body=random.Random(0).randbytes(45_904))
    second = StreamingInputCallRequest(expect_compressed=NO, payload=noise)
    probe = stub.StreamingInputCall(each([first]))
    refused = await observed(probe, single(probe, total))
    call = stub.StreamingInputCall(each([first, second]), compression=Compression.Gzip)
    return refused, await observed(call, single(call, total))


async def server_compressed_unary(channel: grpc.aio.Channel) -> Outcome:
    return (
        await unary(channel, large_request(response_compressed=YES)),
        await unary(channel, large_request(response_compressed=NO)),
    )


async def server_compressed_streaming(channel: grpc.aio.Channel) -> Outcome:
    parameters = [ResponseParameters(compressed=YES, size=31_415), ResponseParameters(compressed=NO, size=92_653)]
    call = TestServiceStub(channel).StreamingOutputCall(StreamingOutputCallRequest(response_parameters=parameters))
    return (await observed(call, sizes(call, Style.ITERATOR)),)


@dataclass(frozen=True, slots=True)
class CompressionCase:
    """A case, and which messages of each of its calls must be compressed on the wire."""

    case: Case
    requests: list[list[bool]]
    responses: list[list[bool]]


_LARGE = CallOutcome(results=(LARGE_RESPONSE,))
_REFUSED = failed(StatusCode.INVALID_ARGUMENT)

COMPRESSION_CASES = (
    CompressionCase(
        Case("client_compressed_unary", client_compressed_unary, (_REFUSED, _LARGE, _LARGE)),
        requests=[[False], [True], [False]],
        responses=[[False], [False]],
    ),
    CompressionCase(
        Case("client_compressed_streaming", client_compressed_streaming, (_REFUSED, CallOutcome(results=(73_086,)))),
        requests=[[False], [True, False]],
        responses=[[False]],
    ),
    CompressionCase(
        Case("server_compressed_unary", server_compressed_unary, (_LARGE, _LARGE)),
        requests=[[False], [False]],
        responses=[[True], [False]],
    ),
    CompressionCase(
        Case("server_compressed_streaming", server_compressed_streaming, (CallOutcome(results=(31_415, 92_653)),)),
        requests=[[False]],
        responses=[[True, False]],
    ),
)
