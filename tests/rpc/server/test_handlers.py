"""How handlers of every form run, the same on grpc.aio and on hasten."""

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest

from hasten import rpc
from hasten._core.ambient import AMBIENT
from hasten._core.signals import CallFinished, CallSignal, CallStarted
from tests.conftest import LoopFactory
from tests.rpc.server.serving import SERVICE, Context, both_stacks, failure, run, serving

MakeServer = Any


async def echo(request: bytes, _: Context) -> bytes:
    return request


class Echo:
    """Handlers as a bound method and as a callable object."""

    async def method(self, request: bytes, _: Context) -> bytes:
        return request

    async def __call__(self, request: bytes, _: Context) -> bytes:
        return request


def in_thread(request: bytes, context: Context) -> bytes:
    assert threading.current_thread() is not threading.main_thread()
    context.set_trailing_metadata((("thread", "yes"),))
    return request


@both_stacks
@pytest.mark.parametrize(
    "handler",
    [echo, Echo().method, functools.partial(echo), in_thread],
    ids=["function", "method", "partial", "thread"],
)
def test_forms_of_a_handler(handler: Any, make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """Functions, bound methods, partial functions and sync functions are all handlers."""

    async def conversation() -> None:
        async with serving(make_server, unary=handler) as stub:
            assert await stub.unary(b"x") == b"x"

    run(conversation(), loop_factory)


def test_a_callable_object_is_a_handler(loop_factory: LoopFactory) -> None:
    """An object with an async `__call__` runs in the loop, where grpc.aio takes it for a sync handler."""

    async def conversation() -> None:
        async with serving(rpc.Server, unary=Echo()) as stub:
            assert await stub.unary(b"x") == b"x"

    run(conversation(), loop_factory)


@both_stacks
def test_sync_handlers_of_all_kinds(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """Generators and functions run in threads, with iterators of requests."""

    def responses(request: bytes, _: Context) -> Iterator[bytes]:
        yield request
        yield request.upper()

    def requests(each: Iterator[bytes], _: Context) -> bytes:
        return b",".join(each)

    def both(each: Iterator[bytes], _: Context) -> Iterator[bytes]:
        for request in each:
            yield request.upper()

    async def conversation() -> None:
        async with serving(make_server, responses=responses, requests=requests, both=both) as stub:
            assert [response async for response in stub.responses(b"a")] == [b"a", b"A"]
            assert await stub.requests(iter([b"a", b"b"])) == b"a,b"
            assert [response async for response in stub.both(iter([b"a", b"b"]))] == [b"A", b"B"]

    run(conversation(), loop_factory)


@both_stacks
def test_abort_in_a_thread(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """A sync handler aborts as an async one does."""

    def handle(_: bytes, context: Context) -> bytes:
        context.abort(grpc.StatusCode.OUT_OF_RANGE, "too far")
        return b""

    async def conversation() -> None:
        async with serving(make_server, unary=handle) as stub:
            error = await failure(stub.unary(b""))
            assert (error.code(), error.details()) == (grpc.StatusCode.OUT_OF_RANGE, "too far")

    run(conversation(), loop_factory)


def test_a_blocked_thread_leaves_the_loop_free(loop_factory: LoopFactory) -> None:
    """While a sync handler blocks, others are served; its call ends at its deadline, its place when it returns."""

    async def conversation() -> None:
        go_on, began = threading.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def block(_: bytes, _context: Context) -> bytes:
            loop.call_soon_threadsafe(began.set)
            go_on.wait()
            return b""

        async def requests(each: AsyncIterator[bytes], _: Context) -> bytes:
            return b",".join([request async for request in each])

        async with serving(rpc.Server, unary=block, requests=requests) as stub:
            blocked = stub.unary(b"", timeout=0.2)
            await began.wait()
            assert await stub.requests(iter([b"a"])) == b"a"
            error = await failure(blocked)
            assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            go_on.set()

    run(conversation(), loop_factory)


@both_stacks
def test_unknown_method(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """UNIMPLEMENTED, in grpc.aio's words."""

    async def conversation() -> None:
        async with serving(make_server, unary=echo) as stub:
            error = await failure(stub.requests(iter([b"a"])))
            assert (error.code(), error.details()) == (grpc.StatusCode.UNIMPLEMENTED, "Method not found!")

    run(conversation(), loop_factory)


class Generic(grpc.GenericRpcHandler):
    """Serves every method whose metadata asks for it."""

    def service(self, handler_call_details: Any) -> Any:
        if ("serve", "yes") in [(pair[0], pair[1]) for pair in handler_call_details.invocation_metadata]:
            return grpc.unary_unary_rpc_method_handler(echo)
        return None


@both_stacks
def test_generic_handlers(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """They are asked for each call that no registered handler takes, and see its metadata."""

    async def conversation() -> None:
        async with serving(make_server, requests=echo, handlers=(Generic(),)) as stub:
            assert await stub.unary(b"x", metadata=(("serve", "yes"),)) == b"x"
            error = await failure(stub.unary(b"x"))
            assert error.code() is grpc.StatusCode.UNIMPLEMENTED

    run(conversation(), loop_factory)


class Note(grpc.aio.ServerInterceptor):
    """Notes that it was asked, and aborts what its name forbids."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self._name = name
        self._notes = notes

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        self._notes.append(f"{self._name} {handler_call_details.method}")
        if self._name == "forbids":
            return grpc.unary_unary_rpc_method_handler(self._deny)
        return await continuation(handler_call_details)

    async def _deny(self, _: bytes, context: Context) -> bytes:
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "no")
        return b""


@both_stacks
def test_interceptors_in_order(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """The first is outermost; one may give another handler, and then the inner ones are not asked."""
    notes: list[str] = []

    async def conversation() -> None:
        chain: tuple[Note, ...] = (Note("first", notes), Note("second", notes))
        async with serving(make_server, unary=echo, interceptors=chain) as stub:
            assert await stub.unary(b"x") == b"x"
        chain = (Note("first", notes), Note("forbids", notes), Note("third", notes))
        async with serving(make_server, unary=echo, interceptors=chain) as stub:
            error = await failure(stub.unary(b"x"))
            assert error.code() is grpc.StatusCode.PERMISSION_DENIED

    run(conversation(), loop_factory)
    path = f"/{SERVICE}/Unary"
    assert notes == [f"first {path}", f"second {path}", f"first {path}", f"forbids {path}"]


@both_stacks
def test_no_interceptor(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """What is no interceptor is refused at once."""

    async def conversation() -> None:
        with pytest.raises(ValueError, match="Interceptor must be ServerInterceptor"):
            make_server(interceptors=(object(),))

    run(conversation(), loop_factory)


@both_stacks
def test_maximum_concurrent_rpcs(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """One call more than allowed gets RESOURCE_EXHAUSTED, and the place is free again when a handler ends."""

    async def conversation() -> None:
        began, go_on = asyncio.Event(), asyncio.Event()

        async def wait(request: bytes, _: Context) -> bytes:
            began.set()
            await go_on.wait()
            return request

        async with serving(make_server, unary=wait, maximum_concurrent_rpcs=1) as stub:
            first = stub.unary(b"1")
            await began.wait()
            error = await failure(stub.unary(b"2"))
            assert (error.code(), error.details()) == (
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                "Concurrent RPC limit exceeded!",
            )
            go_on.set()
            assert await first == b"1"
            assert await stub.unary(b"3") == b"3"

    run(conversation(), loop_factory)


def test_hooks_are_told_of_each_call(loop_factory: LoopFactory) -> None:
    """A start and an end for each call that runs, with code, bytes and peer; a hook that raises harms nobody."""
    signals: list[CallSignal] = []
    reported: list[Any] = []

    def failing(_: CallSignal) -> None:
        raise LookupError("hook")

    async def conversation() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))
        async with serving(rpc.Server, unary=echo, hooks=[signals.append, failing]) as stub:
            assert await stub.unary(b"four") == b"four"

    run(conversation(), loop_factory)
    started, finished = signals
    assert isinstance(started, CallStarted)
    assert isinstance(finished, CallFinished)
    assert (finished.side, finished.method, finished.code) == ("server", f"/{SERVICE}/Unary", "OK")
    assert (finished.sent_bytes, finished.received_bytes) == (4, 4)
    assert finished.peer == started.peer
    assert finished.seconds >= 0
    assert [type(error) for error in reported] == [LookupError, LookupError]


def test_the_call_is_its_handlers_ambient(loop_factory: LoopFactory) -> None:
    """Deadline and trace of a call are there for everything its handler does, in threads too."""
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    seen: list[Any] = []

    def note() -> None:
        ambient = AMBIENT.get()
        assert ambient is not None
        seen.append((ambient.traceparent, ambient.deadline < float("inf")))

    async def handle(request: bytes, _: Context) -> bytes:
        note()
        return request

    def responses(request: bytes, _: Context) -> Iterator[bytes]:
        note()
        yield request

    async def conversation() -> None:
        async with serving(rpc.Server, unary=handle, responses=responses) as stub:
            await stub.unary(b"", metadata=(("traceparent", trace),), timeout=5)
            async for _ in stub.responses(b"", metadata=(("traceparent", trace),), timeout=5):
                pass
            await stub.unary(b"")

    run(conversation(), loop_factory)
    assert seen == [(trace, True), (trace, True), ("", False)]
