"""Answers that no gRPC server should give have the outcomes that they have with grpc.aio."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from grpc import StatusCode

from tests.rpc.channel._raw_server import OK_HEADERS, OK_TRAILERS, RawConnection, message, raw_server
from tests.rpc.channel._service import (
    code_of,
    every_stack,
    failure_of,
    in_loops,
    make_channel,
    outcome_of,
    requests,
    responses,
    unary,
    written,
)
from tests.rpc.interop._stacks import Stack

HTTP = {
    "204": StatusCode.UNKNOWN,
    "301": StatusCode.UNKNOWN,
    "400": StatusCode.INTERNAL,
    "401": StatusCode.UNAUTHENTICATED,
    "403": StatusCode.PERMISSION_DENIED,
    "404": StatusCode.UNIMPLEMENTED,
    "429": StatusCode.UNAVAILABLE,
    "500": StatusCode.UNKNOWN,
    "502": StatusCode.UNAVAILABLE,
    "503": StatusCode.UNAVAILABLE,
    "504": StatusCode.UNAVAILABLE,
}
HEADS: tuple[tuple[Mapping[str, str], StatusCode, str], ...] = (
    ({":status": "200", "content-type": "text/html"}, StatusCode.UNKNOWN, ""),
    (OK_HEADERS, StatusCode.UNKNOWN, ""),
    ({**OK_HEADERS, "grpc-status": "77", "grpc-message": "new"}, StatusCode.UNKNOWN, "new"),
    ({**OK_HEADERS, "grpc-status": "14"}, StatusCode.UNAVAILABLE, ""),
    ({**OK_HEADERS, "grpc-status": "abc"}, StatusCode.INTERNAL, "Error parsing 'grpc-status' metadata"),
    ({**OK_HEADERS, "grpc-status": ""}, StatusCode.INTERNAL, "Error parsing 'grpc-status' metadata"),
    ({**OK_HEADERS, "grpc-status": "-1"}, StatusCode.INTERNAL, "Error parsing 'grpc-status' metadata"),
    ({**OK_HEADERS, "grpc-status": "9" * 5000}, StatusCode.INTERNAL, "Error parsing 'grpc-status' metadata"),
    ({**OK_HEADERS, "grpc-status": "5", "grpc-message": "%e4%bd%a0%zz"}, StatusCode.NOT_FOUND, "\u4f60%zz"),
    ({":status": "503", "content-type": "application/grpc", "grpc-status": "9"}, StatusCode.FAILED_PRECONDITION, ""),
)
RESETS = {
    0: StatusCode.INTERNAL,
    1: StatusCode.INTERNAL,
    2: StatusCode.INTERNAL,
    3: StatusCode.INTERNAL,
    5: StatusCode.INTERNAL,
    7: StatusCode.UNAVAILABLE,
    8: StatusCode.CANCELLED,
    11: StatusCode.RESOURCE_EXHAUSTED,
    12: StatusCode.PERMISSION_DENIED,
    99: StatusCode.INTERNAL,
}


@every_stack
@pytest.mark.parametrize("status", HTTP)
@pytest.mark.parametrize("body", [False, True], ids=["headers", "body"])
@in_loops
async def test_http_status(stack: Stack, status: str, *, body: bool) -> None:
    """An HTTP error of some proxy becomes the status that gRPC's mapping says, and its details name it."""

    async def behave(connection: RawConnection) -> None:
        while True:
            stream_id = (await connection.request()).stream_id
            connection.headers(stream_id, {":status": status}, ends=not body)
            if body:
                connection.data(stream_id, b"<html>", ends=True)

    async with raw_server(behave) as address, make_channel(stack, address) as channel:
        for make in (unary, responses):
            error = await failure_of(outcome_of(make(channel)))
            if body and stack is Stack.GRPC_AIO and error.code() is StatusCode.UNKNOWN:
                continue  # now and then grpc-core looks at the body's end first
            assert error.code() is HTTP[status]
            assert error.details() == f"Received http2 header with status: {status}"


@every_stack
@pytest.mark.parametrize(("head", "code", "details"), HEADS, ids=str)
@in_loops
async def test_only_headers(stack: Stack, head: Mapping[str, str], code: StatusCode, details: str) -> None:
    """An answer of nothing but headers has the status they say; one that says none, or nonsense, is an error."""

    async def behave(connection: RawConnection) -> None:
        while True:
            connection.headers((await connection.request()).stream_id, head, ends=True)

    async with raw_server(behave) as address, make_channel(stack, address) as channel:
        for make in (unary, responses, requests):
            error = await failure_of(outcome_of(make(channel)))
            assert error.code() is code
            assert details in (error.details() or "")


@every_stack
@pytest.mark.parametrize("code", RESETS)
@in_loops
async def test_reset(stack: Stack, code: int) -> None:
    """A stream that the server resets ends with the status that belongs to the reset's code."""

    async def behave(connection: RawConnection) -> None:
        while True:
            connection.refuse((await connection.request()).stream_id, code)

    async with raw_server(behave) as address, make_channel(stack, address) as channel:
        assert await code_of(unary(channel)) is RESETS[code]
        assert await code_of(outcome_of(responses(channel))) is RESETS[code]


@every_stack
@in_loops
async def test_lost_in_mid_answer(stack: Stack) -> None:
    """A connection that ends within an answer makes UNAVAILABLE of it."""

    async def behave(connection: RawConnection) -> None:
        stream_id = (await connection.request()).stream_id
        connection.headers(stream_id, OK_HEADERS)
        connection.data(stream_id, message(b"whole")[:7])
        connection.close()
        await connection.closed()

    async with raw_server(behave) as address, make_channel(stack, address) as channel:
        assert await code_of(unary(channel)) is StatusCode.UNAVAILABLE


@every_stack
@in_loops
async def test_ended_before_the_requests(stack: Stack) -> None:
    """A server may end a call before it has its requests; the client hears it, and writes no more."""

    async def behave(connection: RawConnection) -> None:
        connection.fail((await connection.head()).stream_id, 7, grpc_message="go")
        await connection.closed()

    async with raw_server(behave) as address, make_channel(stack, address) as channel:
        call = written(channel)
        error = await failure_of(call.read())
        assert (error.code(), error.details()) == (StatusCode.PERMISSION_DENIED, "go")
        with pytest.raises(asyncio.InvalidStateError):
            await call.write(b"a")


CASES: dict[str, tuple[bytes, StatusCode, str]] = {
    "none": (b"", StatusCode.UNIMPLEMENTED, "No response message"),
    "two": (message(b"a") + message(b"b"), StatusCode.UNIMPLEMENTED, "More than one response message"),
    "cut off": (message(b"abc")[:6], StatusCode.INTERNAL, "The response ended within a message"),
    "reserved flag": (b"\x02" + message(b"abc")[1:], StatusCode.INTERNAL, "message prefix with reserved flags 0x2"),
    "compressed": (
        b"\x01" + message(b"abc")[1:],
        StatusCode.INTERNAL,
        "Compression bit set but no encoding configured",
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("make", [unary, requests])
@in_loops
async def test_number_of_messages(make: Any, case: str) -> None:
    """One response is one whole message; with anything else the call fails, where grpc.aio returns None or waits."""
    body, code, details = CASES[case]

    async def behave(connection: RawConnection) -> None:
        while True:
            stream_id = (await connection.request()).stream_id
            connection.headers(stream_id, OK_HEADERS)
            connection.data(stream_id, body)
            connection.headers(stream_id, OK_TRAILERS, ends=True)

    async with raw_server(behave) as address, make_channel(Stack.HASTEN, address) as channel:
        error = await failure_of(make(channel))
        assert (error.code(), error.details()) == (code, details)


@in_loops
async def test_informational_headers() -> None:
    """Headers with status 1xx before the response are passed over (RFC 9113 section 8.1); grpc.aio fails the call."""

    async def behave(connection: RawConnection) -> None:
        request = await connection.request()
        connection.headers(request.stream_id, {":status": "103", "link": "x"})
        connection.answer(request)
        await connection.closed()

    async with raw_server(behave) as address, make_channel(Stack.HASTEN, address) as channel:
        assert await unary(channel) == b"a"


@in_loops
async def test_a_server_that_leaves_the_stream_half_open() -> None:
    """A stream that the server ended before our requests did, and does not reset, is reset by us with NO_ERROR."""

    async def behave(connection: RawConnection) -> None:
        stream_id = (await connection.head()).stream_id
        connection.fail(stream_id, 7)
        codes.append(await connection.reset(stream_id))
        done.set()
        await connection.closed()

    codes: list[int] = []
    done = asyncio.Event()
    async with raw_server(behave) as address, make_channel(Stack.HASTEN, address) as channel:
        assert await code_of(written(channel).read()) is StatusCode.PERMISSION_DENIED
        await done.wait()
        assert codes == [0]


@pytest.mark.parametrize("resets", [False, True])
@in_loops
async def test_unsent_requests_are_forgotten(*, resets: bool) -> None:
    """What the window held back of a request is dropped when the server answers early."""

    async def behave(connection: RawConnection) -> None:
        while True:
            stream_id = (await connection.head()).stream_id
            connection.fail(stream_id, 8)
            if resets:
                connection.refuse(stream_id, 0)

    async with raw_server(behave) as address, make_channel(Stack.HASTEN, address) as channel:
        large = bytes(1_000_000)
        assert await code_of(unary(channel, large)) is StatusCode.RESOURCE_EXHAUSTED
        assert await code_of(requests(channel, large, large)) is StatusCode.RESOURCE_EXHAUSTED
        assert await code_of(outcome_of(responses(channel, large))) is StatusCode.RESOURCE_EXHAUSTED
        call = written(channel)
        writing = asyncio.ensure_future(call.write(large))
        assert await code_of(call.read()) is StatusCode.RESOURCE_EXHAUSTED
        await asyncio.wait([writing])
        (connection,) = channel._dispatcher.connections()  # type: ignore[attr-defined]
        assert connection.output.kept_bytes == 0
        assert not connection.streams
