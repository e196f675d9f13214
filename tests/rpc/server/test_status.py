"""The status with which a call ends, whatever its handler does, the same on grpc.aio and on hasten."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import DebugInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from grpc import StatusCode
from grpc_status import rpc_status

from tests.conftest import LoopFactory
from tests.rpc.server.differences import expected, patience
from tests.rpc.server.serving import (
    Context,
    Ending,
    MakeChannel,
    MakeServer,
    both_clients,
    both_stacks,
    ending,
    ending_of,
    failure,
    run,
    serving,
)

TRAILING = (("key", "value"), ("key-bin", b"\x00\xff"))
TEXT = "100 % \u00fc\nline"


def unary_ending(handler: Any, make_server: MakeServer, loop_factory: LoopFactory, **options: Any) -> Ending:
    return ending_of(make_server, loop_factory, lambda stub: stub.unary(b"", **options), unary=handler)


@both_stacks
@both_clients
def test_abort(make_server: MakeServer, connect: MakeChannel, loop_factory: LoopFactory) -> None:
    """Code, details of any characters and trailing metadata arrive, at either client; no response does."""

    async def handle(_: bytes, context: Context) -> None:
        await context.abort(code=StatusCode.NOT_FOUND, details=TEXT, trailing_metadata=TRAILING)

    ended = ending_of(make_server, loop_factory, lambda stub: stub.unary(b""), unary=handle, connect=connect)
    assert ended == Ending(StatusCode.NOT_FOUND, TEXT, trailing=TRAILING)


@both_stacks
@pytest.mark.parametrize(
    ("code", "arrives"), [(5, StatusCode.NOT_FOUND), (99, StatusCode.UNKNOWN), ("NOT_FOUND", StatusCode.UNKNOWN)]
)
def test_abort_with_another_type(
    code: Any, arrives: StatusCode, make_server: MakeServer, loop_factory: LoopFactory
) -> None:
    """A code may be a number; what is no code is UNKNOWN."""

    async def handle(_: bytes, context: Context) -> None:
        await context.abort(code, "details")

    assert unary_ending(handle, make_server, loop_factory) == Ending(arrives, "details")


@both_stacks
def test_abort_with_ok(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """OK is no way to abort."""

    async def handle(_: bytes, context: Context) -> None:
        await context.abort(StatusCode.OK, "fine")

    ended = unary_ending(handle, make_server, loop_factory, timeout=patience(make_server))
    assert ended == expected("abort with OK", make_server)


@both_stacks
def test_abort_takes_over_what_was_set(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """Details and trailing metadata that were set before stand when abort is given none."""

    async def handle(_: bytes, context: Context) -> None:
        context.set_code(StatusCode.ABORTED)
        context.set_details("before")
        context.set_trailing_metadata(TRAILING)
        await context.abort(StatusCode.NOT_FOUND)

    ended = unary_ending(handle, make_server, loop_factory)
    assert ended == Ending(StatusCode.NOT_FOUND, "before", trailing=TRAILING)


@both_stacks
def test_trailing_metadata_of_abort(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """It need not be a tuple."""

    async def handle(_: bytes, context: Context) -> None:
        await context.abort(StatusCode.NOT_FOUND, "no", [("key", "value")])

    assert unary_ending(handle, make_server, loop_factory) == expected("trailing metadata of abort", make_server)


@both_stacks
def test_abort_that_is_suppressed(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """The call has ended all the same; a second abort and a write say so, and nothing else is sent."""
    raised: list[str] = []
    tried = asyncio.Event()

    async def handle(_: bytes, context: Context) -> None:
        await context.write(b"before")
        for attempt in (
            lambda: context.abort(StatusCode.NOT_FOUND, "first"),
            lambda: context.abort(StatusCode.INTERNAL, "second"),
            lambda: context.write(b"after"),
            context.read,
        ):
            try:
                await attempt()
            except Exception as error:
                raised.append(f"{type(error).__name__}: {error}")
        tried.set()

    async def conversation() -> Ending:
        async with serving(make_server, responses=handle) as stub:
            ended = await ending(stub.responses(b""))
            async with asyncio.timeout(10.0):  # a server that stops cancels its handlers
                await tried.wait()
        return ended

    ended = run(conversation(), loop_factory)
    assert ended == Ending(StatusCode.NOT_FOUND, "first", (b"before",))
    aborted = "AbortError: Locally aborted."
    assert raised == [aborted, "UsageError: Abort already called!", aborted, aborted]


@both_stacks
def test_error_after_an_abort(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """What is raised in the place of the AbortError is logged, and changes nothing."""

    async def handle(_: bytes, context: Context) -> None:
        try:
            await context.abort(StatusCode.NOT_FOUND, "first")
        finally:
            raise LookupError("clean-up")

    assert unary_ending(handle, make_server, loop_factory) == Ending(StatusCode.NOT_FOUND, "first")


@both_stacks
def test_abort_error_of_the_handler(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """An AbortError that no abort raised is an error like any other."""

    async def handle(_: bytes, context: Context) -> None:
        raise grpc.aio.AbortError("mine")

    ended = unary_ending(handle, make_server, loop_factory)
    assert ended == expected("an AbortError of the handler's own", make_server)


@both_stacks
@both_clients
def test_abort_with_status(make_server: MakeServer, connect: MakeChannel, loop_factory: LoopFactory) -> None:
    """grpcio-status' rich errors arrive whole; metadata that was set before does not."""
    detail = AnyMessage()
    detail.Pack(DebugInfo(detail="disk 7"))
    rich = Status(code=9, message="not now", details=[detail])

    async def handle(_: bytes, context: Context) -> None:
        context.set_trailing_metadata((("lost", "yes"),))
        await context.abort_with_status(rpc_status.to_status(rich))

    async def conversation() -> None:
        async with serving(make_server, unary=handle, connect=connect) as stub:
            error: Any = await failure(stub.unary(b""))
            assert error.code() is StatusCode.FAILED_PRECONDITION
            assert rpc_status.from_call(error) == rich
            assert [key for key, _ in error.trailing_metadata()] == ["grpc-status-details-bin"]

    run(conversation(), loop_factory)


@both_stacks
def test_error_that_is_set(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """Code, details and trailing metadata that a handler sets arrive when it returns; its response does not."""

    async def handle(_: bytes, context: Context) -> None:
        context.set_code(StatusCode.NOT_FOUND)
        context.set_details(TEXT)
        context.set_trailing_metadata(TRAILING)

    def refuse(_: Any) -> bytes:
        raise AssertionError("the response of a failed call is not serialised")

    ended = ending_of(make_server, loop_factory, lambda stub: stub.unary(b""), unary=handle, serialize=refuse)
    assert ended == Ending(StatusCode.NOT_FOUND, TEXT, trailing=TRAILING)


@both_stacks
def test_error_that_is_set_in_a_stream(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """The same after responses, which arrive."""

    async def handle(_: bytes, context: Context) -> AsyncIterator[bytes]:
        yield b"1"
        context.set_code(StatusCode.NOT_FOUND)
        context.set_details("no more")
        context.set_trailing_metadata(TRAILING)
        yield b"2"

    ended = ending_of(make_server, loop_factory, lambda stub: stub.responses(b""), responses=handle)
    assert ended == Ending(StatusCode.NOT_FOUND, "no more", (b"1", b"2"), trailing=TRAILING)


@both_stacks
def test_details_alone(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """Details without an error do not make one; they must be text."""
    raised: list[str] = []

    async def handle(request: bytes, context: Context) -> bytes:
        try:
            context.set_details(5)
        except TypeError as error:
            raised.append(str(error))
        context.set_details("fine")
        return b"response"

    ended = unary_ending(handle, make_server, loop_factory)
    assert (ended.code, ended.responses) == (StatusCode.OK, (b"response",))
    assert raised == ["Argument 'details' has incorrect type (expected str, got int)"]


@both_stacks
def test_what_was_set_can_be_read(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """code(), details() and trailing_metadata() return what was set; cancelled() is true of the code CANCELLED."""
    seen: list[Any] = []

    async def handle(request: bytes, context: Context) -> bytes:
        seen.append((context.code(), context.details(), context.trailing_metadata(), context.cancelled()))
        for code in (StatusCode.NOT_FOUND, 7, "text", StatusCode.CANCELLED):
            context.set_code(code)
            seen.append((context.code(), context.cancelled()))
        context.set_code(StatusCode.OK)
        seen.append(context.code())
        context.set_details("details")
        context.set_trailing_metadata([("key", "value")])
        seen.append((context.details(), context.trailing_metadata(), context.done()))
        context.set_details("")
        return request

    assert unary_ending(handle, make_server, loop_factory).code is StatusCode.OK
    assert seen == [
        (None, "", (), False),
        (StatusCode.NOT_FOUND, False),
        (expected("code() of a number", make_server), False),
        (expected("code() of no code", make_server), False),
        (StatusCode.CANCELLED, True),
        expected("code() of OK", make_server),
        ("details", (("key", "value"),), False),
    ]


@both_stacks
def test_error_after_responses(
    make_server: MakeServer, loop_factory: LoopFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """What was sent arrives before the status of what was raised, which is logged with its trace."""

    async def handle(_: bytes, context: Context) -> AsyncIterator[bytes]:
        context.set_trailing_metadata(TRAILING)
        yield b"1"
        yield b"2"
        raise LookupError("no third")

    ended = ending_of(make_server, loop_factory, lambda stub: stub.responses(b""), responses=handle)
    details = "Unexpected <class 'LookupError'>: no third"
    assert ended == Ending(StatusCode.UNKNOWN, details, (b"1", b"2"), trailing=TRAILING)
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.getMessage() == "Unexpected [LookupError] raised by servicer method [/test.Service/Responses]"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], LookupError)


@both_stacks
def test_cancelled_error_of_the_handler(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """A handler that was cancelled by no one of gRPC ends its call."""

    async def handle(_: bytes, context: Context) -> None:
        raise asyncio.CancelledError

    ended = unary_ending(handle, make_server, loop_factory, timeout=patience(make_server))
    assert ended == expected("a handler that raises CancelledError", make_server)
