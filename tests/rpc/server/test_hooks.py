"""What hooks are told of calls, on a server and on a channel."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import grpc
import pytest

from hasten import rpc
from hasten._core.signals import CallFinished, CallSignal, CallStarted
from hasten.rpc.wire._frames import DATA, END_HEADERS, END_STREAM
from tests.conftest import LoopFactory
from tests.rpc._peers import RawClient, headers, request_fields
from tests.rpc.server.serving import SERVICE, UNARY, Context, Stub, ending, run, serving

Case = Callable[[Stub, asyncio.Event], Awaitable[Any]]


class Signals:
    """A hook that keeps what it is told.

    Attributes:
      started, finished: Records, in order.
    """

    def __init__(self) -> None:
        self.started: list[CallStarted] = []
        self.finished: list[CallFinished] = []
        self._changed = asyncio.Event()

    def __call__(self, signal: CallSignal) -> None:
        if isinstance(signal, CallStarted):
            self.started.append(signal)
        else:
            assert len(self.finished) < len(self.started)
            self.finished.append(signal)
            self._changed.set()

    async def complete(self, count: int) -> None:
        """Wait until so many calls have finished."""
        while len(self.finished) < count:
            self._changed.clear()
            await self._changed.wait()
        assert len(self.started) == count


async def told(case: Case, count: int = 1, **options: Any) -> tuple[Signals, Signals]:
    """Make calls of our channel to our server; return what the hooks of each are told, server first."""
    on_server, on_channel, began = Signals(), Signals(), asyncio.Event()

    async def unary(request: bytes, context: Context) -> bytes:
        began.set()
        if request == b"hold":
            await asyncio.Event().wait()
        if request == b"abort":
            await context.abort(grpc.StatusCode.NOT_FOUND, "no")
        if request == b"raise":
            raise LookupError("nothing there")
        return request * 2

    async def both(each: AsyncIterator[bytes], _: Context) -> AsyncIterator[bytes]:
        async for request in each:
            yield request * 2

    def in_thread(each: Iterator[bytes], _: Context) -> bytes:
        return b"".join(each)

    def connect(target: str) -> rpc.Channel:
        return rpc.Channel(target, hooks=[on_channel])

    handlers: Any = {"unary": unary, "both": both, "requests": in_thread}
    async with serving(rpc.Server, hooks=[on_server], connect=connect, **handlers, **options) as stub:
        await case(stub, began)
        await on_server.complete(count)
        await on_channel.complete(count)
    for signal in (*on_server.finished, *on_channel.finished):
        assert signal.seconds >= 0
    return on_server, on_channel


def words(signal: CallFinished) -> tuple[str, str, str, str, int, int]:
    return (signal.side, signal.method, signal.attempt, signal.code, signal.sent_bytes, signal.received_bytes)


def unary_of(request: bytes, **options: Any) -> Case:
    async def call(stub: Stub, _: asyncio.Event) -> None:
        await ending(stub.unary(request, **options))

    return call


async def cancel(stub: Stub, began: asyncio.Event) -> None:
    call = stub.unary(b"hold")
    await began.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def unknown(stub: Stub, _: asyncio.Event) -> None:
    await ending(stub.responses(b"x"))


@pytest.mark.parametrize(
    ("case", "method", "code", "request_bytes", "response_bytes"),
    [
        (unary_of(b"four"), "Unary", "OK", 4, 8),
        (unary_of(b"abort"), "Unary", "NOT_FOUND", 5, 0),
        (unary_of(b"raise"), "Unary", "UNKNOWN", 5, 0),
        (unary_of(b"hold", timeout=0.1), "Unary", "DEADLINE_EXCEEDED", 4, 0),
        (cancel, "Unary", "CANCELLED", 4, 0),
        (unknown, "Responses", "UNIMPLEMENTED", 1, 0),
    ],
    ids=["success", "abort", "error", "deadline", "cancel", "unimplemented"],
)
def test_each_way_to_end(
    case: Case, method: str, code: str, request_bytes: int, response_bytes: int, loop_factory: LoopFactory
) -> None:
    """Both sides are told once of the start and once of the end: method, code, bytes and peer."""
    on_server, on_channel = run(told(case), loop_factory)
    path = f"/{SERVICE}/{method}"
    (at_server,), (at_channel,) = on_server.finished, on_channel.finished
    received = 0 if code == "UNIMPLEMENTED" else request_bytes  # nobody reads the request
    assert words(at_server) == ("server", path, "first", code, response_bytes, received)
    assert words(at_channel) == ("client", path, "first", code, request_bytes, response_bytes)
    assert on_server.started == [CallStarted("server", path, at_server.peer, "first")]
    assert on_channel.started == [CallStarted("client", path, at_channel.peer, "first")]
    assert at_server.peer.startswith("ipv4:127.0.0.1:")
    assert at_channel.peer.startswith("ipv4:127.0.0.1:")


def test_streams_and_threads(loop_factory: LoopFactory) -> None:
    """Bytes are those of all messages, and a handler in a thread is a call like any other."""

    async def calls(stub: Stub, _: asyncio.Event) -> None:
        await ending(stub.both(iter([b"1", b"22", b"333"])))
        await ending(stub.requests(iter([b"1", b"22"])))

    on_server, on_channel = run(told(calls, 2), loop_factory)
    assert [(each.code, each.received_bytes, each.sent_bytes) for each in on_server.finished] == [
        ("OK", 6, 12),
        ("OK", 3, 3),
    ]
    assert [(each.code, each.sent_bytes, each.received_bytes) for each in on_channel.finished] == [
        ("OK", 6, 12),
        ("OK", 3, 3),
    ]


def test_compressed_bytes(loop_factory: LoopFactory) -> None:
    """Bytes are counted as they are sent, after compression."""

    async def call(stub: Stub, _: asyncio.Event) -> None:
        await ending(stub.unary(bytes(10_000), compression=grpc.Compression.Gzip))

    on_server, on_channel = run(told(call, compression=grpc.Compression.Gzip), loop_factory)
    (at_server,), (at_channel,) = on_server.finished, on_channel.finished
    assert 0 < at_server.received_bytes == at_channel.sent_bytes < 1_000
    assert 0 < at_server.sent_bytes == at_channel.received_bytes < 1_000


def test_refused_calls(loop_factory: LoopFactory) -> None:
    """A call above maximum_concurrent_rpcs is told of, and does not count as running."""

    async def calls(stub: Stub, began: asyncio.Event) -> None:
        held = stub.unary(b"hold")
        await began.wait()
        await ending(stub.unary(b"more"))
        held.cancel()

    on_server, _ = run(told(calls, 2, maximum_concurrent_rpcs=1), loop_factory)
    assert [signal.code for signal in on_server.finished] == ["RESOURCE_EXHAUSTED", "CANCELLED"]


def test_calls_that_stop_cuts(loop_factory: LoopFactory) -> None:
    """They finish, too."""

    async def call(stub: Stub, began: asyncio.Event) -> None:
        held = asyncio.create_task(ending(stub.unary(b"hold")))
        await began.wait()
        await stub.server.stop(None)
        await held

    on_server, on_channel = run(told(call), loop_factory)
    assert [signal.code for signal in on_server.finished] == ["CANCELLED"]
    assert [signal.code for signal in on_channel.finished] == ["CANCELLED"]


def test_client_that_is_gone(loop_factory: LoopFactory) -> None:
    """When the connection is lost its calls finish as cancelled."""
    on_server: list[Signals] = []

    async def conversation() -> None:
        signals, began = Signals(), asyncio.Event()

        async def hold(request: bytes, _: Context) -> bytes:
            began.set()
            await asyncio.Event().wait()
            return request

        async with serving(rpc.Server, hooks=[signals], unary=hold, connect=rpc.Channel) as stub:
            call = stub.unary(b"x")
            await began.wait()
            await stub.channel.close()
            await signals.complete(1)
            assert await call.code() is grpc.StatusCode.CANCELLED
        on_server.append(signals)

    run(conversation(), loop_factory)
    assert [signal.code for signal in on_server[0].finished] == ["CANCELLED"]


def test_a_hook_that_raises(loop_factory: LoopFactory) -> None:
    """It harms neither the call nor other hooks, on either side; its error reaches the loop's exception handler."""
    reported: list[Any] = []

    def failing(_: CallSignal) -> None:
        raise LookupError("hook")

    async def conversation() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))
        on_server, on_channel = Signals(), Signals()

        async def echo(request: bytes, _: Context) -> bytes:
            return request

        def connect(target: str) -> rpc.Channel:
            return rpc.Channel(target, hooks=[failing, on_channel])

        async with serving(rpc.Server, hooks=[failing, on_server], connect=connect, unary=echo) as stub:
            assert await stub.unary(b"x") == b"x"
            await on_server.complete(1)
            await on_channel.complete(1)

    run(conversation(), loop_factory)
    assert [type(error) for error in reported] == [LookupError] * 4


@pytest.mark.parametrize("fields", [(("content-type", "text/plain"),), ((":method", "GET"),)], ids=["type", "method"])
def test_no_grpc_request(fields: Any, loop_factory: LoopFactory) -> None:
    """Whatever is no gRPC request is no call, and no hook is told of it."""
    on_server: list[CallSignal] = []

    async def conversation() -> None:
        server = rpc.Server(hooks=[on_server.append])
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with RawClient(port) as peer:
            fields_sent = dict(request_fields(UNARY)) | dict(fields)
            await peer.send(headers(1, fields_sent.items(), END_HEADERS | END_STREAM))
            await peer.until(DATA, 1)
        await server.stop(None)

    run(conversation(), loop_factory)
    assert on_server == []
