"""Interceptors of all four kinds from one function, on every stack."""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from typing import Any

import grpc.aio
import pytest

from tests.rpc.channel._service import BOTH, REQUESTS, RESPONSES, UNARY, CallKind, both, requests, responses, unary

Details = Any
Continuation = Callable[[Details, Any], Any]
Intercept = Callable[[Continuation, Details, Any], Any]
"""A coroutine function: what an interceptor does with a call of any kind."""


class OfUnary(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, intercept: Intercept) -> None:
        self.intercept_unary_unary = intercept  # type: ignore[method-assign]

    async def intercept_unary_unary(self, *_: Any) -> Any:
        raise NotImplementedError


class OfResponses(grpc.aio.UnaryStreamClientInterceptor):
    def __init__(self, intercept: Intercept) -> None:
        self.intercept_unary_stream = intercept  # type: ignore[method-assign]

    async def intercept_unary_stream(self, *_: Any) -> Any:
        raise NotImplementedError


class OfRequests(grpc.aio.StreamUnaryClientInterceptor):
    def __init__(self, intercept: Intercept) -> None:
        self.intercept_stream_unary = intercept  # type: ignore[method-assign]

    async def intercept_stream_unary(self, *_: Any) -> Any:
        raise NotImplementedError


class OfBoth(grpc.aio.StreamStreamClientInterceptor):
    def __init__(self, intercept: Intercept) -> None:
        self.intercept_stream_stream = intercept  # type: ignore[method-assign]

    async def intercept_stream_stream(self, *_: Any) -> Any:
        raise NotImplementedError


OF_KINDS: tuple[Callable[[Intercept], grpc.aio.ClientInterceptor], ...] = (OfUnary, OfResponses, OfRequests, OfBoth)
CALLS: dict[str, CallKind] = {"unary": unary, "responses": responses, "requests": requests, "both": both}
PATHS = {"unary": UNARY, "responses": RESPONSES, "requests": REQUESTS, "both": BOTH}
ABCS: dict[str, type] = {
    "unary": grpc.aio.UnaryUnaryCall,
    "responses": grpc.aio.UnaryStreamCall,
    "requests": grpc.aio.StreamUnaryCall,
    "both": grpc.aio.StreamStreamCall,
}
ECHOED = {"unary": [b"a"], "responses": [b"a", b"b"], "requests": [b"a"], "both": [b"a"]}
"""What each of `CALLS` brings."""

with_responses = pytest.mark.parametrize("kind", ["responses", "both"])


def intercepting(*intercepts: Intercept) -> list[grpc.aio.ClientInterceptor]:
    """Return interceptors for all kinds of calls; the first function outermost."""
    return [kind(intercept) for kind in OF_KINDS for intercept in intercepts]


async def passing(continuation: Continuation, details: Details, request: Any) -> Any:
    """Change nothing."""
    return await continuation(details, request)


async def wrapping(continuation: Continuation, details: Details, request: Any) -> Any:
    """Change nothing, by a generator around the responses where they are a stream."""
    call = await continuation(details, request)
    return each(call) if hasattr(call, "__aiter__") else call


async def each(responses: AsyncIterable[Any]) -> Any:
    """Yield what an iterator yields."""
    async for response in responses:
        yield response


def changed(details: Details, **changes: Any) -> grpc.aio.ClientCallDetails:
    """Return a call's details with some of them changed."""
    fields = ("method", "timeout", "metadata", "credentials", "wait_for_ready")
    values: list[Any] = [changes.get(field, getattr(details, field)) for field in fields]
    return grpc.aio.ClientCallDetails(*values)


async def items(requests: Iterable[Any] | AsyncIterable[Any]) -> Any:
    """Yield the requests that an interceptor was given: an iterator of either sort."""
    if isinstance(requests, AsyncIterable):
        async for request in requests:
            yield request
    else:
        for request in requests:
            yield request


async def each_of(*requests: bytes) -> AsyncIterator[bytes]:
    """Yield the requests."""
    for request in requests:
        yield request


every_shape = pytest.mark.parametrize("shape", [passing, wrapping], ids=["call", "iterator"])
