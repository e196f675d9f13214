"""The end of a call as its handler and its callbacks see it, the same on grpc.aio and on hasten."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from grpc import StatusCode

from hasten import rpc
from tests.conftest import LoopFactory
from tests.rpc.server.differences import expected
from tests.rpc.server.serving import Context, MakeServer, Stub, both_stacks, ending, run, serving

Note = tuple[str, StatusCode | None, bool, bool]


class Notes:
    """What two done callbacks of a call saw, and the call's handler while it was cancelled.

    Attributes:
      callbacks: Of each, in order: its name, then code(), cancelled() and done().
    """

    def __init__(self) -> None:
        self.callbacks: list[Note] = []
        self.in_handler: tuple[bool, bool] | None = None
        self.began = asyncio.Event()
        self.ended = asyncio.Event()

    def on(self, context: Context) -> None:
        """Add the callbacks."""

        def note(name: str) -> Callable[[Context], None]:
            def callback(told: Context) -> None:
                assert told is context
                self.callbacks.append((name, context.code(), context.cancelled(), context.done()))
                if name == "second":
                    self.ended.set()

            return callback

        context.add_done_callback(note("first"))
        context.add_done_callback(note("second"))

    async def hold(self, context: Context) -> None:
        """Wait until the handler is cancelled."""
        self.began.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.in_handler = (context.cancelled(), context.done())


async def noted(
    make_server: MakeServer,
    end: Callable[[Context, Notes], Awaitable[Any]],
    call: Callable[[Stub, Notes], Awaitable[Any]],
) -> Notes:
    """Return what was noted of a call whose handler ends with `end`, once its callbacks were called."""
    notes = Notes()

    async def handle(request: bytes, context: Context) -> bytes:
        notes.on(context)
        await end(context, notes)
        return request

    async with serving(make_server, unary=handle) as stub:
        await call(stub, notes)
        await notes.ended.wait()
    return notes


async def make_call(stub: Stub, _: Notes) -> None:
    await ending(stub.unary(b""))


def both(code: StatusCode | None, *, cancelled: bool = False, done: bool = True) -> list[Note]:
    return [("first", code, cancelled, done), ("second", code, cancelled, done)]


@both_stacks
def test_success(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """Callbacks are called in order, with the context, when the response is sent; no code was set."""

    async def end(context: Context, _: Notes) -> None:
        assert not context.done()

    assert run(noted(make_server, end, make_call), loop_factory).callbacks == both(None)


@both_stacks
def test_abort(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """After an abort the call is done at once, and callbacks see its code when the handler has ended."""

    async def end(context: Context, notes: Notes) -> None:
        try:
            await context.abort(StatusCode.NOT_FOUND, "no")
        finally:
            assert context.done()
            assert not notes.callbacks

    assert run(noted(make_server, end, make_call), loop_factory).callbacks == both(StatusCode.NOT_FOUND)


@both_stacks
def test_error(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """Callbacks are called after an error, too."""

    async def end(context: Context, _: Notes) -> None:
        raise LookupError("nothing there")

    code = expected("code() after an error", make_server)
    assert run(noted(make_server, end, make_call), loop_factory).callbacks == both(code)


@both_stacks
def test_cancel(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """A client's cancel is told to the handler by CancelledError, then to the callbacks."""

    async def end(context: Context, notes: Notes) -> None:
        await notes.hold(context)

    async def cancel(stub: Stub, notes: Notes) -> None:
        call = stub.unary(b"")
        await notes.began.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    notes = run(noted(make_server, end, cancel), loop_factory)
    cancelled = expected("cancelled() after the client's cancel", make_server)
    done = expected("done() after the client's cancel or the deadline", make_server)
    code = expected("code() after the client's cancel", make_server)
    assert notes.in_handler == (cancelled, done)
    assert notes.callbacks == both(code, cancelled=cancelled, done=done)


@both_stacks
def test_deadline(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """A deadline that passes is told the same way, but is no cancel of the client's."""

    async def end(context: Context, notes: Notes) -> None:
        assert 0 <= context.time_remaining() <= 1.2
        await notes.hold(context)
        raise AssertionError("unreachable")

    async def wait(stub: Stub, _: Notes) -> None:
        assert (await ending(stub.unary(b"", timeout=0.2))).code is StatusCode.DEADLINE_EXCEEDED

    notes = run(noted(make_server, end, wait), loop_factory)
    done = expected("done() after the client's cancel or the deadline", make_server)
    code = expected("code() after the deadline", make_server)
    assert notes.in_handler == (False, done)
    assert notes.callbacks == both(code, done=done)


@both_stacks
def test_callback_that_raises(
    make_server: MakeServer, loop_factory: LoopFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and the call's response is sent."""
    called: list[str] = []

    def failing(_: Context) -> None:
        called.append("first")
        raise LookupError("callback")

    async def handle(request: bytes, context: Context) -> bytes:
        context.add_done_callback(failing)
        context.add_done_callback(lambda _: called.append("last"))
        return request

    async def conversation() -> None:
        async with serving(make_server, unary=handle) as stub:
            assert await stub.unary(b"x") == b"x"
            assert await stub.unary(b"y") == b"y"  # the first call's callbacks have been called by now

    run(conversation(), loop_factory)
    once = expected("a done callback that raises", make_server)
    assert called[: len(once)] == once
    assert "Error in callback for method [/test.Service/Unary]" in caplog.text


@both_stacks
def test_context_after_the_end(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """What would send or read says that the call is over; what tells of the call goes on to."""
    kept: list[Context] = []
    raised: list[str] = []

    async def handle(request: bytes, context: Context) -> bytes:
        kept.append(context)
        context.set_trailing_metadata((("key", "value"),))
        return request

    async def conversation() -> None:
        async with serving(make_server, unary=handle) as stub:
            await stub.unary(b"", metadata=(("sent", "yes"),))
            await stub.unary(b"")  # the first call has ended on the server, too
            context = kept[0]
            for attempt in (
                lambda: context.write(b""),
                context.read,
                lambda: context.send_initial_metadata(()),
                lambda: context.abort(StatusCode.ABORTED, "late"),
            ):
                try:
                    await attempt()
                except Exception as error:
                    raised.append(type(error).__name__)
            with pytest.raises(RuntimeError, match="Compression setting must be specified before"):
                context.set_compression(grpc.Compression.Gzip)
            assert context.done()
            assert not context.cancelled()
            assert context.trailing_metadata() == (("key", "value"),)
            assert ("sent", "yes") in [tuple(pair) for pair in context.invocation_metadata()]

    run(conversation(), loop_factory)
    assert raised == [*["UsageError"] * 3, expected("abort after the end", make_server)]


def test_a_handler_that_raises_what_is_no_exception(loop_factory: LoopFactory) -> None:
    """The client gets UNKNOWN, the call's place is free again, and the error goes to the loop's exception handler."""

    class Leave(BaseException):
        pass

    reported: list[Any] = []

    async def handle(request: bytes, _: Context) -> bytes:
        if request == b"leave":
            raise Leave
        return request

    async def conversation() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))
        async with serving(rpc.Server, unary=handle, maximum_concurrent_rpcs=1) as stub:
            assert (await ending(stub.unary(b"leave"))).code is StatusCode.UNKNOWN
            assert await stub.unary(b"x") == b"x"

    run(conversation(), loop_factory)
    assert [type(error) for error in reported] == [Leave]
