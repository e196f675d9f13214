"""How the handler of a call is found: interceptors, registered and generic handlers, on grpc.aio and on hasten."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextvars import ContextVar
from typing import Any

import grpc
import pytest
from grpc import StatusCode

from hasten import rpc
from hasten._core.ambient import AMBIENT
from tests.conftest import LoopFactory
from tests.rpc.server.differences import expected
from tests.rpc.server.serving import (
    SERVICE,
    UNARY,
    Context,
    Ending,
    MakeServer,
    both_stacks,
    ending,
    ending_of,
    handlers_of,
    run,
    serving,
)

Find = Callable[[Any, Any], Awaitable[Any]]
UNKNOWN_METHOD = Ending(StatusCode.UNIMPLEMENTED, "Method not found!")
VARIABLE: ContextVar[str | None] = ContextVar("variable", default=None)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Interceptor(grpc.aio.ServerInterceptor):
    """Finds a call's handler with a function."""

    def __init__(self, find: Find) -> None:
        self._find = find

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        return await self._find(continuation, handler_call_details)


async def echo(request: bytes, _: Context) -> bytes:
    return request


async def deny(_: Any, context: Context) -> None:
    await context.abort(StatusCode.UNAUTHENTICATED, "who is there?")


async def join(each: AsyncIterator[bytes], _: Context) -> bytes:
    return b",".join([request async for request in each])


@both_stacks
def test_what_an_interceptor_sees(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """The method and the metadata before the handler is found, then the handler itself."""
    seen: list[Any] = []

    async def look(continuation: Any, details: Any) -> Any:
        assert isinstance(details, grpc.HandlerCallDetails)
        seen.append(details.method)
        seen.append([tuple(pair) for pair in details.invocation_metadata if pair[0] != "user-agent"])
        handler = await continuation(details)
        seen.append((handler.request_streaming, handler.response_streaming, handler.unary_unary))
        return handler

    ended = ending_of(
        make_server,
        loop_factory,
        lambda stub: stub.unary(b"x", metadata=(("k", "1"), ("k", "2"))),
        unary=echo,
        interceptors=[Interceptor(look)],
    )
    assert ended == Ending(responses=(b"x",))
    assert seen == [UNARY, [("k", "1"), ("k", "2")], (False, False, echo)]


@both_stacks
@pytest.mark.parametrize("registered", [True, False], ids=["registered", "generic"])
@pytest.mark.parametrize("kind", ["unary", "responses", "requests", "both"])
def test_refusal(kind: str, registered: bool, make_server: MakeServer, loop_factory: LoopFactory) -> None:  # noqa: FBT001
    """A unary handler that aborts may stand for methods of all kinds, also while the client's stream is open."""

    async def refuse(_: Any, __: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(deny)

    async def conversation() -> Ending:
        server = make_server(interceptors=[Interceptor(refuse)])
        handlers = handlers_of(unary=echo, responses=echo, requests=join, both=join)
        if registered:
            server.add_registered_method_handlers(SERVICE, handlers)
        else:
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                call: Any = channel.stream_stream(f"/{SERVICE}/{kind.capitalize()}")(timeout=10)
                await call.write(b"first")
                if kind in {"unary", "responses"}:
                    await call.done_writing()
                return await ending(call)
        finally:
            await server.stop(None)

    assert run(conversation(), loop_factory) == Ending(StatusCode.UNAUTHENTICATED, "who is there?")


@both_stacks
@pytest.mark.parametrize("form", ["async", "sync", "stream"])
def test_another_handler(form: str, make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """An interceptor's handler gets the request, whatever its form and kind."""

    def in_thread(request: bytes, _: Context) -> bytes:
        return request

    async def replace(continuation: Any, details: Any) -> Any:
        assert await continuation(details) is not None
        if form == "stream":
            return grpc.stream_unary_rpc_method_handler(join)
        return grpc.unary_unary_rpc_method_handler(echo if form == "async" else in_thread)

    ended = ending_of(
        make_server, loop_factory, lambda stub: stub.unary(b"x"), unary=deny, interceptors=[Interceptor(replace)]
    )
    assert ended == Ending(responses=(b"x",))


@both_stacks
def test_other_call_details(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """The call may be sent to another method."""

    class OtherDetails(grpc.HandlerCallDetails):
        method = f"/{SERVICE}/Requests"
        invocation_metadata = ()

    async def other(_: bytes, context: Context) -> bytes:
        return b"other"

    async def redirect(continuation: Any, _: Any) -> Any:
        return await continuation(OtherDetails())

    async def conversation() -> Ending:
        server = make_server(interceptors=[Interceptor(redirect)])
        server.add_registered_method_handlers(
            SERVICE, {"Requests": grpc.unary_unary_rpc_method_handler(other), **handlers_of(unary=echo)}
        )
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call: Any = channel.unary_unary(UNARY)
            ended = await ending(call(b"x"))
        await server.stop(None)
        return ended

    assert run(conversation(), loop_factory) == expected("call details of an interceptor's own", make_server)


@both_stacks
@pytest.mark.parametrize("way", ["raises", "None"])
def test_no_handler(way: str, make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """An interceptor's error is the call's; without a handler there is no such method."""

    async def find(_: Any, __: Any) -> Any:
        if way == "raises":
            raise LookupError("no token")

    ended = ending_of(
        make_server, loop_factory, lambda stub: stub.unary(b""), unary=echo, interceptors=[Interceptor(find)]
    )
    error = Ending(StatusCode.UNKNOWN, "Unexpected <class 'LookupError'>: no token")
    assert ended == (error if way == "raises" else UNKNOWN_METHOD)


@both_stacks
def test_unknown_method_passes_interceptors(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """They are asked about methods that nobody serves, too."""
    asked: list[str] = []

    async def ask(continuation: Any, details: Any) -> Any:
        asked.append(details.method)
        handler = await continuation(details)
        assert handler is None
        return handler

    ended = ending_of(
        make_server,
        loop_factory,
        lambda stub: stub.requests(iter([b""])),
        unary=echo,
        interceptors=[Interceptor(ask)],
    )
    assert ended == UNKNOWN_METHOD
    assert asked == [f"/{SERVICE}/Requests"]


@both_stacks
@pytest.mark.parametrize("kind", ["unary", "responses", "thread"])
def test_context_variables(kind: str, make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """What an interceptor sets is there for the handler, and for no other call."""
    seen: list[str | None] = []

    async def find(continuation: Any, details: Any) -> Any:
        assert VARIABLE.get() is None
        VARIABLE.set("set")
        return await continuation(details)

    async def unary(request: bytes, _: Context) -> bytes:
        seen.append(VARIABLE.get())
        return request

    async def responses(request: bytes, _: Context) -> AsyncIterator[bytes]:
        seen.append(VARIABLE.get())
        yield request

    def in_thread(each: Iterator[bytes], _: Context) -> bytes:
        seen.append(VARIABLE.get())
        return next(each)

    async def conversation() -> None:
        handlers: Any = {"unary": unary, "responses": responses, "requests": in_thread}
        async with serving(make_server, interceptors=[Interceptor(find)], **handlers) as stub:
            for _ in range(2):
                call = {"unary": stub.unary, "responses": stub.responses, "thread": stub.requests}[kind]
                ended = await ending(call(iter([b""]) if kind == "thread" else b""))
                assert ended.code is StatusCode.OK

    run(conversation(), loop_factory)
    wanted = expected("context variables in a thread", make_server) if kind == "thread" else "set"
    assert seen == [wanted] * 2


def test_the_ambient_of_an_interceptor(loop_factory: LoopFactory) -> None:
    """Deadline and trace of the call are there for interceptors, too."""
    seen: list[Any] = []

    async def find(continuation: Any, details: Any) -> Any:
        ambient = AMBIENT.get()
        assert ambient is not None
        seen.append((ambient.traceparent, ambient.deadline < float("inf")))
        return await continuation(details)

    ended = ending_of(
        rpc.Server,
        loop_factory,
        lambda stub: stub.unary(b"", timeout=50, metadata=(("traceparent", TRACE),)),
        unary=echo,
        interceptors=[Interceptor(find)],
    )
    assert ended.code is StatusCode.OK
    assert seen == [(TRACE, True)]


@both_stacks
def test_precedence(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """Registered handlers come before generic ones, and of these the first that takes the call."""

    def generic(name: bytes, *methods: str) -> grpc.GenericRpcHandler:
        async def handle(_: bytes, context: Context) -> bytes:
            return name

        handler: Any = grpc.unary_unary_rpc_method_handler(handle)
        return grpc.method_handlers_generic_handler(SERVICE, dict.fromkeys(methods, handler))

    async def conversation() -> list[bytes]:
        server = make_server(handlers=[generic(b"first", "Unary", "A")])
        server.add_generic_rpc_handlers((generic(b"second", "A", "B"),))
        server.add_registered_method_handlers(SERVICE, handlers_of(unary=echo))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            methods: list[Any] = [channel.unary_unary(f"/{SERVICE}/{name}") for name in ("Unary", "A", "B")]
            answers = [await method(b"registered") for method in methods]
        await server.stop(None)
        return answers

    assert run(conversation(), loop_factory) == [b"registered", b"first", b"second"]


@both_stacks
def test_generic_handler_that_raises(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """Its error is the call's."""

    class Failing(grpc.GenericRpcHandler):
        def service(self, handler_call_details: Any) -> Any:
            raise LookupError("no service")

    ended = ending_of(make_server, loop_factory, lambda stub: stub.unary(b""), handlers=[Failing()])
    assert ended == Ending(StatusCode.UNKNOWN, "Unexpected <class 'LookupError'>: no service")
