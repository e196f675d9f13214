"""What stubs call: one object a method, which makes a call each time."""

import asyncio
import math
import time
from typing import TYPE_CHECKING, Any

import grpc

from hasten._core.ambient import AMBIENT, Ambient, carried
from hasten._core.errors import ConfigurationError
from hasten.rpc.channel._call import ClientCall, Method, checked_payload
from hasten.rpc.channel._encoding import has_trace, state_field
from hasten.rpc.channel._exchange import Exchange
from hasten.rpc.channel._hedging import HedgedCall
from hasten.rpc.channel._service_config import NOTHING_SAID, MethodConfig
from hasten.rpc.channel._streams import Requests, StreamStreamCall, StreamUnaryCall, UnaryStreamCall
from hasten.rpc.channel._unary import UnaryUnaryCall
from hasten.rpc.wire._compression import IDENTITY, encoding_of
from hasten.rpc.wire._hpack import encode_field

if TYPE_CHECKING:
    from hasten.rpc.channel._channel import Channel
    from hasten.rpc.channel._encoding import Metadata


class _Multicallable:
    """A method of a channel.

    Attributes:
      method, config: What is called, and what the service config says of it.
    """

    def __init__(self, channel: "Channel", method: Method, config: MethodConfig) -> None:
        self._channel = channel
        self.method = method
        self.config = config
        self._encode_rest = channel.encoder.rest
        self._is_plain = config == NOTHING_SAID and channel.is_plain
        self._tracer = channel.tracer if channel.tracks else None

    def _traces(self, ambient: Ambient | None) -> bool:
        """Whether a call's attempts are spans of their own."""
        return self._tracer is not None and self._tracer.wants("" if ambient is None else ambient.traceparent)

    def _prepare(
        self,
        call: ClientCall,
        timeout: float | None,
        credentials: grpc.CallCredentials | None,
        wait_for_ready: bool | None,
        compression: grpc.Compression | None,
    ) -> None:
        """Give a call its deadline, the shortest of all that hold, and what else is said of it.

        Raises:
          ConfigurationError: call credentials were given.
        """
        if credentials is not None:
            raise ConfigurationError("credentials", "call credentials are not supported", "send them as metadata")
        ambient, config, channel = AMBIENT.get(), self.config, self._channel
        deadline = math.inf if ambient is None else ambient.deadline
        if self._traces(ambient) and not has_trace(call.rest):
            call.within = "" if ambient is None else ambient.traceparent
            call.rest += state_field(carried("tracestate") if call.within else "")
        given = [seconds for seconds in (timeout, config.timeout) if seconds is not None]
        if given:
            deadline = min(deadline, time.monotonic() + min(given))
        if deadline != math.inf:
            call.deadline = deadline
        call.wait_for_ready = bool(config.wait_for_ready if wait_for_ready is None else wait_for_ready)
        encoding = encoding_of(channel.compression if compression is None else compression)
        if encoding != IDENTITY:
            call.encoding = encoding
            call.rest = encode_field(b"grpc-encoding", encoding.encode()) + call.rest
        channel.prepare(call, config)

    def _exchange(self, metadata: "Metadata", request: bytes | None) -> Exchange:
        loop = asyncio.get_running_loop()
        ambient = AMBIENT.get()
        trace = "" if ambient is None or self._traces(ambient) else ambient.traceparent
        rest = self._encode_rest(metadata, trace, carried("tracestate") if trace else "")
        return Exchange(self.method, self._channel.dispatcher(loop), rest, loop, request=request)


class UnaryUnaryMultiCallable(_Multicallable, grpc.aio.UnaryUnaryMultiCallable[Any, Any]):
    """One message each way."""

    def __call__(
        self,
        request: Any,
        *,
        timeout: float | None = None,
        metadata: "Metadata" = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> grpc.aio.UnaryUnaryCall[Any, Any]:
        loop = asyncio.get_running_loop()
        dispatcher = self._channel.dispatcher(loop)
        method = self.method
        ambient = AMBIENT.get()
        trace = "" if ambient is None or self._traces(ambient) else ambient.traceparent
        rest = self._encode_rest(metadata, trace, carried("tracestate") if trace else "")
        payload = method.serialize(request)
        if type(payload) is not bytes:
            payload = checked_payload(payload)
        call = UnaryUnaryCall(method, dispatcher, rest, payload, loop)
        if self._is_plain and credentials is None and wait_for_ready is None and compression is None:
            # What `_prepare` does for the many calls that need no more: 0.9 µs less.
            deadline = math.inf if ambient is None else ambient.deadline
            if timeout is not None:
                deadline = min(deadline, time.monotonic() + timeout)
            if deadline != math.inf:
                call.deadline = deadline
            dispatcher.dispatch(call)
            return call
        self._prepare(call, timeout, credentials, wait_for_ready, compression)
        hedging = self._channel.hedging(self.config)
        if hedging is not None:
            return HedgedCall(hedging, self._channel.allowance, call, loop)
        call.dispatch()
        return call


class UnaryStreamMultiCallable(_Multicallable, grpc.aio.UnaryStreamMultiCallable[Any, Any]):
    """One request, a stream of responses."""

    def __call__(
        self,
        request: Any,
        *,
        timeout: float | None = None,
        metadata: "Metadata" = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> UnaryStreamCall:
        exchange = self._exchange(metadata, checked_payload(self.method.serialize(request)))
        self._prepare(exchange, timeout, credentials, wait_for_ready, compression)
        exchange.dispatch()
        return UnaryStreamCall(exchange)


class StreamUnaryMultiCallable(_Multicallable, grpc.aio.StreamUnaryMultiCallable[Any, Any]):
    """A stream of requests, one response."""

    def __call__(
        self,
        request_iterator: Requests = None,
        timeout: float | None = None,
        metadata: "Metadata" = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> StreamUnaryCall:
        exchange = self._exchange(metadata, None)
        self._prepare(exchange, timeout, credentials, wait_for_ready, compression)
        exchange.dispatch()
        return StreamUnaryCall(exchange, request_iterator)


class StreamStreamMultiCallable(_Multicallable, grpc.aio.StreamStreamMultiCallable[Any, Any]):
    """A stream of requests, a stream of responses."""

    def __call__(
        self,
        request_iterator: Requests = None,
        timeout: float | None = None,
        metadata: "Metadata" = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> StreamStreamCall:
        exchange = self._exchange(metadata, None)
        self._prepare(exchange, timeout, credentials, wait_for_ready, compression)
        exchange.dispatch()
        return StreamStreamCall(exchange, request_iterator)
