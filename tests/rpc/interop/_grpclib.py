"""The interoperability service and stub of grpclib, which speaks HTTP/2 through h2.

grpclib has an API of its own: a handler reads from and writes to one stream object, whatever the kind of its method.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpclib
from grpclib.client import Channel, StreamStreamMethod, StreamUnaryMethod, UnaryStreamMethod, UnaryUnaryMethod
from grpclib.const import Cardinality, Handler, Status
from grpclib.protocol import H2Protocol
from grpclib.server import Server, Stream

from tests.rpc.interop._servicer import INITIAL_KEY, TRAILING_KEY
from tests.rpc.interop.protos.empty_pb2 import Empty
from tests.rpc.interop.protos.messages_pb2 import (
    Payload,
    SimpleRequest,
    SimpleResponse,
    StreamingInputCallRequest,
    StreamingInputCallResponse,
    StreamingOutputCallRequest,
    StreamingOutputCallResponse,
)

SERVICE = "/grpc.testing.TestService/"
OutputStream = Stream[StreamingOutputCallRequest, StreamingOutputCallResponse]


class GrpclibService:
    """The TestService without UnimplementedCall, compression and intervals."""

    def __init__(self) -> None:
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def idle(self) -> None:
        """Wait until no handler runs."""
        await self._idle.wait()

    def __mapping__(self) -> Mapping[str, Handler]:
        output = (StreamingOutputCallRequest, StreamingOutputCallResponse)
        input_ = (StreamingInputCallRequest, StreamingInputCallResponse)
        return {
            f"{SERVICE}EmptyCall": Handler(self._empty, Cardinality.UNARY_UNARY, Empty, Empty),
            f"{SERVICE}UnaryCall": Handler(self._unary, Cardinality.UNARY_UNARY, SimpleRequest, SimpleResponse),
            f"{SERVICE}StreamingOutputCall": Handler(self._output, Cardinality.UNARY_STREAM, *output),
            f"{SERVICE}StreamingInputCall": Handler(self._input, Cardinality.STREAM_UNARY, *input_),
            f"{SERVICE}FullDuplexCall": Handler(self._output, Cardinality.STREAM_STREAM, *output),
        }

    async def _empty(self, stream: Stream[Empty, Empty]) -> None:
        async with self._call(stream):
            await stream.recv_message()
            await stream.send_message(Empty())

    async def _unary(self, stream: Stream[SimpleRequest, SimpleResponse]) -> None:
        async with self._call(stream):
            request = await stream.recv_message()
            assert request is not None
            _check_status(request)
            await stream.send_message(SimpleResponse(payload=Payload(body=bytes(request.response_size))))

    async def _input(self, stream: Stream[StreamingInputCallRequest, StreamingInputCallResponse]) -> None:
        async with self._call(stream):
            size = sum([len(request.payload.body) async for request in stream])
            await stream.send_message(StreamingInputCallResponse(aggregated_payload_size=size))

    async def _output(self, stream: OutputStream) -> None:
        async with self._call(stream):
            async for request in stream:
                _check_status(request)
                for parameters in request.response_parameters:
                    payload = Payload(body=bytes(parameters.size))
                    await stream.send_message(StreamingOutputCallResponse(payload=payload))

    @contextlib.asynccontextmanager
    async def _call(self, stream: Stream[Any, Any]) -> AsyncIterator[None]:
        """Count the handler as running, and echo the metadata that asks for it."""
        self._running += 1
        self._idle.clear()
        try:
            metadata: Mapping[str, str | bytes] = stream.metadata or {}
            if INITIAL_KEY in metadata:
                await stream.send_initial_metadata(metadata={INITIAL_KEY: metadata[INITIAL_KEY]})
            yield
            if TRAILING_KEY in metadata:
                await stream.send_trailing_metadata(metadata={TRAILING_KEY: metadata[TRAILING_KEY]})
        finally:
            self._running -= 1
            if self._running == 0:
                self._idle.set()


def _check_status(request: SimpleRequest | StreamingOutputCallRequest) -> None:
    if request.response_status.code:
        raise grpclib.GRPCError(Status(request.response_status.code), request.response_status.message)


class _ClosingServer(Server):
    """A server that can close its connections; grpclib's waits for the clients to do it."""

    def __init__(self, service: GrpclibService) -> None:
        super().__init__([service])
        self._protocols: list[H2Protocol] = []

    def _protocol_factory(self) -> H2Protocol:
        protocol = super()._protocol_factory()
        self._protocols.append(protocol)
        return protocol

    async def aclose(self) -> None:
        """Stop listening, close all connections, and wait until their handlers have ended."""
        self.close()
        for protocol in self._protocols:
            protocol.processor.close()
        await self.wait_closed()


@contextlib.asynccontextmanager
async def serve_grpclib(service: GrpclibService) -> AsyncIterator[str]:
    """Serve on the running loop; yield the server's address."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = _ClosingServer(service)
    await server.start(sock=listening)
    try:
        yield f"127.0.0.1:{listening.getsockname()[1]}"
    finally:
        await server.aclose()


class GrpclibStub:
    """The client side of the TestService."""

    def __init__(self, channel: Channel) -> None:
        output = (StreamingOutputCallRequest, StreamingOutputCallResponse)
        self.empty_call = UnaryUnaryMethod(channel, f"{SERVICE}EmptyCall", Empty, Empty)
        self.unary_call = UnaryUnaryMethod(channel, f"{SERVICE}UnaryCall", SimpleRequest, SimpleResponse)
        self.streaming_output_call = UnaryStreamMethod(channel, f"{SERVICE}StreamingOutputCall", *output)
        self.streaming_input_call = StreamUnaryMethod(
            channel, f"{SERVICE}StreamingInputCall", StreamingInputCallRequest, StreamingInputCallResponse
        )
        self.full_duplex_call = StreamStreamMethod(channel, f"{SERVICE}FullDuplexCall", *output)
        self.unimplemented_call = UnaryUnaryMethod(channel, f"{SERVICE}UnimplementedCall", Empty, Empty)


@contextlib.asynccontextmanager
async def connect_grpclib(address: str) -> AsyncIterator[GrpclibStub]:
    """Yield a stub on a new channel to `address`."""
    host, _, port = address.rpartition(":")
    async with Channel(host, int(port)) as channel:
        yield GrpclibStub(channel)
