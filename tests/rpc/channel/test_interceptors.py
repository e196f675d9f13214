"""Calls through client interceptors go as on grpc.aio, and where grpc.aio goes wrong, as its documentation says."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc import StatusCode
from grpc.aio import EOF, AioRpcError, ClientCallDetails, Metadata

import hasten.rpc
from hasten._core.ambient import AMBIENT, Carried
from hasten._core.signals import CallFinished, CallSignal
from hasten.rpc.channel._multicallables import UnaryUnaryMultiCallable
from tests.rpc.channel._interceptors import (
    ABCS,
    CALLS,
    ECHOED,
    OF_KINDS,
    PATHS,
    Continuation,
    Details,
    OfResponses,
    OfUnary,
    changed,
    each_of,
    intercepting,
    items,
    passing,
)
from tests.rpc.channel._service import (
    BOTH,
    FAIL,
    FAILURE,
    HOLD,
    REQUESTS,
    RESPONSES,
    UNARY,
    Service,
    connected,
    every_kind,
    every_stack,
    failure_of,
    in_loops,
    outcome_of,
    responses,
    unary,
)
from tests.rpc.interop._stacks import Stack

# ---- what interceptors are given


@every_stack
@every_kind
@in_loops
async def test_details(stack: Stack, kind: str) -> None:
    """An interceptor gets the method as bytes, and what the caller gave; metadata as a Metadata."""
    given: list[Details] = []

    async def note(continuation: Continuation, details: Details, request: Any) -> Any:
        given.append(details)
        return await continuation(details, request)

    service = Service()
    async with connected(stack, service, interceptors=intercepting(note)) as channel:
        call = CALLS[kind](channel, timeout=9.0, metadata=[("key", "1"), ("key", "2")], wait_for_ready=True)
        assert isinstance(call, ABCS[kind])
        assert await outcome_of(call) == ECHOED[kind]
        await outcome_of(CALLS[kind](channel))

    first, second = given
    assert type(first) is ClientCallDetails
    values: Any = first
    assert tuple(values) == (PATHS[kind].encode(), 9.0, Metadata(("key", "1"), ("key", "2")), None, True)
    assert type(first.metadata) is Metadata
    assert (second.timeout, second.wait_for_ready, second.metadata) == (None, None, Metadata())
    assert service.calls[0].value("key") == "1"
    seconds = service.calls[0].seconds
    assert seconds is not None
    assert 0 < seconds <= 9.1


@every_stack
@every_kind
@in_loops
async def test_order(stack: Stack, kind: str) -> None:
    """The first interceptor is the outermost."""
    order: list[str] = []

    def noting(name: str) -> Any:
        async def note(continuation: Continuation, details: Details, request: Any) -> Any:
            order.append(f"{name} begins")
            call = await continuation(details, request)
            order.append(f"{name} ends")
            return call

        return note

    interceptors = intercepting(noting("one"), noting("two"), noting("three"))
    async with connected(stack, Service(), interceptors=interceptors) as channel:
        assert await outcome_of(CALLS[kind](channel)) == ECHOED[kind]
    assert order == ["one begins", "two begins", "three begins", "three ends", "two ends", "one ends"]


@every_stack
@in_loops
async def test_only_their_kind(stack: Stack) -> None:
    """An interceptor of one kind sees no call of another."""
    seen: list[Any] = []

    async def note(continuation: Continuation, details: Details, request: Any) -> Any:
        seen.append(details.method)
        return await continuation(details, request)

    async with connected(stack, Service(), interceptors=[OfResponses(note)]) as channel:
        for call in CALLS.values():
            await outcome_of(call(channel))
    assert seen == [RESPONSES.encode()]


@in_loops
async def test_no_detour_without_interceptors() -> None:
    """A channel has the plain multicallable for a kind of call that nothing intercepts."""
    async with connected(Stack.HASTEN, Service(), interceptors=[OfResponses(passing)]) as channel:
        assert type(channel.unary_unary(UNARY)) is UnaryUnaryMultiCallable


class OfAllKinds(
    grpc.aio.UnaryUnaryClientInterceptor,
    grpc.aio.UnaryStreamClientInterceptor,
    grpc.aio.StreamUnaryClientInterceptor,
    grpc.aio.StreamStreamClientInterceptor,
):
    def __init__(self) -> None:
        self.seen: list[Any] = []

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        self.seen.append(client_call_details.method)
        return await continuation(client_call_details, request)

    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        self.seen.append(client_call_details.method)
        return await continuation(client_call_details, request)

    async def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        self.seen.append(client_call_details.method)
        return await continuation(client_call_details, request_iterator)

    async def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        self.seen.append(client_call_details.method)
        return await continuation(client_call_details, request_iterator)


@in_loops
async def test_one_object_of_all_kinds() -> None:
    """An interceptor of several kinds intercepts all of them; grpc.aio takes the first kind only (grpc/grpc#31442)."""
    interceptor = OfAllKinds()
    async with connected(Stack.HASTEN, Service(), interceptors=[interceptor]) as channel:
        for call in CALLS.values():
            await outcome_of(call(channel))
    assert interceptor.seen == [path.encode() for path in PATHS.values()]


@in_loops
async def test_no_interceptor() -> None:
    """What is no interceptor is refused at construction, in grpc.aio's words."""
    words = []
    for make in (grpc.aio.insecure_channel, hasten.rpc.Channel):
        with pytest.raises(ValueError, match="must be UnaryUnaryClientInterceptor or") as refused:
            make("127.0.0.1:1", interceptors=[OfUnary(passing), "nothing"])  # type: ignore[list-item]
        words.append(str(refused.value))
    assert words[0] == words[1]


# ---- what they change


@every_stack
@every_kind
@in_loops
async def test_changed_metadata_and_timeout(stack: Stack, kind: str) -> None:
    """Metadata and timeout of the call are those that the innermost interceptor passed on."""

    async def add(continuation: Continuation, details: Details, request: Any) -> Any:
        metadata = Metadata(*details.metadata)
        metadata.add("added", str(len(tuple(metadata))))
        return await continuation(changed(details, metadata=metadata, timeout=5.0), request)

    service = Service()
    async with connected(stack, service, interceptors=intercepting(add, add)) as channel:
        await outcome_of(CALLS[kind](channel, timeout=1e6, metadata=(("given", "x"),)))
    assert [value for key, value in service.only.metadata if key == "added"] == ["1", "2"]
    assert service.only.value("given") == "x"
    assert service.only.seconds is not None
    assert service.only.seconds <= 5.1


class Other(Service):
    """Has a second unary method and a second one with a stream of responses."""

    def register(self, server: grpc.aio.Server) -> None:
        super().register(server)
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "One": grpc.unary_unary_rpc_method_handler(self._one),
            "Many": grpc.unary_stream_rpc_method_handler(self._many),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Other", handlers),))

    async def _one(self, request: bytes, _: Any) -> bytes:
        return b"other " + request

    async def _many(self, request: bytes, _: Any) -> AsyncIterator[bytes]:
        yield b"other " + request


@every_stack
@in_loops
async def test_changed_method(stack: Stack) -> None:
    """An interceptor may send a call to another method, of another service; the next call is not changed by that."""

    async def divert(continuation: Continuation, details: Details, request: Any) -> Any:
        if request == b"stay":
            return await continuation(details, request)
        method = b"/test.Other/One" if details.method == UNARY.encode() else b"/test.Other/Many"
        return await continuation(changed(details, method=method), request)

    async with connected(stack, Other(), interceptors=intercepting(divert)) as channel:
        assert await unary(channel) == b"other a"
        assert await unary(channel, b"stay") == b"stay"
        assert await outcome_of(responses(channel, b"x")) == [b"other x"]


@in_loops
async def test_changed_method_as_text() -> None:
    """The method may be given as str, as the type stubs have it."""

    async def divert(continuation: Continuation, details: Details, request: Any) -> Any:
        return await continuation(changed(details, method="/test.Other/One"), request)

    async with connected(Stack.HASTEN, Other(), interceptors=intercepting(divert)) as channel:
        assert await unary(channel) == b"other a"


@every_stack
@in_loops
async def test_changed_requests(stack: Stack) -> None:
    """An interceptor may put other requests in place of the caller's, whichever way the caller sends them."""

    async def louder(requests: Any) -> AsyncIterator[bytes]:
        async for request in items(requests):
            yield request.upper()

    async def shout(continuation: Continuation, details: Details, request: Any) -> Any:
        return await continuation(details, louder(request))

    async with connected(stack, Service(), interceptors=intercepting(shout)[2:]) as channel:
        one: Any = channel.stream_unary(REQUESTS)
        assert await one(iter([b"a", b"b"])) == b"A B"
        assert await one(each_of(b"a", b"b")) == b"A B"
        call: Any = channel.stream_stream(BOTH)()
        for request in (b"c", b"d"):
            await call.write(request)
            assert await call.read() == request.upper()
        await call.done_writing()
        assert await call.read() is EOF


@in_loops
async def test_ambient_deadline_and_trace() -> None:
    """The deadline and the trace of the caller reach the server, through interceptors that know of neither."""
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    AMBIENT.set(Carried(time.monotonic() + 4.0, trace))
    service = Service()
    async with connected(Stack.HASTEN, service, interceptors=intercepting(passing)) as channel:
        for call in CALLS.values():
            await outcome_of(call(channel, timeout=1e6))
    assert [seen.value("traceparent") for seen in service.calls] == [trace] * 4
    assert all(seen.seconds is not None and seen.seconds <= 4.1 for seen in service.calls)


@in_loops
async def test_compression_survives() -> None:
    """A call is compressed as the caller asked, although an interceptor puts other metadata in place of his."""

    async def strip(continuation: Continuation, details: Details, request: Any) -> Any:
        return await continuation(changed(details, metadata=None), request)

    finished: list[CallFinished] = []

    def note(signal: CallSignal) -> None:
        if isinstance(signal, CallFinished):
            finished.append(signal)

    async with connected(Stack.HASTEN, Service(), interceptors=intercepting(strip), hooks=[note]) as channel:
        call: Any = channel.unary_unary(UNARY)
        assert await call(bytes(10_000), compression=grpc.Compression.Gzip) == bytes(10_000)
    assert finished[0].sent_bytes < 1_000


# ---- tracing


class Tracer:
    """Spans as OpenTelemetry's aio client interceptors make them: begun before the call, ended after its end."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, StatusCode | str]] = []

    def interceptors(self) -> list[grpc.aio.ClientInterceptor]:
        """Return interceptors of the four kinds."""
        of_unary, of_responses, of_requests, of_both = OF_KINDS
        one, many = self._trace_response, self._trace_responses
        return [of_unary(one), of_responses(many), of_requests(one), of_both(many)]

    async def _trace_response(self, continuation: Continuation, details: Details, request: Any) -> Any:
        name = details.method.decode()
        try:
            call = await continuation(self._with_parent(details), request)
            code = await call.code()
            call.add_done_callback(lambda _: self.spans.append((name, code)))
        except BaseException as error:
            self.spans.append((name, type(error).__name__))
            raise
        return call

    async def _trace_responses(self, continuation: Continuation, details: Details, request: Any) -> Any:
        call = await continuation(self._with_parent(details), request)
        return self._ending(details.method.decode(), call)

    async def _ending(self, name: str, call: Any) -> AsyncIterator[Any]:
        outcome: StatusCode | str = StatusCode.OK
        try:
            async for response in call:
                yield response
        except BaseException as error:
            outcome = error.code() if isinstance(error, AioRpcError) else type(error).__name__
            raise
        finally:
            self.spans.append((name, outcome))

    def _with_parent(self, details: Details) -> ClientCallDetails:
        metadata = Metadata(*tuple(details.metadata)) if details.metadata else Metadata()
        metadata["traceparent"] = "00-1-2-01"
        return ClientCallDetails(details.method, details.timeout, metadata, details.credentials, details.wait_for_ready)


@every_stack
@every_kind
@in_loops
async def test_tracing(stack: Stack, kind: str) -> None:
    """Interceptors made as OpenTelemetry's record a span a call with its outcome, and send the parent on."""
    tracer, service = Tracer(), Service()
    async with connected(stack, service, interceptors=tracer.interceptors()) as channel:
        assert await outcome_of(CALLS[kind](channel)) == ECHOED[kind]
        await failure_of(outcome_of(CALLS[kind](channel, FAIL)))
    assert tracer.spans == [(PATHS[kind], StatusCode.OK), (PATHS[kind], FAILURE[0])]
    assert [seen.value("traceparent") for seen in service.calls] == ["00-1-2-01"] * 2


@every_kind
@in_loops
async def test_tracing_of_cancelled_calls(kind: str) -> None:
    """A cancelled call reaches the server, and its span is ended (open-telemetry/opentelemetry-python-contrib#3271)."""
    tracer, service = Tracer(), Service()
    async with connected(Stack.HASTEN, service, interceptors=tracer.interceptors()) as channel:
        waiting = asyncio.ensure_future(outcome_of(CALLS[kind](channel, HOLD)))
        await service.until(lambda service: service.held == 1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await service.idle()
        assert service.cancelled == 1
    assert tracer.spans == [(PATHS[kind], "CancelledError")]
