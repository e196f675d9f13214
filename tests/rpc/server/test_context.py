"""What a handler's context does, the same on grpc.aio and on hasten."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc.aio import EOF, AbortError, UsageError

from hasten import rpc
from tests.conftest import LoopFactory
from tests.rpc.server.serving import Context, both_stacks, failure, run, serving

MakeServer = Any


@both_stacks
def test_metadata_of_the_call(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """Pairs come in order, by name, repeated keys and bytes included; those of the transport do not come."""

    async def handle(_: bytes, context: Context) -> bytes:
        pairs = [(pair.key, pair.value) for pair in context.invocation_metadata()]
        assert pairs[0][0] == "user-agent"
        assert pairs[1:] == [("k", "1"), ("k", "2"), ("b-bin", b"\x00\xff")]
        return b"seen"

    async def conversation() -> None:
        async with serving(make_server, unary=handle) as stub:
            assert (
                await stub.unary(b"", metadata=(("k", "1"), ("k", "2"), ("b-bin", b"\x00\xff")), timeout=5) == b"seen"
            )

    run(conversation(), loop_factory)


@both_stacks
def test_initial_and_trailing_metadata(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """Both arrive; initial metadata can be sent once."""
    refused: list[type[BaseException]] = []

    async def handle(request: bytes, context: Context) -> bytes:
        await context.send_initial_metadata((("first", "1"),))
        try:
            await context.send_initial_metadata((("second", "2"),))
        except UsageError as error:
            refused.append(type(error))
        context.set_trailing_metadata((("last", "3"), ("b-bin", b"\x01")))
        assert context.trailing_metadata() == (("last", "3"), ("b-bin", b"\x01"))
        return request

    async def conversation() -> None:
        async with serving(make_server, unary=handle) as stub:
            call = stub.unary(b"x")
            assert tuple(await call.initial_metadata()) == (("first", "1"),)
            assert tuple(await call.trailing_metadata()) == (("last", "3"), ("b-bin", b"\x01"))
        assert refused == [UsageError]

    run(conversation(), loop_factory)


@both_stacks
def test_abort(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """It ends the call with code, details and trailing metadata, raises, and can be called once."""
    raised: list[type[BaseException]] = []
    over = asyncio.Event()

    async def handle(_: bytes, context: Context) -> bytes:
        try:
            await context.abort(grpc.StatusCode.DATA_LOSS, "gone", (("why", "disk"),))
        except AbortError:
            try:
                await context.abort(grpc.StatusCode.INTERNAL, "again")
            except UsageError as error:
                raised.append(type(error))
            raise
        finally:
            over.set()
        return b""

    async def conversation() -> None:
        async with serving(make_server, unary=handle) as stub:
            error = await failure(stub.unary(b""))
            await over.wait()  # grpc.aio answers the client before abort() has raised
            assert (error.code(), error.details()) == (grpc.StatusCode.DATA_LOSS, "gone")
            assert tuple(error.trailing_metadata()) == (("why", "disk"),)
        assert raised == [UsageError]

    run(conversation(), loop_factory)


def test_abort_with_ok(loop_factory: LoopFactory) -> None:
    """An abort with OK is the handler's mistake: UNKNOWN; with grpc.aio it leaves the client waiting."""

    async def handle(_: bytes, context: Context) -> bytes:
        await context.abort(grpc.StatusCode.OK, "fine")
        return b""

    async def conversation() -> None:
        async with serving(rpc.Server, unary=handle) as stub:
            error = await failure(stub.unary(b""))
            assert (error.code(), error.details()) == (
                grpc.StatusCode.UNKNOWN,
                "abort() called with StatusCode.OK",
            )

    run(conversation(), loop_factory)


@both_stacks
def test_abort_within_a_stream(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """What was sent before an abort arrives before its status."""

    async def handle(_: bytes, context: Context) -> AsyncIterator[bytes]:
        yield b"one"
        await context.abort(grpc.StatusCode.ABORTED, "enough")

    async def conversation() -> None:
        async with serving(make_server, responses=handle) as stub:
            call = stub.responses(b"")
            assert await call.read() == b"one"
            with pytest.raises(grpc.aio.AioRpcError, match="enough"):
                await call.read()

    run(conversation(), loop_factory)


@both_stacks
def test_code_and_details_without_abort(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """A handler may set an error and return: the client gets the error; what was set can be read back."""

    async def handle(_: bytes, context: Context) -> bytes:
        assert context.code() is None
        assert context.details() == ""
        context.set_code(grpc.StatusCode.NOT_FOUND)
        context.set_details("no such thing")
        assert context.code() is grpc.StatusCode.NOT_FOUND
        assert context.details() == "no such thing"
        return b""

    async def conversation() -> None:
        async with serving(make_server, unary=handle) as stub:
            error = await failure(stub.unary(b""))
            assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "no such thing")

    run(conversation(), loop_factory)


@both_stacks
@pytest.mark.parametrize("code", [None, grpc.StatusCode.ALREADY_EXISTS])
def test_handler_that_raises(
    code: grpc.StatusCode | None, make_server: MakeServer, loop_factory: LoopFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """UNKNOWN with the exception's words, or the code that was set before; the exception is logged."""

    async def handle(_: bytes, context: Context) -> bytes:
        if code is not None:
            context.set_code(code)
        raise LookupError("nothing there")

    async def conversation() -> None:
        async with serving(make_server, unary=handle) as stub:
            error = await failure(stub.unary(b""))
            assert error.code() is (code or grpc.StatusCode.UNKNOWN)
            assert error.details() == "Unexpected <class 'LookupError'>: nothing there"

    run(conversation(), loop_factory)
    assert "Unexpected [LookupError] raised by servicer method [/test.Service/Unary]" in caplog.text


@both_stacks
def test_time_remaining(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """The client's deadline, None without one."""
    seen: list[float | None] = []

    async def handle(request: bytes, context: Context) -> bytes:
        seen.append(context.time_remaining())
        return request

    async def conversation() -> None:
        async with serving(make_server, unary=handle) as stub:
            await stub.unary(b"")
            await stub.unary(b"", timeout=50)

    run(conversation(), loop_factory)
    assert seen[0] is None
    assert seen[1] is not None
    assert 40 < seen[1] <= 50.1


@both_stacks
def test_peer_and_identity(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """The peer's address in gRPC's form, and an identity that an insecure connection does not have."""
    seen: list[Any] = []

    async def handle(request: bytes, context: Context) -> bytes:
        seen.append(context.peer().rpartition(":")[0])
        seen.append((context.peer_identities(), context.peer_identity_key()))
        seen.append(dict(context.auth_context()))
        return request

    async def conversation() -> None:
        async with serving(make_server, unary=handle) as stub:
            await stub.unary(b"")

    run(conversation(), loop_factory)
    insecure = {"transport_security_type": [b"insecure"], "security_level": [b"TSI_SECURITY_NONE"]}
    assert seen == ["ipv4:127.0.0.1", (None, None), insecure]


@both_stacks
def test_done_callbacks(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """They are called with the context when the handler has ended, whichever way."""
    ended: list[str] = []

    async def handle(request: bytes, context: Context) -> bytes:
        assert not context.done()
        assert not context.cancelled()
        context.add_done_callback(lambda _: ended.append(request.decode()))
        if request == b"error":
            raise LookupError("nothing there")
        return request

    async def conversation() -> None:
        async with serving(make_server, unary=handle) as stub:
            await stub.unary(b"ok")
            await failure(stub.unary(b"error"))

    run(conversation(), loop_factory)
    assert ended == ["ok", "error"]


@both_stacks
def test_reading_and_writing(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """A handler may read and write by itself, until the client has sent its last request."""

    async def handle(_: Any, context: Context) -> None:
        while (request := await context.read()) is not EOF:
            await context.write(request.upper())

    async def conversation() -> None:
        async with serving(make_server, both=handle) as stub:
            call = stub.both(iter([b"a", b"b", b"c"]))
            assert [response async for response in call] == [b"A", b"B", b"C"]
            assert await call.code() is grpc.StatusCode.OK

    run(conversation(), loop_factory)


@both_stacks
def test_cancelled_by_the_client(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """The handler is cancelled where it waits, and its context says so."""

    async def conversation() -> None:
        began, ended = asyncio.Event(), asyncio.Event()
        contexts: list[Context] = []

        async def handle(_: bytes, context: Context) -> bytes:
            contexts.append(context)
            began.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            return b""

        async with serving(make_server, unary=handle) as stub:
            call = stub.unary(b"")
            await began.wait()
            call.cancel()
            await ended.wait()
            assert contexts[0].cancelled() or make_server is grpc.aio.server  # which says so later

    run(conversation(), loop_factory)
