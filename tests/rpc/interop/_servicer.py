"""The official interoperability server's services.

Source: grpc/grpc, doc/interop-test-descriptions.md, "Server". Left out is what needs more than a server: cacheable
responses (a caching proxy), authentication and ORCA load reports.
"""

# ruff: noqa: N802 (methods are named as in the .proto file)

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from tests.rpc.interop.protos import service_pb2_grpc
from tests.rpc.interop.protos.empty_pb2 import Empty
from tests.rpc.interop.protos.messages_pb2 import (
    COMPRESSABLE,
    Payload,
    SimpleRequest,
    SimpleResponse,
    StreamingInputCallRequest,
    StreamingInputCallResponse,
    StreamingOutputCallRequest,
    StreamingOutputCallResponse,
)

INITIAL_KEY = "x-grpc-test-echo-initial"
TRAILING_KEY = "x-grpc-test-echo-trailing-bin"
_CODES = {code.value[0]: code for code in grpc.StatusCode}

Context = grpc.aio.ServicerContext[Any, Any]


class InteropServicer(service_pb2_grpc.TestServiceServicer):
    """The TestService; its UnimplementedCall is the generated one, which is an ordinary function.

    Args:
      came_compressed: Whether the n-th message of the newest call came compressed; grpc.aio does not tell a handler.
        Without it the server lacks the feature CompressedRequest: it takes any request.
      sleep: Waits for the interval before a response.
    """

    def __init__(
        self,
        came_compressed: Callable[[int], bool] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._came_compressed = came_compressed
        self._sleep = sleep
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def register(self, server: grpc.aio.Server) -> None:
        """Add the service to a server."""
        service_pb2_grpc.add_TestServiceServicer_to_server(self, server)

    async def idle(self) -> None:
        """Wait until no handler runs, as must come to pass after every call, cancelled ones too."""
        await self._idle.wait()

    async def EmptyCall(self, request: Empty, context: Context) -> Empty:
        async with self._call(context):
            return Empty()

    async def UnaryCall(self, request: SimpleRequest, context: Context) -> SimpleResponse:
        async with self._call(context, compress=request.response_compressed.value):
            await self._check_compression(request, 0, context)
            await _check_wishes(request, context)
            return SimpleResponse(payload=_payload(request.response_size))

    async def StreamingOutputCall(
        self, request: StreamingOutputCallRequest, context: Context
    ) -> AsyncIterator[StreamingOutputCallResponse]:
        compress = any(parameters.compressed.value for parameters in request.response_parameters)
        async with self._call(context, compress=compress):
            async for response in self._responses(request, context):
                yield response

    async def StreamingInputCall(
        self, request_iterator: AsyncIterator[StreamingInputCallRequest], context: Context
    ) -> StreamingInputCallResponse:
        async with self._call(context):
            size = index = 0
            async for request in request_iterator:
                await self._check_compression(request, index, context)
                size += len(request.payload.body)
                index += 1
            return StreamingInputCallResponse(aggregated_payload_size=size)

    async def FullDuplexCall(
        self, request_iterator: AsyncIterator[StreamingOutputCallRequest], context: Context
    ) -> AsyncIterator[StreamingOutputCallResponse]:
        async with self._call(context):
            async for request in request_iterator:
                async for response in self._responses(request, context):
                    yield response

    async def HalfDuplexCall(
        self, request_iterator: AsyncIterator[StreamingOutputCallRequest], context: Context
    ) -> AsyncIterator[StreamingOutputCallResponse]:
        async with self._call(context):
            for request in [request async for request in request_iterator]:
                async for response in self._responses(request, context):
                    yield response

    @contextlib.asynccontextmanager
    async def _call(self, context: Context, *, compress: bool = False) -> AsyncIterator[None]:
        """Count the handler as running, and begin its response: compression, and the metadata that asks for an echo.

        Initial metadata goes out before the message because grpc.aio else ignores the compression of a unary
        response (grpc/grpc#34690).
        """
        self._running += 1
        self._idle.clear()
        try:
            if compress:
                context.set_compression(grpc.Compression.Gzip)
            metadata = tuple(context.invocation_metadata() or ())
            context.set_trailing_metadata([pair for pair in metadata if pair[0] == TRAILING_KEY])
            echoed = [pair for pair in metadata if pair[0] == INITIAL_KEY]
            if echoed or compress:
                await context.send_initial_metadata(echoed)
            yield
        finally:
            self._running -= 1
            if self._running == 0:
                self._idle.set()

    async def _responses(
        self, request: StreamingOutputCallRequest, context: Context
    ) -> AsyncIterator[StreamingOutputCallResponse]:
        await _check_wishes(request, context)
        for parameters in request.response_parameters:
            if parameters.interval_us:
                await self._sleep(parameters.interval_us / 1e6)
            if not parameters.compressed.value:
                context.disable_next_message_compression()
            yield StreamingOutputCallResponse(payload=_payload(parameters.size))

    async def _check_compression(
        self, request: SimpleRequest | StreamingInputCallRequest, index: int, context: Context
    ) -> None:
        """Refuse a request that was not sent as it says."""
        if self._came_compressed is None or not request.HasField("expect_compressed"):
            return
        if self._came_compressed(index) != request.expect_compressed.value:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the request's compression is not the expected one")


async def _check_wishes(request: SimpleRequest | StreamingOutputCallRequest, context: Context) -> None:
    """End the call when the request asks for a status, or for a payload that no server can make."""
    if request.response_status.code:
        code = _CODES.get(request.response_status.code, grpc.StatusCode.UNKNOWN)
        await context.abort(code, request.response_status.message)
    if request.response_type != COMPRESSABLE:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "unknown payload type")


def _payload(size_bytes: int) -> Payload:
    return Payload(type=COMPRESSABLE, body=bytes(size_bytes))
