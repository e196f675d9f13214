"""The official client's messages, and the ways in which it works with streams.

A `sizes` iterator yields, for each response of a call, the size of its payload in bytes. grpc.aio offers streams in two
styles, which a call may not mix: iterators, and read and write.
"""

import asyncio
import enum
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, TypeVar

import grpc.aio

from tests.rpc.interop.protos.messages_pb2 import (
    Payload,
    ResponseParameters,
    SimpleRequest,
    StreamingOutputCallRequest,
    StreamingOutputCallResponse,
)
from tests.rpc.interop.protos.service_pb2_grpc import TestServiceStub

LARGE_REQUEST, LARGE_RESPONSE = 271_828, 314_159

T = TypeVar("T")
Duplex = grpc.aio.StreamStreamCall[StreamingOutputCallRequest, StreamingOutputCallResponse]
Responses = Duplex | grpc.aio.UnaryStreamCall[StreamingOutputCallRequest, StreamingOutputCallResponse]
SingleResponse = grpc.aio.UnaryUnaryCall[Any, T] | grpc.aio.StreamUnaryCall[Any, T]


class Style(enum.Enum):
    """How a client uses a stream."""

    ITERATOR = "iterator"
    READ_WRITE = "read-write"


def payload(size_bytes: int) -> Payload:
    """Return a payload of zeros."""
    return Payload(body=bytes(size_bytes))


def large_request(**fields: Any) -> SimpleRequest:
    """Return the official large unary request, with more fields."""
    return SimpleRequest(response_size=LARGE_RESPONSE, payload=payload(LARGE_REQUEST), **fields)


def asking_for(response_size: int, request_size: int) -> StreamingOutputCallRequest:
    """Return a request of `request_size` bytes for one response of `response_size`."""
    parameters = [ResponseParameters(size=response_size)]
    return StreamingOutputCallRequest(response_parameters=parameters, payload=payload(request_size))


async def each(requests: Iterable[T]) -> AsyncIterator[T]:
    """Yield the requests, then end."""
    for request in requests:
        yield request


async def when_due(requests: Iterable[T], due: asyncio.Semaphore) -> AsyncIterator[T]:
    """Yield a request each time `due` is released, and end at the release after the last."""
    for request in requests:
        await due.acquire()
        yield request
    await due.acquire()


async def single(call: SingleResponse[T], figure: Callable[[T], int]) -> AsyncIterator[int]:
    """Yield a figure of the only response."""
    yield figure(await call)


async def sizes(call: Responses, style: Style) -> AsyncIterator[int]:
    """Yield the sizes of all responses."""
    if style is Style.ITERATOR:
        async for response in call:
            yield len(response.payload.body)
        return
    while (size := await read_size(call)) is not None:
        yield size


async def read_size(call: Responses) -> int | None:
    """Return the size of the next response; None when there is no more."""
    response = await call.read()
    return len(response.payload.body) if isinstance(response, StreamingOutputCallResponse) else None


async def sizes_in_turns(call: Duplex, requests: Iterable[StreamingOutputCallRequest]) -> AsyncIterator[int]:
    """Write each request once the last one has its response."""
    for request in requests:
        await call.write(request)
        size = await read_size(call)
        assert size is not None
        yield size
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF


async def sizes_releasing(call: Duplex, due: asyncio.Semaphore) -> AsyncIterator[int]:
    """Release `due` after each response."""
    async for size in sizes(call, Style.ITERATOR):
        yield size
        due.release()


async def sizes_cancelling(call: Duplex, style: Style) -> AsyncIterator[int]:
    """Cancel the call after its first response, and read on."""
    async for size in sizes(call, style):
        yield size
        assert call.cancel()


async def duplex(
    channel: grpc.aio.Channel, requests: Iterable[StreamingOutputCallRequest], style: Style, **options: Any
) -> Duplex:
    """Open a FullDuplexCall, send `requests` and half-close."""
    open_call = TestServiceStub(channel).FullDuplexCall
    if style is Style.ITERATOR:
        return open_call(each(requests), **options)
    call = open_call(**options)
    for request in requests:
        await call.write(request)
    await call.done_writing()
    return call
